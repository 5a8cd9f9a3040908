"""Whether the database has changed since it was last asked, so cheaply that it can be asked before every batch."""

import logging
import time
from threading import Lock
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

logger = logging.getLogger(__name__)

ALIASES = "SELECT alias, number, updated_at FROM aliases ORDER BY alias"
RETRY_SECONDS = 1.0
"""How long a database that did not answer is left alone: whoever asks must not wait for it every time."""


class Watch:
    """A connection of its own that asks; may be used from several threads.

    On SQLite a change is any commit of another connection, on Postgres one of an alias.
    """

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._question = ALIASES if database.dialect.name == "postgresql" else "PRAGMA data_version"
        self._lock = Lock()
        self._connection: Any = None
        self._seen: Any = None
        self._not_before = 0.0

    def changed(self) -> bool:
        """Whether anything may be different from what it was at the last call; True at the first.

        False as long as the database does not answer: then nobody can change it here either.
        """
        with self._lock:
            if self._connection is None and time.monotonic() < self._not_before:
                return False
            try:
                now = self._ask()
            except (SQLAlchemyError, self._database.dialect.loaded_dbapi.Error) as error:
                logger.warning("the database does not answer, models stay as they are: %s", error)
                self._hang_up()
                self._not_before = time.monotonic() + RETRY_SECONDS
                return False
            before, self._seen = self._seen, now
            return bool(before != now)

    def close(self) -> None:
        """Give the connection up."""
        with self._lock:
            self._hang_up()

    def _ask(self) -> Any:
        if self._connection is None:
            self._connection = self._database.raw_connection()
            self._connection.detach()
            if self._database.dialect.name == "postgresql":
                self._connection.dbapi_connection.autocommit = True
        # Asked of the driver: SQLAlchemy's part would take ten times as long as SQLite's.
        return self._connection.dbapi_connection.execute(self._question).fetchall()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._seen = None
