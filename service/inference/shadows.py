"""Shadows: a second model answers what an alias is asked, too, and it is counted how often it disagrees.

A shadow delays nobody: it has a thread of its own at low priority, and batches that it cannot keep up with pass it by.
"""

import logging
import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from service.errors import NumeralError
from service.inference.models import Models
from service.inference.routing import Routing
from service.inference.verdict import Beliefs
from service.store import aliases
from service.store.aliases import Route
from service.store.database import AWAY, writing
from service.store.registry import Resolved

logger = logging.getLogger(__name__)

MOST_BATCHES = 64
"""How many batches may wait for the shadows."""

COUNT_SECONDS = 1.0
"""Time between two writes of what was counted."""

NICENESS = 10


class _Seen(NamedTuple):
    shadow: Route
    batch: NDArray[np.float32]
    digits: NDArray[np.int64]


class Shadows:
    """Runs the shadows of aliases on the batches that it is shown."""

    def __init__(self, database: Engine, routing: Routing, models: Models) -> None:
        self._database = database
        self._routing = routing
        self._models = models
        self._queue: Queue[_Seen | None] = Queue(MOST_BATCHES)
        self._thread: threading.Thread | None = None
        self._counted: Counter[tuple[str, int, str]] = Counter()
        self._lock = threading.Lock()

    def see(self, resolved: Resolved, batch: NDArray[np.float32], beliefs: Beliefs) -> None:
        """Look at `(n, 28, 28, 1)` pixels that were answered so; what is blank has no digit to disagree about."""
        shadows = self._routing.shadows(resolved.alias) if resolved.alias else ()
        if not shadows or beliefs.blank.all():
            return
        inked = ~beliefs.blank
        self._start()
        for shadow in shadows:
            try:
                self._queue.put_nowait(_Seen(shadow, batch[inked], beliefs.probabilities[inked].argmax(axis=1)))
            except Full:
                return

    def close(self) -> None:
        """Write what was counted, and end."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="shadows", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        if sys.platform == "linux":
            # Of this thread alone: Linux's threads have a niceness each.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        due = time.monotonic()
        open_ = True
        while open_:
            with suppress(Empty):
                seen = self._queue.get(timeout=COUNT_SECONDS)
                open_ = seen is not None
                if seen:
                    self._compare(seen)
            if self._counted and (not open_ or time.monotonic() >= due):
                self._write()
                due = time.monotonic() + COUNT_SECONDS

    def _compare(self, seen: _Seen) -> None:
        shadow = seen.shadow
        try:
            session = self._models.get(shadow.experiment_id, shadow.variant).session
        except (NumeralError, *AWAY) as error:
            logger.warning("%s cannot shadow %s: %s", shadow.alias, shadow.shadows, error)
            return
        digits = session.run(seen.batch).probabilities.argmax(axis=1)
        self._counted[shadow.alias, shadow.number, "images"] += len(digits)
        self._counted[shadow.alias, shadow.number, "disagreements"] += int((digits != seen.digits).sum())

    def _write(self) -> None:
        for alias, number in {(alias, number) for alias, number, _ in self._counted}:
            images, different = (self._counted[alias, number, what] for what in ("images", "disagreements"))
            try:
                with writing(self._database) as session:
                    aliases.count_shadow(session, alias, number, images, different)
            except AWAY as error:
                logger.warning("the shadows' counts are not written yet: %s", error)
                return
            for what in ("images", "disagreements"):
                del self._counted[alias, number, what]
