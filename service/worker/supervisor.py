"""The supervisor: claims experiments, keeps their leases alive, and is the only writer of what their trainings report.

One thread does all of it. Trainings run elsewhere and put their events into the supervisor's inbox, so that a `fit`
that hogs its interpreter, or an artifact on its way through the pipe, does not delay a heartbeat. What does is a write
to the database; checkpoints have a limit for that reason (`service.train.checkpoint`).
"""

import contextlib
import logging
import os
import queue as queues
import socket
import time
import uuid
from collections import deque
from threading import Event as Flag
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service import __version__
from service.errors import ConfigurationError, LeaseLost
from service.settings import Settings
from service.states import Request
from service.store import attempts, checkpoints, queue, results, wakeup, workers
from service.store.database import AWAY, check_schema, reading, writing
from service.store.leases import Lease
from service.worker import device, local
from service.worker.local import LocalEngine
from service.worker.messages import Accepted, Exited, Job
from service.worker.recorder import Cancel, Report, Run, record

logger = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""How many training processes in a row may die before they take a job, until the worker gives up."""

SAFE_PART_OF_LEASE = 0.9
"""A training is stopped when so much of its lease is over: stopping takes a moment, too."""

RECONNECT_SECONDS = 0.5


class Delivery(NamedTuple):
    """What the training that works under a lease reports."""

    token: str
    report: local.Report


class Supervisor:
    """Works off the queue of one database with one engine until it is told to stop."""

    def __init__(self, database: Engine, settings: Settings, engine: LocalEngine | None = None) -> None:
        # Unlike a pid, which a container's next process has again, this name is never another worker's.
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._database = database
        self._settings = settings
        self._engine = engine or LocalEngine(settings.keras_backend)
        self._runs: dict[str, Run] = {}
        self._inbox: queues.SimpleQueue[Delivery | str] = queues.SimpleQueue()
        self._device = device.describe()
        self._next_beat = 0.0
        self._called = False
        self._away = False
        self._failed_starts = 0

    def run(self, stop: Flag) -> None:
        """Work until `stop` is set; then let the trainings make checkpoints, and give their experiments back to the
        queue.

        Raises:
            ConfigurationError: training processes cannot start on this machine.
        """
        logger.info("worker %s: %d slot(s)", self.name, self._settings.slots)
        listener = wakeup.Listener(self._database, self._inbox.put)
        try:
            while not stop.is_set():
                self._turn(claiming=True)
        finally:
            try:
                self._shut_down()
            finally:
                listener.close()

    def _turn(self, claiming: bool) -> None:
        try:
            self._beat()
            self._obey()
            if claiming:
                self._claim()
                self._prepare()
            self._receive()
            for run in list(self._runs.values()):
                self._write_pending(run)
        except AWAY as error:
            # Nothing is lost: what could not be written is still pending. The children go on until their leases end.
            self._stop_expired()
            if not self._away:
                logger.warning("the database does not answer, trying until it does: %s", error)
            self._away = True
            self._end_if_outdated()
            time.sleep(RECONNECT_SECONDS)
        else:
            if self._away:
                logger.info("the database answers again")
            self._away = False

    def _end_if_outdated(self) -> None:
        """SQLite says of a missing column just what it says of a file out of reach.

        Raises:
            ConfigurationError: the schema is another version's by now.
        """
        with contextlib.suppress(*AWAY):
            check_schema(self._database)

    def _beat(self) -> None:
        """Renew all leases, say that this worker is alive, and look whose leases have run out: in one transaction, as
        on SQLite each has to wait for its turn."""
        if not self._beat_is_due():
            return
        renewed: list[tuple[Run, Request | None]] = []
        lost: list[Run] = []
        with writing(self._database) as session:
            session.connection()  # begins the transaction: from here on nobody has to be waited for
            sent = time.monotonic()
            for run in self._runs.values():
                try:
                    renewed.append((run, queue.heartbeat(session, run.lease, self._settings.lease_seconds)))
                except LeaseLost as error:
                    logger.warning("%s", error)
                    lost.append(run)
            if not workers.beat(session, self.name):
                self._register(session)
            # Last, so that a worker that was suspended renews what it still holds before it looks for what others lost.
            queue.reclaim_expired(session, self._settings.retry_seconds)
        self._next_beat = time.monotonic() + self._settings.heartbeat_seconds
        for run in lost:
            self._drop(run)
        for run, request in renewed:
            run.deadline = self._deadline(sent)
            run.child.renew(run.deadline)
            self._carry_out(run, request)

    def _beat_is_due(self) -> bool:
        return time.monotonic() >= self._next_beat

    def _register(self, session: Session) -> None:
        workers.register(
            session,
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._device,
            slots=self._settings.slots,
            version=__version__,
        )

    def _deadline(self, sent: float) -> float:
        """Until when a lease holds for certain that was asked for at `sent`: the database began to count later."""
        return sent + SAFE_PART_OF_LEASE * self._settings.lease_seconds

    def _obey(self) -> None:
        """If this worker was called, look whether an owner wants something of what it trains."""
        if not self._called or not self._runs:
            return
        with reading(self._database) as session:
            requests = queue.requests(session, list(self._runs))
        self._called = False
        for token, request in requests.items():
            self._carry_out(self._runs[token], request)

    def _carry_out(self, run: Run, request: Request | None) -> None:
        match request:
            case Request.CANCEL:
                run.child.kill()
                run.pending = deque([Cancel()])
                self._write_pending(run)
            case Request.PAUSE:
                run.interrupt(attempts.PAUSED)
            case None:
                pass

    def _claim(self) -> None:
        while len(self._runs) < self._settings.slots:
            with reading(self._database) as session:
                if not queue.has_work(session):
                    return
            sent = time.monotonic()
            with writing(self._database) as session:
                lease = queue.claim(session, self.name, self._settings.lease_seconds)
            if lease is None:
                return
            logger.info("experiment %d: attempt %d begins", lease.experiment_id, lease.attempt)
            try:
                self._begin(lease, self._deadline(sent))
            except OSError as error:
                # No process, no memory or no file could be had of this machine. Another one may do better.
                with writing(self._database) as session:
                    queue.give_back(session, lease, attempts.NOT_STARTED)
                self._start_failed(str(error))

    def _begin(self, lease: Lease, deadline: float) -> None:
        # Not in the claim's transaction: a large bundle takes a while, and the lease counts from the claim on.
        with reading(self._database) as session:
            checkpoint = checkpoints.content(session, lease.experiment_id)
        settings = self._settings
        job = Job(
            lease.spec, settings.datasets_dir, settings.cache_dir, checkpoint, settings.checkpoint_seconds, deadline
        )
        child = self._engine.start(job, lambda report: self._inbox.put(Delivery(lease.token, report)))
        self._runs[lease.token] = Run(lease, child, deadline)

    def _prepare(self) -> None:
        """Have a spare child, but not while a training begins: the spare's imports would compete with it."""
        if all(run.training for run in self._runs.values()):
            try:
                output = self._engine.prepare()
            except OSError as error:
                output = str(error)
            if output is not None:
                self._start_failed(output)

    def _receive(self) -> None:
        """Wait until the next look to be called or told something, unless there is something to write already; then
        take all that there is."""
        to_write = any(run.pending for run in self._runs.values())
        wait = 0.0 if to_write else min(self._settings.poll_seconds, self._settings.heartbeat_seconds)
        with contextlib.suppress(queues.Empty):
            self._take(self._inbox.get(timeout=wait))
            while True:
                self._take(self._inbox.get_nowait())

    def _take(self, item: Delivery | str) -> None:
        if isinstance(item, str):
            self._called = True
        elif run := self._runs.get(item.token):
            run.tell(item.report)

    def _write_pending(self, run: Run) -> None:
        while run.pending:
            event = run.pending[0]
            try:
                with writing(self._database) as session:
                    over = record(session, run, event, self._settings.retry_seconds)
            except LeaseLost as lost:
                logger.warning("%s", lost)
                self._drop(run)
                return
            except AWAY:
                raise
            except Exception:
                logger.exception("experiment %d: %s cannot be stored", run.lease.experiment_id, type(event).__name__)
                self._give_up(run, event)
                return
            run.pending.popleft()
            if isinstance(event, Accepted):
                self._failed_starts = 0
            if over:
                logger.info("experiment %d: %s", run.lease.experiment_id, over)
                output = run.child.log().decode(errors="replace")
                self._drop(run)
                if not run.accepted and not run.expired and isinstance(event, Exited):
                    self._start_failed(output)
                return
            if self._beat_is_due():
                # A training that reports much must not keep the leases from being renewed.
                return

    def _give_up(self, run: Run, event: Report) -> None:
        """What a training reports cannot be stored: given back it would only end the next worker, too."""
        message = f"What the training reported could not be stored ({type(event).__name__}); the worker's log says why."
        with contextlib.suppress(LeaseLost), writing(self._database) as session:
            results.fail(session, run.lease, "internal_error", message, run.child.log())
        self._drop(run)

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

    def _stop_expired(self) -> None:
        for run in self._runs.values():
            if time.monotonic() > run.deadline and not run.expired:
                logger.warning("experiment %d: stopped, its lease could not be renewed", run.lease.experiment_id)
                run.expire()

    def _drop(self, run: Run) -> None:
        run.child.close()
        del self._runs[run.lease.token]

    def _shut_down(self) -> None:
        """What was reported before the end is not thrown away, and what was trained becomes a checkpoint."""
        end = time.monotonic() + self._settings.grace_seconds
        if self._runs:
            logger.info("ending, at most %g s from now: waiting for checkpoints", self._settings.grace_seconds)
        try:
            with contextlib.suppress(ConfigurationError):
                while self._runs and time.monotonic() < end:
                    for run in list(self._runs.values()):
                        self._end(run)
                    self._turn(claiming=False)
        finally:
            for run in list(self._runs.values()):
                self._give_back(run)
            self._engine.close()
            with contextlib.suppress(*AWAY), writing(self._database) as session:
                workers.unregister(session, self.name)

    def _end(self, run: Run) -> None:
        if run.accepted:
            run.interrupt(attempts.SHUTDOWN)
        elif not run.pending:
            # It has not begun: there is nothing to keep.
            self._give_back(run)

    def _give_back(self, run: Run) -> None:
        # First the end of the training: whoever takes the experiment may need this machine's GPU.
        run.child.kill()
        try:
            with writing(self._database) as session:
                state = queue.give_back(session, run.lease)
            logger.info("experiment %d: given back, %s", run.lease.experiment_id, state)
        except (LeaseLost, *AWAY) as error:
            logger.warning("experiment %d could not be given back: %s", run.lease.experiment_id, error)
        self._drop(run)
