"""Engines, transactions and what no code can store, on both databases."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import ConfigurationError
from service.store import experiments, queue
from service.store.clock import now
from service.store.database import open_engine, reading, writing
from service.store.tables import Attempt, Checkpoint, Event, Experiment, IdempotencyKey
from tests.store.support import (
    all_rows,
    begun,
    epoch,
    make_trial,
    set_alias,
    spec,
    start,
    submit,
    succeed,
    transact,
    write,
)

sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


# Engines


@pytest.mark.parametrize(
    "url",
    [
        "",
        "numeral.db",
        "mysql://localhost/numeral",
        "postgres://localhost/numeral",
        "postgresql://localhost:port/numeral",
        "sqlite+aiosqlite:///numeral.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:numeral?mode=memory&uri=true",
    ],
)
def test_a_database_that_cannot_be_used_is_refused_before_it_is_connected(url: str) -> None:
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        open_engine(url)


def test_a_refused_url_s_password_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_engine("mysql://numeral:hunter2@localhost/numeral")
    assert "hunter2" not in str(refused.value)


@sqlite_only
def test_sqlite_is_set_up_for_several_processes(database: Engine) -> None:
    with database.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 60_000, "synchronous": 1}


# Transactions


def test_readers_see_only_what_is_committed_and_do_not_wait_for_it(database: Engine) -> None:
    with writing(database) as writer:
        queue.enqueue(writer, spec())
        with reading(database) as reader:
            assert experiments.page(reader) == []
    with reading(database) as reader:
        assert len(experiments.page(reader)) == 1


def test_a_reader_sees_one_state_whatever_is_committed_meanwhile(database: Engine) -> None:
    with reading(database) as reader:
        assert experiments.page(reader) == []
        with writing(database) as writer:
            queue.enqueue(writer, spec())
        assert experiments.page(reader) == []


def test_what_was_read_can_be_used_after_its_session(database: Engine) -> None:
    experiment = transact(database, queue.enqueue, spec(name="baseline", tags=["one"]))
    assert (experiment.name, experiment.tags) == ("baseline", ["one"])


# What no code can store

LEGAL: dict[str, Any] = {"name": "one", "spec": {}, "epochs": 3}
LEASE: dict[str, Any] = {"lease_token": "0" * 32, "lease_expires_at": now(60)}
ENDED: dict[str, Any] = {"finished_at": now()}


def store(engine: Engine, row: dict[str, Any]) -> None:
    with writing(engine) as session:
        session.execute(insert(Experiment).values(LEGAL | row))


@pytest.mark.parametrize(
    "row",
    [
        {"state": "queued"},
        {"state": "running", **LEASE},
        {"state": "paused"},
        {"state": "succeeded", "test_accuracy": 0.99, **ENDED},
        {"state": "failed", "error_code": "diverged", **ENDED},
        {"state": "cancelled", **ENDED},
    ],
    ids=lambda row: row["state"],
)
def test_a_row_of_every_state_can_be_stored(database: Engine, row: dict[str, Any]) -> None:
    store(database, row)
    with reading(database) as session:
        assert session.scalars(select(Experiment.state)).all() == [row["state"]]


@pytest.mark.parametrize(
    ("constraint", "row"),
    [
        ("state_known", {"state": "waiting"}),
        ("state_known", {"state": "QUEUED"}),
        ("terminal_is_finished", {"state": "queued", **ENDED}),
        ("terminal_is_finished", {"state": "running", **LEASE, **ENDED}),
        ("terminal_is_finished", {"state": "paused", **ENDED}),
        ("terminal_is_finished", {"state": "succeeded", "test_accuracy": 0.99}),
        ("terminal_is_finished", {"state": "failed", "error_code": "diverged"}),
        ("terminal_is_finished", {"state": "cancelled"}),
        ("running_has_lease", {"state": "running"}),
        ("running_has_lease", {"state": "queued", **LEASE}),
        ("running_has_lease", {"state": "paused", **LEASE}),
        ("running_has_lease", {"state": "cancelled", **LEASE, **ENDED}),
        ("lease_is_whole", {"state": "running", "lease_token": "0" * 32}),
        ("lease_is_whole", {"state": "queued", "lease_expires_at": now(60)}),
        ("failed_has_error", {"state": "failed", **ENDED}),
        ("failed_has_error", {"state": "queued", "error_code": "diverged"}),
        ("succeeded_has_result", {"state": "succeeded", **ENDED}),
        ("succeeded_has_result", {"state": "cancelled", "test_accuracy": 0.99, **ENDED}),
        ("counts_in_range", {"attempt": -1}),
        ("counts_in_range", {"epoch": -1}),
        ("counts_in_range", {"epoch": 4}),
        ("request_is_for_worker", {"state": "queued", "requested": "pause"}),
        ("request_is_for_worker", {"state": "paused", "requested": "cancel"}),
        ("request_is_for_worker", {"state": "cancelled", "requested": "cancel", **ENDED}),
        ("request_is_for_worker", {"state": "running", "requested": "resume", **LEASE}),
        ("request_is_for_worker", {"state": "running", "requested": "", **LEASE}),
    ],
)
def test_the_database_refuses_a_row_that_no_state_allows(
    database: Engine, constraint: str, row: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match=f"ck_experiments_{constraint}"):
        store(database, row)


@pytest.mark.parametrize("half", [{"outcome": "failed"}, {"ended_at": now()}], ids=lambda half: next(iter(half)))
def test_the_database_refuses_an_attempt_that_has_half_ended(database: Engine, half: dict[str, Any]) -> None:
    row = insert(Attempt).values(experiment_id=submit(database), number=1, worker="worker-1", **half)
    with pytest.raises(IntegrityError, match="ck_attempts_ended_has_outcome"):
        transact(database, Session.execute, row)


def test_the_database_refuses_what_belongs_to_no_experiment(database: Engine) -> None:
    row = insert(Event).values(experiment_id=1, number=1, type="queued", data={})
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        transact(database, Session.execute, row)


def test_deleting_a_row_deletes_all_that_refers_to_it_and_nothing_else(database: Engine) -> None:
    # Whoever deletes it, and however: owners cannot delete what has an alias (`control.delete`).
    gone, kept = (write(database, begun(database, tags=["one"]), start, epoch, succeed) for _ in range(2))
    for alias, experiment_id in (("production", gone), ("gone", gone), ("kept", kept)):
        transact(database, set_alias, alias, experiment_id)
    with writing(database) as session:
        for experiment_id in (gone, kept):
            key = {"key": f"key-{experiment_id}", "request_sha256": "0" * 64, "token": "0" * 32}
            session.add(IdempotencyKey(experiment_id=experiment_id, **key))
            session.add(Checkpoint(experiment_id=experiment_id, epoch=1, fraction=0.5, size=1, content=b"x"))
        make_trial(session, gone, kept)

    def owners() -> dict[str, set[int]]:
        return {
            name: {row.experiment_id for row in rows}
            for name, rows in all_rows(database).items()
            if name not in ("experiments", "workers", "alias_changes", "sweeps", "trials")
        }

    before, told = owners(), all_rows(database)["alias_changes"]
    assert set(map(frozenset, before.values())) == {frozenset({gone, kept})}
    transact(database, Session.execute, delete(Experiment).where(Experiment.id == gone))
    assert owners() == {name: {kept} for name in before}
    assert all_rows(database)["alias_changes"] == told, "a history stays, though it refers to nothing any more"


# The clock


def test_the_database_clock_is_in_utc(database: Engine) -> None:
    with reading(database) as session:
        moment = session.scalars(select(now())).one()
    assert moment.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=30)


@pytest.mark.parametrize("seconds", [30, -30, 0.25, 90_000])
def test_the_database_clock_can_be_asked_for_later_and_earlier(database: Engine, seconds: float) -> None:
    with reading(database) as session:
        moment, moved = session.execute(select(now(), now(seconds))).one()
    assert moved - moment == pytest.approx(timedelta(seconds=seconds), abs=timedelta(milliseconds=200))


def test_the_database_clock_compares_as_time_does(database: Engine) -> None:
    with reading(database) as session:
        assert session.scalars(select(now(-0.5) < now())).one()
        assert session.scalars(select(now() < now(0.5))).one()


def test_the_clock_goes_on_within_a_transaction(database: Engine) -> None:
    with reading(database) as session:
        first = session.scalars(select(now())).one()
        assert any(session.scalars(select(now())).one() > first for _ in range(10_000))
