"""Engines, transactions and the schema, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, delete, func, insert, inspect, select
from sqlalchemy.exc import IntegrityError

from service.errors import ConfigurationError
from service.specs.experiment import ExperimentSpec
from service.store import experiments, queue
from service.store.clock import now
from service.store.database import check_schema, migrate, migrations, open_engine, reading, writing
from service.store.tables import Alias, Artifact, Base, EpochMetrics, Evaluation, Event, Experiment, Tag

SPEC = ExperimentSpec.model_validate({"preset": "baseline", "tags": ["one"]})

sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def downgrade(engine: Engine) -> None:
    """Take back all migrations."""
    config = Config()
    config.set_main_option("script_location", str(migrations()))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()


def empty(engine: Engine) -> None:
    """Leave not one table."""
    downgrade(engine)
    with writing(engine) as session:
        session.connection().exec_driver_sql("DROP TABLE alembic_version")


def schema(engine: Engine) -> dict[str, Any]:
    """What the database knows about every table, but not how it spells the columns' types."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": {column["name"]: column["nullable"] for column in inspector.get_columns(table)},
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": inspector.get_foreign_keys(table),
            "checks": sorted((check["name"], check["sqltext"]) for check in inspector.get_check_constraints(table)),
            "indexes": {
                index["name"]: (
                    index.get("expressions", index["column_names"]),
                    {option: str(value) for option, value in index["dialect_options"].items()},
                )
                for index in inspector.get_indexes(table)
            },
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


# The schema


def test_the_migrations_make_what_the_tables_module_describes(database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_constraints_and_indexes(database: Engine) -> None:
    migrated = schema(database)
    assert len(migrated["experiments"]["checks"]) == 7
    downgrade(database)
    assert schema(database) == {}
    Base.metadata.create_all(database)
    assert schema(database) == migrated


def test_the_migrations_can_be_taken_back_and_made_again(database: Engine) -> None:
    before = schema(database)
    downgrade(database)
    migrate(database)
    assert schema(database) == before
    check_schema(database)


def test_migrating_again_changes_nothing_and_names_the_version(database: Engine) -> None:
    with writing(database) as session:
        experiment_id = queue.enqueue(session, SPEC).id
    assert migrate(database) == migrate(database) == "0001"
    with reading(database) as session:
        assert experiments.get(session, experiment_id).name == "baseline"


def test_the_newest_schema_is_accepted(database: Engine) -> None:
    check_schema(database)


@pytest.mark.parametrize("make_old", [downgrade, empty])
def test_an_older_schema_is_refused_with_what_to_run(database: Engine, make_old: Callable[[Engine], None]) -> None:
    make_old(database)
    with pytest.raises(ConfigurationError, match=r"at nothing.*numeral db upgrade"):
        check_schema(database)


def test_migrating_makes_the_folder_of_a_sqlite_file(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/new/folder/numeral.db")
    migrate(engine)
    engine.dispose()
    assert (tmp_path / "new" / "folder" / "numeral.db").is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    engine = open_engine(f"sqlite:///{tmp_path}/file/numeral.db")
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/file cannot be made"):
        migrate(engine)


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
        queue.enqueue(writer, SPEC)
        with reading(database) as reader:
            assert experiments.page(reader) == []
    with reading(database) as reader:
        assert len(experiments.page(reader)) == 1


def test_a_reader_sees_one_state_whatever_is_committed_meanwhile(database: Engine) -> None:
    with reading(database) as reader:
        assert experiments.page(reader) == []
        with writing(database) as writer:
            queue.enqueue(writer, SPEC)
        assert experiments.page(reader) == []


def test_what_was_read_can_be_used_after_its_session(database: Engine) -> None:
    with writing(database) as session:
        experiment = queue.enqueue(session, SPEC)
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
        ("state_known", {"state": "paused"}),
        ("state_known", {"state": "QUEUED"}),
        ("terminal_is_finished", {"state": "queued", **ENDED}),
        ("terminal_is_finished", {"state": "running", **LEASE, **ENDED}),
        ("terminal_is_finished", {"state": "succeeded", "test_accuracy": 0.99}),
        ("terminal_is_finished", {"state": "failed", "error_code": "diverged"}),
        ("terminal_is_finished", {"state": "cancelled"}),
        ("running_has_lease", {"state": "running"}),
        ("running_has_lease", {"state": "queued", **LEASE}),
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
    ],
)
def test_the_database_refuses_a_row_that_no_state_allows(
    database: Engine, constraint: str, row: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match=f"ck_experiments_{constraint}"):
        store(database, row)


def test_the_database_refuses_what_belongs_to_no_experiment(database: Engine) -> None:
    def store_event() -> None:
        with writing(database) as session:
            session.execute(insert(Event).values(experiment_id=1, number=1, type="queued", data={}))

    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        store_event()


def test_deleting_an_experiment_deletes_all_that_belongs_to_it_and_nothing_else(database: Engine) -> None:
    measured = {"train_loss": 1.0, "train_accuracy": 0.5, "seconds": 1.0, "learning_rate": 1.0}
    file = {"media_type": "text/plain", "size": 0, "sha256": "0" * 64, "content": b""}
    with writing(database) as session:
        for alias in ("gone", "kept"):
            owner = {"experiment_id": queue.enqueue(session, SPEC).id}
            session.execute(insert(EpochMetrics).values(owner | measured | {"epoch": 1}))
            session.execute(
                insert(Evaluation).values(
                    owner | {"loss": 1.0, "accuracy": 0.5, "labels": [], "confusion_matrix": [], "per_class": []}
                )
            )
            session.execute(insert(Artifact).values(owner | file | {"name": "log.txt"}))
            session.execute(insert(Alias).values(owner | {"alias": alias}))
    children = (Tag, EpochMetrics, Evaluation, Artifact, Event, Alias)

    def counts() -> list[int]:
        with reading(database) as session:
            return [session.scalars(select(func.count()).select_from(child)).one() for child in children]

    assert counts() == [2] * len(children)
    with writing(database) as session:
        session.execute(delete(Experiment).where(Experiment.id == 1))
    assert counts() == [1] * len(children)
    with reading(database) as session:
        assert session.scalars(select(Alias.alias)).all() == ["kept"]


def test_an_id_is_not_given_out_again_after_the_newest_experiment_is_deleted(database: Engine) -> None:
    with writing(database) as session:
        newest = queue.enqueue(session, SPEC).id
    with writing(database) as session:
        session.execute(delete(Experiment))
    with writing(database) as session:
        assert queue.enqueue(session, SPEC).id > newest


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
