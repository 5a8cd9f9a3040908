"""Server-sent events: the whole story, live and resumable."""

import threading

import httpx
import httpx_sse
from sqlalchemy import Engine

from service import schemas
from service.specs.experiment import ExperimentSpec
from service.store import queue, results
from service.store.database import writing


def stream(api: httpx.Client, experiment_id: int, after: int = 0) -> list[httpx_sse.ServerSentEvent]:
    headers = {"Last-Event-ID": str(after)}
    with httpx_sse.connect_sse(api, "GET", f"/v1/experiments/{experiment_id}/events", headers=headers) as source:
        return [event for event in source.iter_sse() if event.data]


def test_an_ended_experiments_events_are_told_from_the_first(api: httpx.Client, trained: int) -> None:
    events = stream(api, trained)
    assert [event.event for event in events] == ["queued", "running", "started", "epoch", "epoch", "succeeded"]
    assert [event.id for event in events] == ["1", "2", "3", "4", "5", "6"]
    assert events[3].json()["train_loss"] == 1.0
    assert events[5].json()["test_accuracy"] == 1.0


def test_last_event_id_resumes_after_it(api: httpx.Client, trained: int) -> None:
    assert [event.id for event in stream(api, trained, after=4)] == ["5", "6"]
    assert stream(api, trained, after=6) == []


def test_events_arrive_as_they_happen(api: httpx.Client, database: Engine) -> None:
    with writing(database) as session:
        experiment_id = queue.enqueue(session, ExperimentSpec.model_validate({"preset": "baseline"})).id
    arrived: list[str] = []
    running, epoch_seen = threading.Event(), threading.Event()

    def follow() -> None:
        with httpx_sse.connect_sse(api, "GET", f"/v1/experiments/{experiment_id}/events") as source:
            for event in source.iter_sse():
                arrived.append(event.event)
                if event.event == "running":
                    running.set()
                if event.event == "epoch":
                    epoch_seen.set()

    follower = threading.Thread(target=follow)
    follower.start()
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
    assert running.wait(10), "the stream did not tell of the claim while it was open"
    metrics = schemas.EpochMetrics(
        epoch=1, train_loss=1, train_accuracy=1, val_loss=1, val_accuracy=1, seconds=1, learning_rate=1
    )
    with writing(database) as session:
        results.epoch(session, lease, metrics)
    assert epoch_seen.wait(10)
    with writing(database) as session:
        results.fail(session, lease, "diverged", "the loss became NaN", b"")
    follower.join(10)
    assert not follower.is_alive(), "the stream did not end with the experiment"
    assert [event for event in arrived if event != "progress"] == ["queued", "running", "epoch", "failed"]
    assert "progress" in arrived
