"""Experiments that are cancelled about when they end: a race between an owner and a worker."""

import random
import time
from dataclasses import dataclass, field

import jobs
import psutil
import stub
from audit import audit
from databases import Database
from fleet import Fleet, is_alive
from output import Figures
from sqlalchemy import Engine, func, select

from service.errors import IllegalTransition
from service.specs.experiment import ExperimentSpec
from service.states import State
from service.store import control
from service.store.database import reading, writing
from service.store.tables import Attempt, Event, Experiment
from service.store.tables import Worker as Registered

SETTINGS = {"heartbeat_seconds": 0.5, "checkpoint_seconds": 0.0}
STEP_SECONDS = 0.01
GONE_SECONDS = 10
"""A cancelled experiment's process has to be gone by then."""

EVERY_SO_MANYTH_IS_ENDLESS = 4
ENDLESS_SECONDS = 0.5


@dataclass
class Race:
    """One experiment on its way to being cancelled."""

    spec: ExperimentSpec
    due: float | None = None
    cancelled_at: float | None = None
    training: psutil.Process | None = None


@dataclass
class Races:
    """All of them, and what came of them so far."""

    database: Engine
    fleet: Fleet
    chance: random.Random
    open: dict[int, Race]
    too_late: int = 0
    gone_seconds: list[float] = field(default_factory=list)

    def step(self) -> None:
        """See which trainings have begun, cancel those that are due, see which processes are gone."""
        with reading(self.database) as session:
            started = select(Event.experiment_id).where(
                Event.type == "started", Event.experiment_id.in_(self._waiting())
            )
            for experiment_id in session.scalars(started):
                self.open[experiment_id].due = time.monotonic() + self._wait(self.open[experiment_id].spec)
        for experiment_id, race in list(self.open.items()):
            if race.cancelled_at is not None:
                self._see_whether_gone(experiment_id, race)
            elif race.due is not None and race.due <= time.monotonic():
                self._cancel(experiment_id, race)

    def _waiting(self) -> list[int]:
        return [experiment_id for experiment_id, race in self.open.items() if race.due is None]

    def _wait(self, spec: ExperimentSpec) -> float:
        if spec.name == stub.ENDLESS:
            return self.chance.uniform(0, ENDLESS_SECONDS)
        # It has come a little further already, and its result takes a moment to be stored.
        return self.chance.uniform(0.5, 1.2) * stub.expected_seconds(spec)

    def _cancel(self, experiment_id: int, race: Race) -> None:
        race.training = self._training_of(experiment_id)
        try:
            with writing(self.database) as session:
                control.cancel(session, experiment_id)
        except IllegalTransition:
            self.too_late += 1
            del self.open[experiment_id]
            return
        race.cancelled_at = time.monotonic()

    def _training_of(self, experiment_id: int) -> psutil.Process | None:
        query = select(Registered.pid).join(Experiment, Experiment.worker == Registered.name)
        with reading(self.database) as session:
            pid = session.scalar(query.where(Experiment.id == experiment_id, Experiment.state == State.RUNNING))
        return next((worker.training() for worker in self.fleet.workers if worker.pid == pid), None)

    def _see_whether_gone(self, experiment_id: int, race: Race) -> None:
        if race.training is None or not is_alive(race.training):
            if race.training is not None:
                self.gone_seconds.append(time.monotonic() - race.cancelled_at)
            del self.open[experiment_id]


def run(database: Database, count: int, workers: int, seed: int, deadline: float) -> Figures:
    """Cancel so many experiments while workers train them: each ends cancelled or succeeded, at its first attempt."""
    chance = stub.dice(seed)
    specs = jobs.of_many_lengths(count, chance)
    specs[::EVERY_SO_MANYTH_IS_ENDLESS] = [
        jobs.spec(seed, name=stub.ENDLESS) for seed in range(0, count, EVERY_SO_MANYTH_IS_ENDLESS)
    ]
    engine = database.engine()
    with Fleet(database, workers, **SETTINGS) as fleet:
        ids = jobs.submit(engine, specs)
        races = Races(engine, fleet, chance, {number: Race(spec) for number, spec in zip(ids, specs, strict=True)})
        began = time.monotonic()
        while (races.open or jobs.count(engine).ended < count) and time.monotonic() < began + deadline:
            races.step()
            time.sleep(STEP_SECONDS)
        seconds = time.monotonic() - began
        fleet.shut_down()
        survivors = fleet.strays()
    verdict = audit(engine, count)
    retried = _retried(engine)
    engine.dispose()
    return {
        "cancels": count,
        "workers": workers,
        **{str(state): verdict.states[state] for state in State if verdict.states[state]},
        "cancelled_too_late": races.too_late,
        "retried": retried,
        **verdict.problems,
        "processes_watched": len(races.gone_seconds),
        "longest_until_gone_seconds": max(races.gone_seconds, default=0.0),
        "gone_too_late": [seconds for seconds in races.gone_seconds if seconds > GONE_SECONDS],
        "never_gone": sorted(races.open),
        "surviving_processes": survivors,
        "crashed_workers": fleet.crashes,
        "seconds": seconds,
    }


def _retried(database: Engine) -> list[int]:
    query = select(Attempt.experiment_id).group_by(Attempt.experiment_id).having(func.count() > 1)
    with reading(database) as session:
        return list(session.scalars(query))
