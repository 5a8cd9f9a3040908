"""The thread of an API process that leads sweeps."""

import logging
import threading

from sqlalchemy import Engine

from service.states import SweepState
from service.store import sweeps
from service.store.database import AWAY, reading, writing
from service.sweeps import lead

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""How long a finished trial waits for its successor, at most; one short query each time."""


class Leader:
    """Takes the next step of every sweep in which something has happened. Several processes may do so: see
    `service.sweeps.lead`."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._stop = threading.Event()
        self._seen: dict[int, tuple[int, int]] = {}
        self._away = False
        self._thread = threading.Thread(target=self._run, name="sweeps", daemon=True)

    def start(self) -> None:
        """Begin to lead."""
        self._thread.start()

    def close(self) -> None:
        """End after the step that is being taken."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
                self._away = False
            except AWAY as error:
                # Nothing is lost: the next look sees all that has happened meanwhile.
                if not self._away:
                    logger.warning("sweeps wait for the database, which does not answer: %s", error)
                self._away = True

    def _look(self) -> None:
        with reading(self._database) as session:
            pulses = sweeps.pulses(session)
        for sweep_id, pulse in pulses.items():
            if self._seen.get(sweep_id) != pulse and not self._stop.is_set():
                self._step(sweep_id)
        self._seen = pulses

    def _step(self, sweep_id: int) -> None:
        try:
            lead.step(self._database, sweep_id)
        except AWAY:
            raise
        except Exception as error:
            # It would only happen again, and nobody would know why the sweep does not go on.
            logger.exception("sweep %d cannot be led", sweep_id)
            message = f"It could not be led: {type(error).__name__}: {error}"[:500]
            with writing(self._database) as session:
                sweep = sweeps.locked(session, sweep_id)
                if sweep.state == SweepState.RUNNING:
                    sweeps.finish(session, sweep, SweepState.FAILED, message)
