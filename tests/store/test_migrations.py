"""Migrations, on both databases: they keep what is there, up and down."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, Table, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from service.errors import ConfigurationError, SchemaOutdated
from service.states import State
from service.store import control, experiments, results, workers
from service.store.database import check_schema, migrate, writing
from service.store.tables import IdempotencyKey
from tests.store.support import (
    EXPIRED,
    all_rows,
    begun,
    cancelled,
    check_whole,
    checkpoint,
    claim,
    downgrade,
    epoch,
    fail,
    let_expire,
    look,
    lose,
    make_trial,
    outcomes,
    reclaim,
    schema,
    see,
    set_alias,
    start,
    submit,
    succeed,
    transact,
    write,
)

# At 0001: experiments in every state that there was

CREATED = datetime(2025, 3, 1, 12, 30, 15, 123000, tzinfo=UTC)
LATER = datetime(2025, 3, 1, 13, 0, tzinfo=UTC)
LEASE = {"worker": "box:1", "lease_token": "a" * 32, "lease_expires_at": LATER, "started_at": CREATED, "attempt": 2}
ENDED = {"worker": "box:1", "started_at": CREATED, "finished_at": LATER, "attempt": 1}
RESULT = {"test_loss": 0.03, "test_accuracy": 0.99, "train_seconds": 1.5, "images_per_second": 3000.5}
OLD: list[dict[str, Any]] = [
    {"id": 1, "name": "waits", "state": "queued", "priority": -3},
    {"id": 2, "name": "waits again", "state": "queued", "attempt": 1, "started_at": CREATED},
    {"id": 4, "name": "runs", "state": "running", "epoch": 1, "fraction": 0.3, **LEASE},
    {"id": 5, "name": "is to end", "state": "running", "cancel_requested": True, **LEASE},
    {"id": 6, "name": "Größe\n✓", "state": "succeeded", "epoch": 3, "fraction": 1.0, **RESULT, **ENDED},
    {"id": 7, "name": "failed", "state": "failed", "error_code": "diverged", "error_message": "NaN.", **ENDED},
    {"id": 8, "name": "ended", "state": "cancelled", "cancel_requested": True, **ENDED},
    {"id": 9, "name": "ended in the queue", "state": "cancelled", "finished_at": LATER},
]
DEFAULTS = {"priority": 0, "attempt": 0, "cancel_requested": False, "epoch": 0, "fraction": 0.0}
SPEC = {"model": {"layers": [{"type": "flatten"}]}, "epochs": 3, "optimizer": {"name": "adam", "learning_rate": 1e-3}}


def tables(engine: Engine) -> dict[str, Table]:
    """The tables as they are at this version."""
    metadata = MetaData()
    metadata.reflect(engine)
    return {table.name: table for table in metadata.sorted_tables if table.name != "alembic_version"}


def content(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    """The whole database."""
    with engine.connect() as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for name, table in tables(engine).items()
        }


def store(engine: Engine, rows: dict[str, list[dict[str, Any]]]) -> None:
    present = tables(engine)
    with engine.begin() as connection:
        for name, these in rows.items():
            for row in these:
                connection.execute(insert(present[name]).values(row))


def belongings(experiment_id: int) -> dict[str, list[dict[str, Any]]]:
    """A few rows in each table that there was."""
    owner = {"experiment_id": experiment_id}
    epochs = {"train_loss": 0.1, "train_accuracy": 0.9, "val_loss": None, "seconds": 1.25, "learning_rate": 1.0}
    report = {"loss": 0.1, "accuracy": 0.9, "labels": [0, 1], "confusion_matrix": [[1, 0], [0, 1]], "per_class": [{}]}
    file = {"media_type": "text/plain", "size": 4, "sha256": "0" * 64, "created_at": CREATED, "content": b"\0\xff\r\n"}
    return {
        "experiment_tags": [owner | {"tag": tag, "position": at} for at, tag in enumerate(["zwei", "eins"])],
        "metrics": [owner | epochs | {"epoch": epoch} for epoch in (1, 2)],
        "evaluations": [owner | report],
        "artifacts": [owner | file | {"name": name} for name in ("log.txt", "model.onnx")],
        "events": [owner | {"number": n, "type": "epoch", "data": {"n": n}, "created_at": CREATED} for n in (1, 2)],
        "aliases": [owner | {"alias": f"alias-{experiment_id}", "updated_at": CREATED}],
    }


@pytest.fixture
def old(database: Engine) -> Engine:
    """A database at 0001, with experiments in each state and all that belongs to them."""
    downgrade(database, "0001")
    rows = [DEFAULTS | {"spec": SPEC, "epochs": 3, "last_event": 2, "created_at": CREATED} | row for row in OLD]
    store(database, {"experiments": rows})
    for row in OLD:
        store(database, belongings(row["id"]))
    if database.dialect.name == "postgresql":
        # As if the rows had been numbered by it.
        with database.begin() as connection:
            connection.exec_driver_sql("SELECT setval('experiments_id_seq', 9)")
    return database


def test_an_upgrade_keeps_every_row_and_value(old: Engine) -> None:
    before = content(old)
    assert {name: len(rows) for name, rows in before.items()} == {
        "experiments": 8,
        "experiment_tags": 16,
        "metrics": 16,
        "evaluations": 8,
        "artifacts": 16,
        "events": 16,
        "aliases": 8,
    }
    migrate(old)
    after = content(old)
    for row in before["experiments"]:
        wanted = row.pop("cancel_requested") and row["state"] == "running"
        row |= {"max_attempts": 3, "not_before": None, "fingerprint": None, "requested": "cancel" if wanted else None}
    for row in before["evaluations"]:
        row["expected_calibration_error"] = None
    for row in before["aliases"]:
        row |= {"variant": "fp32", "number": 1, "shadows": None, "shadow_images": 0, "shadow_disagreements": 0}
    for name, rows in before.items():
        assert after[name] == rows, name
    # What an alias means is all that is known of its history.
    told = {"number": 1, "variant": "fp32", "shadows": None, "action": "promote"}
    assert after["alias_changes"] == [
        told | {"alias": row["alias"], "experiment_id": row["experiment_id"], "changed_at": row["updated_at"]}
        for row in before["aliases"]
    ]
    # What runs is in its first attempt that is known; all that is new is empty but for that.
    assert [(row["experiment_id"], row["number"], row["outcome"]) for row in after["attempts"]] == [
        (4, 1, None),
        (5, 1, None),
    ]
    assert {row["worker"] for row in after["attempts"]} == {"box:1"}
    assert {name for name, rows in after.items() if not rows} == {
        "checkpoints",
        "workers",
        "idempotency_keys",
        "sweeps",
        "trials",
        "trial_experiments",
    }


def test_what_was_there_before_an_upgrade_goes_on_after_it(old: Engine) -> None:
    migrate(old)
    assert reclaim(old) == 2
    assert (look(old, 4).state, look(old, 5).state) == (State.QUEUED, State.CANCELLED)
    assert outcomes(old, 4) == ["worker_lost"]
    assert [claim(old).experiment_id for _ in range(3)] == [2, 4, 1]
    let_expire(old, 4)
    reclaim(old)
    assert look(old, 4).error["code"] == "worker_lost"
    assert transact(old, control.retry, 7).state == State.QUEUED
    assert look(old, write(old, claim(old), succeed)).state == State.SUCCEEDED
    assert see(old, experiments.page, tag="eins", state=State.CANCELLED)[0].tags == ["zwei", "eins"]


def delete_rows(engine: Engine, condition: str) -> None:
    """All that refers to them goes too: the foreign keys are there, at whatever version."""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM experiments WHERE {condition}")


def test_an_upgraded_database_still_guards_its_rows(old: Engine) -> None:
    migrate(old)
    for refused in ("state = 'odd'", "requested = 'pause'", "finished_at = NULL", "lease_token = NULL", "epoch = 4"):
        with pytest.raises(IntegrityError, match="ck_experiments_"), old.begin() as connection:
            connection.exec_driver_sql(f"UPDATE experiments SET {refused}")
    for refused in ("variant = 'int4'", "number = 0", "shadows = alias", "shadow_disagreements = 1"):
        with pytest.raises(IntegrityError, match="ck_aliases_"), old.begin() as connection:
            connection.exec_driver_sql(f"UPDATE aliases SET {refused}")
    delete_rows(old, "id > 0")
    assert {name for name, rows in all_rows(old).items() if rows} == {"alias_changes"}


def there_and_back(engine: Engine) -> None:
    migrate(engine)
    downgrade(engine, "0001")
    migrate(engine)


@pytest.mark.parametrize("go", [migrate, there_and_back])
def test_an_id_is_not_given_out_again_after_a_migration(old: Engine, go: Callable[[Engine], Any]) -> None:
    go(old)
    delete_rows(old, "id >= 8")
    assert submit(old) == 10
    transact(old, control.delete, 10)
    assert submit(old) == 11


@pytest.mark.parametrize("condition", ["id >= 8", "id > 0"], ids=["newest", "all"])
@pytest.mark.parametrize("go", [migrate, there_and_back])
def test_an_id_that_was_deleted_before_a_migration_is_not_given_out_after_it(
    old: Engine, condition: str, go: Callable[[Engine], Any]
) -> None:
    delete_rows(old, condition)
    go(old)
    assert submit(old) == 10


def test_going_back_and_forth_loses_nothing_that_both_versions_know(old: Engine) -> None:
    before = content(old)
    migrate(old)
    upgraded = content(old)
    downgrade(old, "0001")
    after = content(old)
    for row in before["experiments"]:
        # That somebody had asked for an end is only kept until it has come; the events still say so.
        row["cancel_requested"] = row["cancel_requested"] and row["state"] == "running"
    assert after == before

    migrate(old)
    assert content(old) == upgraded


# At the newest version

SWEEPS = ("sweeps", "trials", "trial_experiments")


@pytest.fixture
def new(database: Engine) -> Engine:
    """A database as it is now, with experiments in each state and all that belongs to them."""
    full = begun(database, name="paused", max_attempts=7, tags=["one"])
    write(database, full, start, epoch, checkpoint, lose)
    transact(database, control.pause, full.experiment_id)
    waiting = begun(database, name="waiting", lease_seconds=EXPIRED)
    write(database, waiting, start, epoch, checkpoint)
    reclaim(database, retry_seconds=1000)
    succeeded = begun(database, name="succeeded")
    transact(database, results.start, succeeded, "cpu:0", 7850, fingerprint="f" * 64)
    write(database, succeeded, epoch, succeed)
    transact(database, set_alias, "staging", succeeded.experiment_id, shadows="production")
    for name, ask in (("running", None), ("to be paused", control.pause), ("to be cancelled", control.cancel)):
        lease = begun(database, name=name)
        write(database, lease, start, epoch, checkpoint)
        if ask:
            transact(database, ask, lease.experiment_id)
    write(database, begun(database, name="failed"), fail)
    write(database, begun(database, name="cancelled"), cancelled)
    queued = submit(database, name="queued")
    with writing(database) as session:
        make_trial(session, queued)
        workers.register(session, name="box:1", host="box", pid=1, device="cpu", slots=1, version="0")
        session.add(IdempotencyKey(key="k", request_sha256="0" * 64, token="0" * 32, experiment_id=full.experiment_id))
    check_whole(database)
    assert all(content(database).values())
    return database


def test_the_version_before_keeps_what_its_aliases_mean(new: Engine) -> None:
    before = content(new)
    downgrade(new, "0002")
    after = content(new)
    assert [(row["alias"], row["experiment_id"]) for row in after["aliases"]] == [
        (row["alias"], row["experiment_id"]) for row in before["aliases"]
    ]
    changed = {"aliases", "alias_changes", "evaluations", *SWEEPS}
    assert {name: rows for name, rows in after.items() if name not in changed} == {
        name: rows for name, rows in before.items() if name not in changed
    }
    migrate(new)
    assert transact(new, set_alias, "production", before["aliases"][0]["experiment_id"]).number == 1


DOWN = {"paused": "queued"}


def test_a_downgrade_keeps_what_the_older_version_knows(new: Engine) -> None:
    before = content(new)
    downgrade(new, "0001")
    after = content(new)
    assert before.keys() - after.keys() == {
        "attempts",
        "checkpoints",
        "workers",
        "idempotency_keys",
        "alias_changes",
        *SWEEPS,
    }
    for row in before["aliases"]:
        for column in ("variant", "number", "shadows", "shadow_images", "shadow_disagreements"):
            del row[column]
    for row in before["evaluations"]:
        del row["expected_calibration_error"]
    for row in before["experiments"]:
        row["cancel_requested"] = row.pop("requested") == "cancel"
        row["state"] = DOWN.get(row["state"], row["state"])
        for column in ("max_attempts", "not_before", "fingerprint"):
            del row[column]
    for name, rows in after.items():
        assert rows == before[name], name


def test_what_was_downgraded_can_be_upgraded_and_goes_on(new: Engine) -> None:
    before = content(new)
    downgrade(new, "0001")
    migrate(new)
    after = content(new)
    assert [row["number"] for row in after["attempts"]] == [1, 1, 1]
    # The older version did not know it.
    for row in before["evaluations"]:
        row["expected_calibration_error"] = None
    for name in ("experiment_tags", "metrics", "evaluations", "artifacts", "events"):
        assert after[name] == before[name], name
    assert [(row["alias"], row["number"], row["shadows"]) for row in after["aliases"]] == [
        ("production", 1, None),
        ("staging", 1, None),
    ]
    assert [row["action"] for row in after["alias_changes"]] == ["promote", "promote"]
    named = {row["name"]: row for row in after["experiments"]}
    assert {name: row["requested"] for name, row in named.items() if row["state"] == "running"} == {
        "running": None,
        "to be paused": None,
        "to be cancelled": "cancel",
    }
    assert [row["name"] for row in after["experiments"] if row["state"] == "queued"] == ["paused", "waiting", "queued"]
    for _ in range(3):
        write(new, claim(new), start, succeed)
    assert see(new, experiments.count_by_state)[State.SUCCEEDED] == 4


# What goes wrong


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_upgrade_that_would_leave_rows_that_refer_to_nothing_is_undone(old: Engine) -> None:
    with old.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("DELETE FROM experiments WHERE id = 8")
        driver.execute("PRAGMA foreign_keys=ON")
    before = schema(old), content(old)
    with pytest.raises(ConfigurationError, match=r"was undone: rows of \w+ would refer to nothing"):
        migrate(old)
    assert (schema(old), content(old)) == before
    with pytest.raises(SchemaOutdated, match="at 0001"):
        check_schema(old)
    with old.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_an_upgrade_that_breaks_off_leaves_the_older_version_whole(old: Engine) -> None:
    before = schema(old), content(old)
    with old.begin() as connection:
        # In the way of the last table that the upgrade makes.
        connection.exec_driver_sql("CREATE TABLE idempotency_keys (key INTEGER)")
    with pytest.raises(DBAPIError, match=r"idempotency_keys.* already exists"):
        migrate(old)
    with old.begin() as connection:
        connection.exec_driver_sql("DROP TABLE idempotency_keys")
    assert (schema(old), content(old)) == before
    migrate(old)
    check_schema(old)
