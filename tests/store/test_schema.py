"""The schema, on both databases: the migrations make what the code describes, and refuse what they do not know."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine

from service.errors import ConfigurationError, SchemaOutdated
from service.states import State
from service.store.database import check_schema, migrate, migrations, open_engine, writing
from service.store.tables import Base
from tests.store.support import downgrade, look, schema, submit

NEWEST = max(file.name[:4] for file in (migrations() / "versions").glob("*.py"))


def to_nothing(engine: Engine) -> None:
    downgrade(engine, "base")


def empty(engine: Engine) -> None:
    """Leave not one table."""
    downgrade(engine, "base")
    with writing(engine) as session:
        session.connection().exec_driver_sql("DROP TABLE alembic_version")


def test_the_migrations_make_what_the_tables_module_describes(database: Engine) -> None:
    with database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_constraints_and_indexes(database: Engine) -> None:
    migrated = schema(database)
    assert len(migrated["experiments"]["checks"]) == 8
    to_nothing(database)
    assert schema(database) == {}
    Base.metadata.create_all(database)
    assert schema(database) == migrated


@pytest.mark.parametrize("revision", ["0001", "base"])
def test_the_migrations_can_be_taken_back_and_made_again(database: Engine, revision: str) -> None:
    before = schema(database)
    downgrade(database, revision)
    assert schema(database) != before
    migrate(database)
    assert schema(database) == before
    check_schema(database)


def test_migrating_again_changes_nothing_and_names_the_version(database: Engine) -> None:
    experiment_id = submit(database, name="baseline")
    assert migrate(database) == migrate(database) == NEWEST
    assert look(database, experiment_id).name == "baseline"


def test_the_newest_schema_is_accepted(database: Engine) -> None:
    check_schema(database)


@pytest.mark.parametrize(
    ("make_old", "at"),
    [(to_nothing, "nothing"), (empty, "nothing"), (lambda engine: downgrade(engine, "0001"), "0001")],
)
def test_an_older_schema_is_refused_with_what_to_run(
    database: Engine, make_old: Callable[[Engine], None], at: str
) -> None:
    make_old(database)
    with pytest.raises(SchemaOutdated, match=rf"at {at}.*needs {NEWEST}.*numeral db upgrade"):
        check_schema(database)


@pytest.mark.parametrize("use", [check_schema, migrate])
def test_a_newer_schema_is_refused_and_left_alone(database: Engine, use: Callable[[Engine], Any]) -> None:
    experiment_id = submit(database)
    before = schema(database)

    def call_it(version: str) -> None:
        with database.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")

    call_it("9999")
    with pytest.raises(ConfigurationError, match="at 9999, which this version does not know"):
        use(database)
    call_it(NEWEST)
    assert schema(database) == before
    assert look(database, experiment_id).state == State.QUEUED


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
