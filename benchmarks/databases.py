"""Fresh databases for the benchmarks, and the option that chooses among them."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postgres import Postgres, temporary_postgres
from sqlalchemy import Engine

from service.store.database import migrate, open_engine

KINDS = ("sqlite", "postgres")


@dataclass(frozen=True)
class Database:
    """A migrated database without rows, and a folder for what belongs to it."""

    kind: str
    url: str
    folder: Path
    server: Postgres | None

    def engine(self) -> Engine:
        """For one process."""
        return open_engine(self.url)


@contextmanager
def fresh_database(kind: str) -> Iterator[Database]:
    """A database of this kind; gone in the end."""
    with tempfile.TemporaryDirectory(prefix="numeral-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield _migrated(Database(kind, f"sqlite:///{folder / 'numeral.db'}", folder, None))
        else:
            with temporary_postgres() as server:
                yield _migrated(Database(kind, server.url, folder, server))


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--database`."""
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")


def chosen(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The kinds that were asked for."""
    return KINDS if arguments.database == "both" else (arguments.database,)


def _migrated(database: Database) -> Database:
    engine = database.engine()
    migrate(engine)
    engine.dispose()
    return database
