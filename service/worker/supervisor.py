"""The supervisor: claims experiments, keeps their leases alive, and is the only writer of what their trainings report.

One thread does all of it. Trainings run elsewhere and put their events into the supervisor's inbox, so neither a `fit`
that hogs its interpreter nor a large artifact on its way can delay a heartbeat.
"""

import contextlib
import logging
import os
import queue as queues
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from threading import Event as Flag

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.schemas import Evaluation
from service.settings import Settings
from service.store import queue, results
from service.store.database import reading, writing
from service.store.queue import Lease
from service.train.events import EpochEnd, Evaluated, Event, Failed, Finished, Progress, Started
from service.worker.child import Job
from service.worker.local import Child, Exited, LocalEngine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cancel:
    """The owner asked for the end, and the child is gone. Takes the place of whatever the child had reported."""


Report = Event | Exited | Cancel


@dataclass
class Run:
    """One attempt that this supervisor is responsible for."""

    lease: Lease
    child: Child
    pending: deque[Report] = field(default_factory=deque)
    """Reported, but not in the database yet; in order."""
    evaluation: Evaluation | None = None


class Supervisor:
    """Works off the queue of one database with one engine until it is told to stop."""

    def __init__(self, database: Engine, settings: Settings) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._database = database
        self._settings = settings
        self._engine = LocalEngine(settings.keras_backend)
        self._runs: dict[str, Run] = {}
        self._inbox: queues.SimpleQueue[tuple[str, Event | Exited]] = queues.SimpleQueue()
        self._beat = 0.0

    def run(self, stop: Flag) -> None:
        """Work until `stop` is set; then end the children and give their experiments back to the queue."""
        logger.info("worker %s: %d slot(s)", self.name, self._settings.slots)
        self._engine.prepare()
        try:
            while not stop.is_set():
                try:
                    self._turn()
                except OperationalError as error:
                    # The database is away for a moment. Nothing is lost: what could not be written is still pending.
                    logger.warning("the database does not answer, trying again: %s", error.orig)
                    stop.wait(1.0)
        finally:
            self._shut_down()

    def _turn(self) -> None:
        self._claim()
        self._receive()
        for run in list(self._runs.values()):
            self._write_pending(run)
        if time.monotonic() - self._beat >= self._settings.heartbeat_seconds:
            self._beat = time.monotonic()
            for run in list(self._runs.values()):
                self._heartbeat(run)

    def _claim(self) -> None:
        while len(self._runs) < self._settings.slots:
            with reading(self._database) as session:
                if not queue.has_work(session):
                    return
            with writing(self._database) as session:
                queue.reclaim_expired(session)
                lease = queue.claim(session, self.name, self._settings.lease_seconds)
            if lease is None:
                return
            logger.info("experiment %d: attempt %d begins", lease.experiment_id, lease.attempt)
            self._begin(lease)

    def _begin(self, lease: Lease) -> None:
        job = Job(lease.spec, self._settings.datasets_dir, self._settings.cache_dir)
        child = self._engine.start(job, lambda event: self._inbox.put((lease.token, event)))
        self._runs[lease.token] = Run(lease, child)

    def _receive(self) -> None:
        """Wait a moment for events, then take all that there are."""
        try:
            token, event = self._inbox.get(timeout=self._settings.poll_seconds)
            while True:
                if run := self._runs.get(token):
                    run.pending.append(event)
                token, event = self._inbox.get_nowait()
        except queues.Empty:
            return

    def _write_pending(self, run: Run) -> None:
        while run.pending:
            event = run.pending[0]
            try:
                with writing(self._database) as session:
                    over = self._write(session, run, event)
            except LeaseLost as lost:
                logger.warning("%s", lost)
                self._drop(run)
                return
            run.pending.popleft()
            if isinstance(event, EpochEnd):
                # Not sooner: the spare's imports would compete with the start of this training.
                self._engine.prepare()
            if over:
                logger.info("experiment %d: %s", run.lease.experiment_id, over)
                self._drop(run)
                return

    def _write(self, session: Session, run: Run, event: Report) -> str | None:
        """Store one event; returns how the experiment ended if this was its last one."""
        match event:
            case Started(device, parameters):
                results.start(session, run.lease, device, parameters)
            case Progress(fraction):
                results.progress(session, run.lease, fraction)
            case EpochEnd(metrics):
                results.epoch(session, run.lease, metrics)
            case Evaluated(report):
                # Kept until the end: evaluation, files and state are committed together.
                run.evaluation = report
            case Finished(result, files):
                assert run.evaluation is not None, "a training reports its evaluation before it finishes"
                results.succeed(session, run.lease, result, run.evaluation, files, run.child.log())
                return f"succeeded, test accuracy {result.test_accuracy:.4f}"
            case Failed(code, message):
                results.fail(session, run.lease, code, message, run.child.log())
                return f"failed, {code}: {message}"
            case Cancel():
                results.cancelled(session, run.lease, run.child.log())
                return "cancelled"
            case Exited(status):
                code, message = _explain(status)
                results.fail(session, run.lease, code, message, run.child.log())
                return f"failed, {code}: {message}"
        return None

    def _heartbeat(self, run: Run) -> None:
        try:
            with writing(self._database) as session:
                cancel = queue.heartbeat(session, run.lease, self._settings.lease_seconds)
        except LeaseLost as lost:
            logger.warning("%s", lost)
            self._drop(run)
            return
        if cancel:
            run.child.kill()
            run.pending = deque([Cancel()])
            self._write_pending(run)

    def _drop(self, run: Run) -> None:
        run.child.close()
        del self._runs[run.lease.token]
        self._engine.prepare()

    def _shut_down(self) -> None:
        # What was reported before the end is not thrown away: a training may have finished at this very moment.
        with contextlib.suppress(OperationalError):
            self._receive()
            for run in list(self._runs.values()):
                self._write_pending(run)
        for run in list(self._runs.values()):
            run.child.close()
            try:
                with writing(self._database) as session:
                    queue.give_back(session, run.lease)
                logger.info("experiment %d: given back to the queue", run.lease.experiment_id)
            except (LeaseLost, OperationalError) as error:
                logger.warning("experiment %d could not be given back: %s", run.lease.experiment_id, error)
        self._runs.clear()
        self._engine.close()


def _explain(status: int) -> tuple[str, str]:
    """The error code and message of a training process that ended without a last word."""
    if status >= 0:
        return "process_exited", f"The training process ended with exit status {status}; log.txt has its last words."
    name = signal.Signals(-status).name
    hint = " The machine may have run out of memory." if -status == signal.SIGKILL else ""
    return "process_killed", f"The training process was killed by the operating system ({name}).{hint}"
