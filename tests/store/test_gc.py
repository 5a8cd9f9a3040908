"""What nobody needs any more is found and removed, and nothing else, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from service.specs.experiment import ExperimentSpec
from service.store import control, gc, queue, workers
from service.store.clock import now
from service.store.database import reading, writing
from service.store.idempotency import IN_FLIGHT_SECONDS, KEPT_SECONDS
from service.store.tables import AliasChange, Base, Checkpoint, IdempotencyKey, Worker
from tests.store.support import make_trial

SPEC = ExperimentSpec.model_validate({"preset": "baseline", "tags": ["one"]})
NOBODY = 999
"""The id of no experiment."""

ROWS: dict[str, dict[str, Any]] = {
    "attempts": {"number": 9, "worker": "worker-1"},
    "checkpoints": {"epoch": 1, "fraction": 0.5, "size": 1, "content": b"x"},
    "idempotency_keys": {"key": "key", "request_sha256": "", "token": ""},
    "experiment_tags": {"tag": "two", "position": 1},
    "metrics": {"epoch": 1, "train_loss": 1.0, "train_accuracy": 0.5, "seconds": 1.0, "learning_rate": 1.0},
    "evaluations": {"loss": 1.0, "accuracy": 0.5, "labels": [], "confusion_matrix": [], "per_class": []},
    "artifacts": {"name": "log.txt", "media_type": "text/plain", "size": 1, "sha256": "0" * 64, "content": b"x"},
    "events": {"number": 9, "type": "queued", "data": {}},
    "aliases": {"alias": "production"},
    "trial_experiments": {"sweep_id": 1, "trial": 1},
}
"""A row of every table whose rows belong to an experiment, without its id."""
CHANGE = {"alias": "production", "number": 1, "variant": "fp32", "action": "promote"}
"""What tells of an experiment without belonging to it, without its id."""


@contextmanager
def without_foreign_keys(database: Engine) -> Iterator[Connection]:
    """As somebody writes who does not know of them."""
    with database.connect() as connection:
        if database.dialect.name == "sqlite":
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            if database.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection
        # Not back into the pool.
        connection.detach()


def rows(database: Engine) -> dict[str, int]:
    with reading(database) as session:
        return {
            table.name: session.scalars(select(func.count()).select_from(table)).one()
            for table in Base.metadata.sorted_tables
        }


def collect(database: Engine) -> dict[str, int]:
    """What there is of each kind that there is any of; counted first and then removed."""
    with reading(database) as session:
        counted = gc.count(session)
    with writing(database) as session:
        assert gc.remove(session) == counted
    with reading(database) as session:
        assert not any(gc.count(session).values())
    return {kind: number for kind, number in counted.items() if number}


def test_there_is_nothing_to_remove_of_what_is_needed(database: Engine) -> None:
    with writing(database) as session:
        owner = {"experiment_id": queue.enqueue(session, SPEC).id}
        workers.register(session, name="worker-1", host="box", pid=1, device="cpu:0", slots=1, version="0.1.0")
        make_trial(session)
        for name, row in ROWS.items():
            session.execute(insert(Base.metadata.tables[name]).values(owner | row))
        session.execute(insert(AliasChange).values(CHANGE | {"experiment_id": NOBODY}))
        session.execute(insert(IdempotencyKey).values(key="in flight", request_sha256="", token=""))
    before = rows(database)
    assert all(before.values())
    assert collect(database) == {}
    assert rows(database) == before


def test_counting_removes_nothing(database: Engine) -> None:
    with without_foreign_keys(database) as connection:
        connection.execute(insert(Base.metadata.tables["events"]).values(ROWS["events"] | {"experiment_id": NOBODY}))
    with writing(database) as session:
        assert gc.count(session)["orphaned_events"] == 1
    assert rows(database)["events"] == 1


def test_every_table_that_refers_to_experiments_is_looked_at() -> None:
    keys = [key for table in Base.metadata.sorted_tables for key in table.foreign_keys]
    referring = {key.parent.table.name for key in keys if key.column.table.name == "experiments"}
    assert referring == set(ROWS)


@pytest.mark.parametrize("table", ROWS)
def test_rows_of_no_experiment_are_removed(database: Engine, table: str) -> None:
    with writing(database) as session:
        kept = {"experiment_id": queue.enqueue(session, SPEC).id}
        make_trial(session)
    with without_foreign_keys(database) as connection:
        connection.execute(insert(Base.metadata.tables[table]).values(ROWS[table] | {"experiment_id": NOBODY}))
    if table == "aliases" or table == "idempotency_keys":
        kept |= {"alias": "staging"} if table == "aliases" else {"key": "another"}
    with writing(database) as session:
        session.execute(insert(Base.metadata.tables[table]).values(ROWS[table] | kept))
    before = rows(database)
    assert collect(database) == {f"orphaned_{table}": 1}
    assert rows(database) == before | {table: before[table] - 1}


def test_checkpoints_of_ended_experiments_are_removed(database: Engine) -> None:
    with writing(database) as session:
        ended, paused, queued = (queue.enqueue(session, SPEC).id for _ in range(3))
        control.cancel(session, ended)
        control.pause(session, paused)
        for owner in (ended, paused, queued):
            session.execute(insert(Checkpoint).values(ROWS["checkpoints"] | {"experiment_id": owner}))
    assert collect(database) == {"checkpoints_of_ended_experiments": 1}
    with reading(database) as session:
        assert set(session.scalars(select(Checkpoint.experiment_id))) == {paused, queued}


def test_expired_keys_are_removed(database: Engine) -> None:
    with writing(database) as session:
        done = {"request_sha256": "", "token": "", "experiment_id": queue.enqueue(session, SPEC).id}
        for row in (
            done | {"key": "fresh", "created_at": now(-IN_FLIGHT_SECONDS - 1)},
            done | {"key": "a day old", "created_at": now(-KEPT_SECONDS - 1)},
            done | {"key": "in flight", "experiment_id": None},
            done | {"key": "left behind", "experiment_id": None, "created_at": now(-IN_FLIGHT_SECONDS - 1)},
        ):
            session.execute(insert(IdempotencyKey).values(row))
    with without_foreign_keys(database) as connection:
        # Counted once, though it is both.
        orphan = done | {"key": "orphan", "experiment_id": NOBODY, "created_at": now(-KEPT_SECONDS - 1)}
        connection.execute(insert(IdempotencyKey).values(orphan))
    assert collect(database) == {"orphaned_idempotency_keys": 1, "expired_idempotency_keys": 2}
    with reading(database) as session:
        assert set(session.scalars(select(IdempotencyKey.key))) == {"fresh", "in flight"}


def test_workers_that_were_not_heard_of_for_a_day_are_removed(database: Engine) -> None:
    with writing(database) as session:
        for name, seconds in (("gone", gc.SILENT_SECONDS + 1), ("silent", gc.SILENT_SECONDS - 60)):
            workers.register(session, name=name, host="box", pid=1, device="cpu:0", slots=1, version="0.1.0")
            session.get_one(Worker, name).last_beat_at = now(-seconds)
    assert collect(database) == {"silent_workers": 1}
    with reading(database) as session:
        assert session.scalars(select(Worker.name)).all() == ["silent"]
