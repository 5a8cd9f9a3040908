"""Who trains, and who has trained what, over HTTP."""

from collections.abc import Callable

import httpx
from sqlalchemy import Engine, update

from service.settings import Settings
from service.store import queue, workers
from service.store.clock import now
from service.store.database import writing
from service.store.leases import Lease
from service.store.tables import Worker


def register(database: Engine, name: str) -> None:
    with writing(database) as session:
        workers.register(session, name=name, host="box", pid=7, device="cpu:0", slots=2, version="0.1.0")


def test_there_are_no_workers_at_first(api: httpx.Client) -> None:
    assert api.get("/v1/workers").json() == {"items": []}


def test_a_worker_is_listed_with_what_it_trains(
    api: httpx.Client, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    register(database, "worker-1")
    running = [enqueue(), enqueue()]
    enqueue()
    for _ in running:
        claim()
    [worker] = api.get("/v1/workers").json()["items"]
    started = worker.pop("started_at")
    assert started.endswith("Z")
    assert worker.pop("last_beat_at") >= started
    assert worker == {
        "name": "worker-1",
        "host": "box",
        "pid": 7,
        "device": "cpu:0",
        "slots": 2,
        "version": "0.1.0",
        "alive": True,
        "experiments": running,
    }


def test_a_worker_that_was_not_heard_of_for_a_lease_is_not_alive(
    api: httpx.Client, database: Engine, settings: Settings
) -> None:
    for name in ("silent", "heard"):
        register(database, name)
    with writing(database) as session:
        long_ago = now(-settings.lease_seconds - 1)
        session.execute(update(Worker).where(Worker.name == "silent").values(last_beat_at=long_ago))
    alive = {worker["name"]: worker["alive"] for worker in api.get("/v1/workers").json()["items"]}
    assert alive == {"silent": False, "heard": True}


def test_attempts_are_told_in_order_with_what_ended_each(
    api: httpx.Client, database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]
) -> None:
    path = f"/v1/experiments/{enqueue()}/attempts"
    assert api.get(path).json() == {"items": []}
    lease = claim()
    with writing(database) as session:
        queue.lose(session, lease, "process_killed", "Killed by SIGKILL.", retry_seconds=0)
    claim()
    first, second = api.get(path).json()["items"]
    assert (first["number"], first["worker"], first["outcome"]) == (1, "worker-1", "process_killed")
    assert first["message"] == "Killed by SIGKILL."
    assert first["ended_at"] >= first["started_at"]
    assert (second["number"], second["outcome"], second["message"], second["ended_at"]) == (2, None, None, None)
