"""The list of workers, on both databases: who is there, who was, and what each trains."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session

from service import schemas
from service.store import workers
from service.store.clock import now
from service.store.tables import Worker
from tests.store.support import all_rows, begun, claim, give_back, let_expire, see, submit, succeed, transact, write

MACHINE: dict[str, Any] = {"host": "box", "pid": 4711, "device": "NVIDIA H100", "slots": 2, "version": "0.1.0"}


def register(database: Engine, name: str) -> None:
    transact(database, workers.register, name=name, **MACHINE)


def beat(database: Engine, name: str) -> bool:
    return transact(database, workers.beat, name)


def silence(database: Engine, name: str, seconds: float) -> None:
    """The worker has not been heard of for so long."""
    statement = update(Worker).where(Worker.name == name).values(last_beat_at=now(-seconds))
    transact(database, Session.execute, statement)


def listing(database: Engine, silent_seconds: float = 60) -> list[schemas.Worker]:
    return see(database, workers.listing, silent_seconds)


def test_there_are_no_workers_before_the_first_registers(database: Engine) -> None:
    assert listing(database) == []


def test_a_worker_that_registers_is_listed_as_it_described_itself(database: Engine) -> None:
    register(database, "box:1")
    (worker,) = listing(database)
    assert worker.model_dump(exclude={"started_at", "last_beat_at"}) == {
        "name": "box:1",
        **MACHINE,
        "alive": True,
        "experiments": [],
    }
    assert worker.last_beat_at - worker.started_at < timedelta(seconds=1)
    assert worker.started_at.utcoffset() == timedelta(0)


def test_workers_are_listed_the_newest_first(database: Engine) -> None:
    for name in ("old", "new", "newest"):
        register(database, name)
    for seconds, name in enumerate(("newest", "new", "old")):
        statement = update(Worker).where(Worker.name == name).values(started_at=now(-seconds))
        transact(database, Session.execute, statement)
    assert [worker.name for worker in listing(database)] == ["newest", "new", "old"]


@pytest.mark.parametrize(("seconds", "alive"), [(50, True), (70, False)])
def test_a_worker_is_alive_as_long_as_it_was_heard_of_lately(database: Engine, seconds: float, alive: bool) -> None:
    register(database, "box:1")
    register(database, "box:2")
    silence(database, "box:1", seconds)
    assert {worker.name: worker.alive for worker in listing(database, 60)} == {"box:1": alive, "box:2": True}


def test_a_beat_makes_its_own_worker_alive_again(database: Engine) -> None:
    for name in ("box:1", "box:2"):
        register(database, name)
        silence(database, name, 1000)
    assert beat(database, "box:1") is True
    assert {worker.name: worker.alive for worker in listing(database)} == {"box:1": True, "box:2": False}


def test_a_beat_of_a_worker_that_is_not_registered_changes_nothing_and_says_so(database: Engine) -> None:
    register(database, "box:1")
    before = all_rows(database)
    assert beat(database, "box:2") is False
    assert all_rows(database) == before


def test_a_worker_that_ends_is_not_listed_any_more(database: Engine) -> None:
    register(database, "box:1")
    register(database, "box:2")
    transact(database, workers.unregister, "box:1")
    assert [worker.name for worker in listing(database)] == ["box:2"]
    assert beat(database, "box:1") is False
    transact(database, workers.unregister, "box:1")

    register(database, "box:1")
    assert beat(database, "box:1") is True


def test_each_worker_is_listed_with_what_it_trains_at_the_moment(database: Engine) -> None:
    register(database, "box:1")
    register(database, "box:2")
    ids = [submit(database) for _ in range(4)]
    first, second, third = (claim(database, name) for name in ("box:1", "box:2", "box:1"))
    claim(database, "not registered")

    def trained() -> dict[str, list[int]]:
        return {worker.name: worker.experiments for worker in listing(database)}

    assert trained() == {"box:1": [ids[0], ids[2]], "box:2": [ids[1]]}
    write(database, first, succeed)
    write(database, second, give_back)
    assert trained() == {"box:1": [third.experiment_id], "box:2": []}


def test_a_worker_has_what_it_trains_until_it_is_reclaimed_though_it_is_silent(database: Engine) -> None:
    register(database, "worker-1")
    experiment_id = begun(database).experiment_id
    silence(database, "worker-1", 1000)
    let_expire(database, experiment_id)
    (worker,) = listing(database)
    assert (worker.alive, worker.experiments) == (False, [experiment_id])
