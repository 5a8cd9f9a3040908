"""Server-sent events: the whole story, live and resumable."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import httpx_sse
import pytest
from sqlalchemy import Engine

from service import schemas
from service.specs.experiment import ExperimentSpec
from service.states import State
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


def follow(api: httpx.Client, experiment_id: int, until: str, then: threading.Event) -> list[str]:
    """The events of a stream that ends by itself; `then` is set when one of them is `until`."""
    arrived = []
    with httpx_sse.connect_sse(api, "GET", f"/v1/experiments/{experiment_id}/events") as source:
        for event in source.iter_sse():
            if event.data and event.event != "progress":
                arrived.append(event.event)
            if event.event == until:
                then.set()
    return arrived


def test_a_stream_stays_open_while_an_experiment_is_paused(api: httpx.Client, bring: Callable[[State], int]) -> None:
    experiment_id = bring(State.PAUSED)
    path = f"/v1/experiments/{experiment_id}"
    paused = threading.Event()
    with ThreadPoolExecutor() as pool:
        follower = pool.submit(follow, api, experiment_id, "paused", paused)
        assert paused.wait(10)
        api.post(f"{path}/resume").raise_for_status()
        api.post(f"{path}/cancel").raise_for_status()
        assert follower.result(10) == ["queued", "paused", "queued", "cancelled"]


def test_a_retried_experiments_stream_goes_on_after_its_failure(
    api: httpx.Client, bring: Callable[[State], int]
) -> None:
    experiment_id = bring(State.FAILED)
    api.post(f"/v1/experiments/{experiment_id}/retry").raise_for_status()
    failed = threading.Event()
    with ThreadPoolExecutor() as pool:
        follower = pool.submit(follow, api, experiment_id, "failed", failed)
        assert failed.wait(10)
        api.post(f"/v1/experiments/{experiment_id}/cancel").raise_for_status()
        assert follower.result(10) == ["queued", "running", "failed", "queued", "cancelled"]


def test_a_deleted_experiments_stream_ends(
    api: httpx.Client, bring: Callable[[State], int], caplog: pytest.LogCaptureFixture
) -> None:
    experiment_id = bring(State.PAUSED)
    paused = threading.Event()
    with ThreadPoolExecutor() as pool:
        follower = pool.submit(follow, api, experiment_id, "paused", paused)
        assert paused.wait(10)
        api.delete(f"/v1/experiments/{experiment_id}").raise_for_status()
        assert follower.result(10) == ["queued", "paused"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
