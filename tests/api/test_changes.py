"""The stream of what happens to all experiments, on both databases."""

from collections.abc import Callable, Iterator

import httpx
import httpx_sse
import pytest
from sqlalchemy import Engine

from service.states import State
from service.store import control, results
from service.store.database import writing
from service.store.leases import Lease

Events = Iterator[httpx_sse.ServerSentEvent]


@pytest.fixture
def stream(api: httpx.Client) -> Iterator[Events]:
    with httpx_sse.connect_sse(api, "GET", "/v1/events") as source:
        yield source.iter_sse()


def counts(event: httpx_sse.ServerSentEvent) -> dict[str, int]:
    assert event.event == "changed"
    return {state: count for state, count in event.json()["counts"].items() if count}


def test_whatever_happens_is_told(
    stream: Events, enqueue: Callable[..., int], claim: Callable[[], Lease], database: Engine
) -> None:
    assert counts(next(stream)) == {}
    experiment_id = enqueue(epochs=2)
    assert counts(next(stream)) == {"queued": 1}
    lease = claim()
    assert counts(next(stream)) == {"running": 1}
    progress = {"id": experiment_id, "epoch": 0, "epochs": 2, "fraction": 0.0}
    assert (event := next(stream)).json() == progress
    assert event.event == "progress"
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
    assert counts(next(stream)) == {"running": 1}
    with writing(database) as session:
        results.progress(session, lease, 0.25)
    assert next(stream).json() == progress | {"fraction": 0.25}
    with writing(database) as session:
        results.fail(session, lease, "diverged", "The loss became NaN.", b"")
    assert counts(next(stream)) == {"failed": 1}
    with writing(database) as session:
        control.delete(session, experiment_id)
    assert counts(next(stream)) == {}


def test_a_late_comer_is_told_how_things_stand(
    api: httpx.Client, bring: Callable[[State], int], enqueue: Callable[..., int]
) -> None:
    bring(State.SUCCEEDED)
    bring(State.RUNNING)
    enqueue()
    with httpx_sse.connect_sse(api, "GET", "/v1/events") as source:
        first = next(source.iter_sse())
    told = first.json()["counts"]
    assert set(told) == set(State)
    assert {state: count for state, count in told.items() if count} == {"succeeded": 1, "running": 1, "queued": 1}


def test_it_is_in_the_api_document(api: httpx.Client) -> None:
    answer = api.get("/openapi.json").json()["paths"]["/v1/events"]["get"]["responses"]["200"]
    assert "text/event-stream" in answer["content"]
