"""Engines, transactions and the schema's version, for SQLite and Postgres alike."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.errors import ConfigurationError, SchemaOutdated

SQLITE_BUSY_MILLISECONDS = 60_000
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs"})
# A thread holds one connection at a time, and the API has 40 threads.
POOL: dict[str, Any] = {"pool_size": 5, "max_overflow": 35}
MIGRATION_LOCK = 7_200_001
"""Any number that no other program takes for an advisory lock in this database."""
ALIASES_LOCK = MIGRATION_LOCK + 1

AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""What a database that is restarted, out of reach or on standby for the moment makes of a query."""

# A network that swallows packets must not hold up a worker until its lease has run out.
POSTGRES_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_READ_ONLY = "numeral_read_only"


def open_engine(url: str) -> Engine:
    """An engine for the URL; nothing is connected yet.

    Raises:
        ConfigurationError: the URL is of no database that is supported, or SQLite would lie on a network filesystem,
            whose locks cannot be trusted.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(f"{url!r} is not a database URL: use sqlite:///… or postgresql://…") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgresql+psycopg":
            psycopg = parsed.set(drivername="postgresql+psycopg")
            return create_engine(psycopg, pool_pre_ping=True, connect_args=POSTGRES_CONNECT, **POOL)
        case other:
            raise ConfigurationError(f"{other!r} is not supported: use sqlite:///… or postgresql://…")


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or "uri" in url.query or "mode" in url.query:
        raise ConfigurationError("SQLite must be a file that workers can share: use sqlite:///path/to/file.db")
    path = Path(url.database).resolve()
    if (kind := filesystem(path)) in NETWORK_FILESYSTEMS:
        raise ConfigurationError(f"{path} is on a network filesystem ({kind}), which SQLite cannot lock: use Postgres")
    # isolation_level=None: the driver must not begin transactions by itself; `_begin` says which kind to begin.
    engine = create_engine(url, connect_args={"isolation_level": None}, **POOL)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails with SQLITE_BUSY_SNAPSHOT whatever the busy timeout, if
    # another writer came between: so all that may write take the write lock at once.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN DEFERRED" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session in one read-write transaction: committed at the end, rolled back on an exception."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state of the database from its first statement on; it does not wait for writers."""
    with Session(_read_only(engine), expire_on_commit=False) as session:
        yield session


def _read_only(engine: Engine) -> Engine:
    if engine.dialect.name == "postgresql":
        # Its default shows each statement another state.
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**{_READ_ONLY: True})


def filesystem(path: Path) -> str:
    """The type of the filesystem that `path` is (or will be) on, or an empty string where that cannot be told."""
    mounts = [
        (len(Path(mount.mountpoint).parts), mount.fstype)
        for mount in psutil.disk_partitions(all=True)
        if path.resolve().is_relative_to(mount.mountpoint)
    ]
    return max(mounts)[1] if mounts else ""


def migrations() -> Path:
    """Where the Alembic migrations are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(engine: Engine) -> str:
    """Bring the schema to the newest version, which is returned. A SQLite file's folder is made if need be.

    Raises:
        ConfigurationError: that folder cannot be made, or the schema is of a newer version.
    """
    _make_folder(engine)
    config = _alembic_config()
    with migrating(engine) as connection:
        _refuse_newer(MigrationContext.configure(connection).get_current_revision())
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return _newest()


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A connection in the one transaction of a migration, which happens as a whole or not at all; a second one that
    begins meanwhile waits."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # To change a table SQLite copies and drops it; dropping it would delete all that refers to it. Inside a
            # transaction the pragma would do nothing, so the driver is asked, which begins none.
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    yield connection
                    _refuse_dangling(connection)
            finally:
                driver.execute("PRAGMA foreign_keys=ON")
        else:
            with connection.begin():
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
                yield connection


def _refuse_dangling(connection: Connection) -> None:
    if dangling := connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise ConfigurationError(f"The migration was undone: rows of {dangling[0][0]} would refer to nothing.")


def _refuse_newer(present: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()}
    if present is not None and present not in known:
        raise ConfigurationError(
            f"The database's schema is at {present}, which this version does not know: a newer version made it."
        )


def _make_folder(engine: Engine) -> None:
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return
    folder = Path(engine.url.database).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} cannot be made: {error.strerror}") from None


def _newest() -> str:
    return ScriptDirectory.from_config(_alembic_config()).get_current_head() or ""


def check_schema(engine: Engine) -> None:
    """Do nothing if the database has the schema that this code expects.

    Raises:
        SchemaOutdated: it has not yet; the message says what to run.
        ConfigurationError: the schema is of a newer version.
    """
    with _read_only(engine).connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    _refuse_newer(present)
    if present != (newest := _newest()):
        raise SchemaOutdated(
            f"The database's schema is at {present or 'nothing'}, this version needs {newest}: "
            "run `numeral db upgrade`."
        )
