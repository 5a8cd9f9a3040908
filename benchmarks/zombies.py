"""Workers that are suspended in the middle of a job, and wake up when it is another's and over."""

import random
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

import psutil
from audit import everything_of
from fleet import Fleet, Worker, is_alive
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.states import TERMINAL
from service.store.database import reading
from service.store.tables import Attempt, Experiment
from service.store.tables import Worker as Registered

TAKEN_OVER = "worker_lost"
"""The outcome of an attempt whose worker was not heard of."""

CAUGHT_NOW = 0.05
"""How likely a worker is suspended at each look, so that it happens anywhere in its job."""

SUSPENDED_AT_ONCE = 4
"""At most every so many-th worker."""

LOCK_SECONDS = 1
"""Whoever has the lock for longer was suspended in a transaction, and keeps everybody out of the job."""

BEATS_UNTIL_NOTICED = 2
"""The first may have been under way when the worker was suspended; by the second it has asked for its lease."""


@dataclass
class Zombie:
    """A worker that was suspended with a job in its hands; `rows` are the job's when it wakes up."""

    worker: Worker
    training: psutil.Process
    experiment_id: int
    attempt: int
    suspended: float = field(default_factory=time.monotonic)
    training_seconds: float = 0.0
    woken: float | None = None
    rows: set[tuple[str, ...]] = field(default_factory=set)
    last_beat: datetime | None = None
    beats: int = 0


@dataclass
class Report:
    """What came of it. Lists must stay empty."""

    zombies: int = 0
    rows_changed_by_zombies: list[str] = field(default_factory=list)
    trainings_after_their_lease: list[str] = field(default_factory=list)
    longest_training_of_a_suspended_seconds: float = 0.0
    caught_in_a_transaction: int = 0
    slowest_notice_seconds: float = 0.0


class Zombies:
    """Suspends workers that train experiments of a certain name, which must be longer than a lease.

    Args:
        name: of these experiments.
        wanted: how many zombies there shall be.
        patience: how long the training of a suspended worker may go on.
    """

    def __init__(
        self, database: Engine, fleet: Fleet, name: str, wanted: int, patience: float, chance: random.Random
    ) -> None:
        self.report = Report()
        self.current: list[Zombie] = []
        self._database = database
        self._fleet = fleet
        self._name = name
        self._wanted = wanted
        self._patience = patience
        self._chance = chance

    @property
    def workers(self) -> list[Worker]:
        """Those that nobody may kill now."""
        return [zombie.worker for zombie in self.current]

    @property
    def are_enough(self) -> bool:
        """Whether nobody else has to be suspended."""
        return self.report.zombies + len(self.current) >= self._wanted

    def step(self) -> None:
        """Do what is to be done now."""
        for zombie in list(self.current):
            if is_alive(zombie.training):
                zombie.training_seconds = time.monotonic() - zombie.suspended
            if zombie.woken is None:
                self._wake_if_its_job_is_over(zombie)
            else:
                self._see_whether_it_has_noticed(zombie)
        # Somebody must be left to do what the suspended leave undone.
        some_are_left = len(self.current) < max(1, len(self._fleet.workers) // SUSPENDED_AT_ONCE)
        if some_are_left and not self.are_enough:
            self._catch()

    def release(self) -> None:
        """Let all suspended workers go on."""
        for zombie in self.current:
            zombie.worker.send(signal.SIGCONT)
        self.current.clear()

    def _catch(self) -> None:
        with reading(self._database) as session:
            at_it = _attempts(session, self._name)
        for worker in self._fleet.living():
            free = worker.pid in at_it and worker not in self.workers
            if free and self._chance.random() < CAUGHT_NOW and (training := worker.training()):
                self._suspend(worker, training)
                return

    def _suspend(self, worker: Worker, training: psutil.Process) -> None:
        worker.send(signal.SIGSTOP)
        zombie = None
        try:
            zombie = self._caught(worker, training)
        finally:
            if zombie is None:
                worker.send(signal.SIGCONT)
        if zombie is not None:
            self.current.append(zombie)

    def _caught(self, worker: Worker, training: psutil.Process) -> Zombie | None:
        with reading(self._database) as session:
            attempt = _attempts(session, self._name).get(worker.pid)
        if attempt is None:
            return None
        if not _can_be_locked(self._database, attempt.experiment_id):
            self.report.caught_in_a_transaction += 1
            return None
        return Zombie(worker, training, attempt.experiment_id, attempt.number)

    def _wake_if_its_job_is_over(self, zombie: Zombie) -> None:
        with reading(self._database) as session:
            if session.get_one(Experiment, zombie.experiment_id).state not in TERMINAL:
                return
            outcome = session.get_one(Attempt, (zombie.experiment_id, zombie.attempt)).outcome
            zombie.rows = everything_of(session, zombie.experiment_id)
            zombie.last_beat = _last_beat(session, zombie.worker)
        zombie.worker.send(signal.SIGCONT)
        zombie.woken = time.monotonic()
        if outcome != TAKEN_OVER:
            # Its last word was under way when it was suspended.
            self.current.remove(zombie)

    def _see_whether_it_has_noticed(self, zombie: Zombie) -> None:
        with reading(self._database) as session:
            last_beat = _last_beat(session, zombie.worker)
            rows = everything_of(session, zombie.experiment_id)
        if last_beat != zombie.last_beat:
            zombie.last_beat, zombie.beats = last_beat, zombie.beats + 1
        if zombie.beats >= BEATS_UNTIL_NOTICED or zombie.worker.status is not None:
            self._report(zombie, rows)
            self.current.remove(zombie)

    def _report(self, zombie: Zombie, rows: set[tuple[str, ...]]) -> None:
        report, seconds = self.report, zombie.training_seconds
        report.zombies += 1
        report.rows_changed_by_zombies += map(str, zombie.rows ^ rows)
        report.longest_training_of_a_suspended_seconds = max(report.longest_training_of_a_suspended_seconds, seconds)
        report.slowest_notice_seconds = max(report.slowest_notice_seconds, time.monotonic() - zombie.woken)
        if seconds > self._patience:
            report.trainings_after_their_lease.append(f"job {zombie.experiment_id}: for {seconds:.1f} s")


def _attempts(session: Session, name: str) -> dict[int, Attempt]:
    """The attempts at experiments of this name that are under way, by their workers' process ids."""
    query = select(Registered.pid, Attempt).join(Attempt, Attempt.worker == Registered.name)
    query = query.join(Experiment, Experiment.id == Attempt.experiment_id)
    return dict(session.execute(query.where(Attempt.ended_at.is_(None), Experiment.name == name)).all())


def _last_beat(session: Session, worker: Worker) -> datetime | None:
    return session.scalar(select(Registered.last_beat_at).where(Registered.pid == worker.pid))


def _can_be_locked(database: Engine, experiment_id: int) -> bool:
    try:
        if database.url.database and database.dialect.name == "sqlite":
            with closing(sqlite3.connect(database.url.database, LOCK_SECONDS, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        else:
            with database.begin() as connection:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                connection.execute(select(Experiment.id).where(Experiment.id == experiment_id).with_for_update())
    except (sqlite3.OperationalError, OperationalError):
        return False
    return True
