"""The supervisor: claims experiments, keeps their leases alive, and is the only writer of what their trainings report.

One thread does all of it. Trainings run elsewhere and put their events into the supervisor's inbox, so that a `fit`
that hogs its interpreter, or an artifact on its way through the pipe, does not delay a heartbeat.
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

from service.errors import ConfigurationError, LeaseLost
from service.schemas import Evaluation
from service.settings import Settings
from service.store import queue, results
from service.store.database import reading, writing
from service.store.queue import Lease
from service.train.events import EpochEnd, Evaluated, Failed, Finished, Progress, Started
from service.worker import local
from service.worker.local import Child, LocalEngine
from service.worker.messages import Accepted, Exited, Job

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cancel:
    """The owner asked for the end, and the child is gone. Takes the place of whatever the child had reported."""


Report = local.Report | Cancel

MAX_FAILED_STARTS = 3
"""How many training processes in a row may die before they take a job, until the worker gives up."""


@dataclass
class Run:
    """One attempt that this supervisor is responsible for."""

    lease: Lease
    child: Child
    pending: deque[Report] = field(default_factory=deque)
    """Reported, but not in the database yet; in order."""
    evaluation: Evaluation | None = None
    accepted: bool = False
    epochs: int = 0


class Supervisor:
    """Works off the queue of one database with one engine until it is told to stop."""

    def __init__(self, database: Engine, settings: Settings) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._database = database
        self._settings = settings
        self._engine = LocalEngine(settings.keras_backend)
        self._runs: dict[str, Run] = {}
        self._inbox: queues.SimpleQueue[tuple[str, local.Report]] = queues.SimpleQueue()
        self._beat = 0.0
        self._failed_starts = 0

    def run(self, stop: Flag) -> None:
        """Work until `stop` is set; then end the children and give their experiments back to the queue.

        Raises:
            ConfigurationError: training processes cannot start on this machine.
        """
        logger.info("worker %s: %d slot(s)", self.name, self._settings.slots)
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
        # First, so that a worker that was suspended renews what it still holds before it looks for what others lost.
        if time.monotonic() - self._beat >= self._settings.heartbeat_seconds:
            self._beat = time.monotonic()
            for run in list(self._runs.values()):
                self._heartbeat(run)
        self._claim()
        self._prepare()
        self._receive(min(self._settings.poll_seconds, self._settings.heartbeat_seconds))
        for run in list(self._runs.values()):
            self._write_pending(run)

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

    def _prepare(self) -> None:
        """Have a spare child, but not while a training begins: the spare's imports would compete with it."""
        if all(run.epochs for run in self._runs.values()):
            output = self._engine.prepare()
            if output is not None:
                self._start_failed(output)

    def _receive(self, wait: float) -> None:
        """Wait at most so many seconds for an event, then take all that there are."""
        try:
            token, event = self._inbox.get(timeout=wait)
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
            if over:
                logger.info("experiment %d: %s", run.lease.experiment_id, over)
                output = run.child.log().decode(errors="replace")
                self._drop(run)
                if not run.accepted and isinstance(event, Exited):
                    self._start_failed(output)
                return

    def _write(self, session: Session, run: Run, event: Report) -> str | None:
        """Store one event; returns how the experiment ended if this was its last one."""
        match event:
            case Accepted():
                run.accepted = True
                self._failed_starts = 0
            case Started(device, parameters):
                results.start(session, run.lease, device, parameters)
            case Progress(fraction):
                results.progress(session, run.lease, fraction)
            case EpochEnd(metrics):
                results.epoch(session, run.lease, metrics)
                run.epochs = metrics.epoch
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
            case Exited() if not run.accepted:
                # No fault of the experiment: another worker, or another process, may do better.
                queue.give_back(session, run.lease)
                return "given back, its process did not start"
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

    def _start_failed(self, output: str) -> None:
        """A process died before it took a job.

        Raises:
            ConfigurationError: for the `MAX_FAILED_STARTS`-th time in a row.
        """
        logger.error("a training process did not start; it printed:\n%s", output)
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            last = (output.strip().splitlines() or ["they print nothing"])[-1]
            raise ConfigurationError(f"Training processes do not start on this machine: {last}")

    def _drop(self, run: Run) -> None:
        run.child.close()
        del self._runs[run.lease.token]

    def _shut_down(self) -> None:
        try:
            # What was reported before the end is not thrown away: a training may have finished at this very moment.
            with contextlib.suppress(OperationalError, ConfigurationError):
                self._receive(0)
                for run in list(self._runs.values()):
                    self._write_pending(run)
        finally:
            self._give_all_back()
            self._engine.close()

    def _give_all_back(self) -> None:
        for run in list(self._runs.values()):
            run.child.close()
            try:
                with writing(self._database) as session:
                    queue.give_back(session, run.lease)
                logger.info("experiment %d: given back to the queue", run.lease.experiment_id)
            except (LeaseLost, OperationalError) as error:
                logger.warning("experiment %d could not be given back: %s", run.lease.experiment_id, error)
        self._runs.clear()


def _explain(status: int) -> tuple[str, str]:
    """The error code and message of a training process that ended without a last word."""
    if status >= 0:
        return "process_exited", f"The training process ended with exit status {status}; log.txt has its last words."
    name = signal.Signals(-status).name
    hint = " The machine may have run out of memory." if -status == signal.SIGKILL else ""
    return "process_killed", f"The training process was killed by the operating system ({name}).{hint}"
