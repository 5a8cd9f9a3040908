"""Waking workers: whoever puts something into the queue, or asks something of a running experiment, calls; workers that
listen look at once instead of at their next poll.

On Postgres this is LISTEN and NOTIFY, sent when the transaction commits. On SQLite a listener looks every few
milliseconds whether any other connection has committed, which costs no query. A call may get lost, with the connection
for example: workers poll as well, only less often.
"""

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

QUEUED = "queued"
"""There is something to claim."""

REQUESTED = "requested"
"""The owner of a running experiment has asked for something."""

CHANGED = "changed"
"""Something was written; SQLite's listeners know no more than that."""

CHANNEL = "numeral"
SQLITE_LOOK_SECONDS = 0.02
RECONNECT_SECONDS = 1.0
STOP_LOOK_SECONDS = 0.5


def call(session: Session, what: str) -> None:
    """Wake the listeners when the session's transaction is committed."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(CHANNEL, what)))


class Listener:
    """A thread that says what was called until it is closed. It reconnects by itself."""

    def __init__(self, database: Engine, wake: Callable[[str], None]) -> None:
        self._database = database
        self._wake = wake
        self._stop = threading.Event()
        look = self._look_at_postgres if database.dialect.name == "postgresql" else self._look_at_sqlite
        self._thread = threading.Thread(target=self._keep, args=(look,), name="wakeup", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _keep(self, look: Callable[[], None]) -> None:
        # Asked of the engine: an import of Postgres's driver would slow down the start on SQLite.
        away = (SQLAlchemyError, self._database.dialect.loaded_dbapi.Error)
        while not self._stop.is_set():
            try:
                look()
            except away:
                # The database is away. The worker, which polls, says so in its log.
                self._stop.wait(RECONNECT_SECONDS)

    def _look_at_postgres(self) -> None:
        with self._database.connect() as connection:
            # The driver's own connection: no transaction is open while it listens. It is of no use to others after.
            driver: Any = connection.connection.driver_connection
            connection.detach()
            driver.autocommit = True
            driver.execute(f"LISTEN {CHANNEL}")
            # What was called while nobody listened.
            self._wake(CHANGED)
            while not self._stop.is_set():
                for notice in driver.notifies(timeout=STOP_LOOK_SECONDS, stop_after=1):
                    self._wake(notice.payload)

    def _look_at_sqlite(self) -> None:
        with self._database.connect() as connection:
            # Asked of the driver, so that no transaction begins.
            driver: Any = connection.connection.driver_connection
            seen = None
            while not self._stop.wait(SQLITE_LOOK_SECONDS):
                # Changes when another connection has committed: https://sqlite.org/pragma.html#pragma_data_version
                version = driver.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    self._wake(CHANGED)
                seen = version
