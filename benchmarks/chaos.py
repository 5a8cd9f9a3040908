"""Workers are killed, suspended and cut off from their database while they train: is any job lost, or done twice?

    python benchmarks/chaos.py                                              # 2,000 jobs, 500 kills, both databases
    python benchmarks/chaos.py --database postgres --restarts-every 5-10    # and Postgres is restarted all the time
    python benchmarks/chaos.py --jobs 100 --kills 25                        # in two minutes

Supervisors are real, and so are their training processes, except that these train without Keras (`stub.py`). Whatever a
job has to come to is known in advance. The exit status is 1 if anything is not as it must be.
"""

import argparse
import contextlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import databases
import jobs
import output
import psutil
import stub
from audit import Verdict, audit
from databases import Database, fresh_database
from fleet import Fleet, Worker, end_on_sigterm
from output import Figures
from postgres import Postgres
from sqlalchemy import Engine, func, select
from zombies import TAKEN_OVER, Zombies

from service.specs.experiment import ExperimentSpec
from service.store.database import AWAY, reading
from service.store.tables import Attempt
from service.store.tables import Worker as Registered

# A worker is missed after three seconds, and an attempt that was lost is repeated at once.
SETTINGS = {
    "lease_seconds": 3.0,
    "heartbeat_seconds": 0.4,
    "checkpoint_seconds": 0.0,
    "retry_seconds": 0.1,
    "grace_seconds": 10.0,
}
STEP_SECONDS = 0.05
SLACK_SECONDS = 2
"""On a busy machine, what is due at a moment happens a moment later."""

ORPHANS_SECONDS = 15
"""A killed worker's training processes have to be gone by then."""

JOBS_PER_ODDITY = 100
LAST_DUE = 0.9
"""All that is planned is begun when so many of the jobs are over, so that there are some left that it can hit."""

TRAININGS_PER_KILL = 0.2
"""For so many of the killed workers another one loses its training process alone."""

AT_WORK = 0.75
"""How likely each worker that trains is to be among those that a victim is chosen from before all others."""


class Killer:
    """Kills workers as the jobs go on, and now and then only a training process."""

    def __init__(self, fleet: Fleet, due: list[float], chance: random.Random) -> None:
        self.workers = self.at_work = self.trainings = 0
        self._fleet = fleet
        self._due = due
        self._chance = chance

    @property
    def is_over(self) -> bool:
        """Whether there is nobody left to kill."""
        return self.workers >= len(self._due)

    def step(self, ended: int, spared: list[Worker]) -> None:
        """Kill whoever is due when so many jobs have ended."""
        if self.is_over or self._due[self.workers] > ended:
            return
        self._kill_one(spared)
        if self._chance.random() < TRAININGS_PER_KILL:
            self._kill_a_training(spared)

    def _kill_one(self, spared: list[Worker]) -> None:
        victims = [worker for worker in self._fleet.living() if worker not in spared]
        # Most of them in the middle of a job; but each other moment must be hit, too.
        at_work = [worker for worker in victims if worker.training() and self._chance.random() < AT_WORK]
        if victims:
            self._fleet.kill(self._chance.choice(at_work or victims))
            self.workers += 1
            self.at_work += bool(at_work)

    def _kill_a_training(self, spared: list[Worker]) -> None:
        others = [worker for worker in self._fleet.living() if worker not in spared]
        trainings = [training for worker in others if (training := worker.training())]
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            self._chance.choice(trainings).kill()
            self.trainings += 1


class Restarts:
    """Restarts of Postgres, gentle and rough in turn, at random moments until it is closed."""

    def __init__(self, server: Postgres, every: tuple[float, float], outage: float, chance: random.Random) -> None:
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(server, every, outage, chance))
        self._thread.start()

    def close(self) -> None:
        """End them."""
        self._stop.set()
        self._thread.join()

    def _work(self, server: Postgres, every: tuple[float, float], outage: float, chance: random.Random) -> None:
        while not self._stop.wait(chance.uniform(*every)):
            server.restart("immediate" if self.count % 2 else "fast", chance.uniform(0, outage))
            self.count += 1


def run(database: Database, arguments: argparse.Namespace) -> Figures:
    """Have all jobs done in spite of all that happens to the workers, and say how they came out."""
    chance = stub.dice(arguments.seed)
    engine = database.engine()
    specs = _specs(arguments, chance)
    jobs.submit(engine, specs)
    began = time.monotonic()
    with Fleet(database, arguments.workers, **SETTINGS) as fleet, _restarted(database, arguments) as restarts:
        killer = Killer(fleet, _due(arguments.kills, arguments.jobs, chance), chance)
        patience = SETTINGS["lease_seconds"] + SLACK_SECONDS
        zombies = Zombies(engine, fleet, jobs.LONG, arguments.zombies, patience, chance)
        _carry_on(engine, arguments, fleet, killer, zombies)
        seconds = time.monotonic() - began
        if restarts:
            restarts.close()
        # The workers take their rows along.
        late = _count_late_beats(engine)
        fleet.shut_down()
        survivors = _survivors(fleet)
    verdict = audit(engine, len(specs))
    engine.dispose()
    return {
        "jobs": sum(verdict.states.values()),
        "workers": arguments.workers,
        "kills": killer.workers,
        "kills_at_work": killer.at_work,
        "kills_of_a_training_alone": killer.trainings,
        "restarts": restarts.count if restarts else 0,
        **asdict(zombies.report),
        "attempts_lost_by_late_beats": late - zombies.report.zombies,
        **_figures(verdict),
        "crashed_workers": [f"exit status {status}: {_last_words(database)}" for status in fleet.crashes],
        "surviving_processes": survivors,
        "longest_orphan_seconds": fleet.orphan_seconds,
        "orphans_that_stay": [fleet.orphan_seconds] if fleet.orphan_seconds > ORPHANS_SECONDS else [],
        "not_carried_out": _missing(arguments, killer, zombies),
        "seconds": seconds,
    }


def _carry_on(engine: Engine, arguments: argparse.Namespace, fleet: Fleet, killer: Killer, zombies: Zombies) -> None:
    count, deadline = jobs.count(engine), time.monotonic() + arguments.deadline
    while (count.ended < count.all or zombies.workers) and time.monotonic() < deadline:
        # Postgres is away now and then.
        with contextlib.suppress(*AWAY):
            count = jobs.count(engine)
            zombies.step()
            if count.ended == count.all and not (killer.is_over and zombies.are_enough):
                # Something must go on that it can happen to.
                jobs.submit(engine, [jobs.long(count.all, max_attempts=arguments.max_attempts)])
                count = jobs.count(engine)
        killer.step(count.ended, zombies.workers)
        fleet.replace_ended()
        fleet.watch_orphans()
        time.sleep(STEP_SECONDS)
    zombies.release()


def _count_late_beats(database: Engine) -> int:
    """How often a worker was taken for lost that was heard of later; so are all zombies."""
    late = select(func.count()).select_from(Attempt).join(Registered, Registered.name == Attempt.worker)
    with reading(database) as session:
        return session.scalars(
            late.where(Attempt.outcome == TAKEN_OVER, Registered.last_beat_at > Attempt.ended_at)
        ).one()


def _specs(arguments: argparse.Namespace, chance: random.Random) -> list[ExperimentSpec]:
    short = arguments.jobs - arguments.suicides - arguments.zombies
    specs = jobs.of_many_lengths(short, chance, max_attempts=arguments.max_attempts)
    specs += [jobs.spec(seed, name=stub.SUICIDE, max_attempts=2) for seed in range(arguments.suicides)]
    specs += [jobs.long(seed, max_attempts=arguments.max_attempts) for seed in range(arguments.zombies)]
    chance.shuffle(specs)
    return specs


def _due(count: int, total: int, chance: random.Random) -> list[float]:
    """After how many ended jobs each of so many things is to happen."""
    return sorted(chance.uniform(0, LAST_DUE * total) for _ in range(count))


@contextmanager
def _restarted(database: Database, arguments: argparse.Namespace) -> Iterator[Restarts | None]:
    if database.server is None or arguments.restarts_every is None:
        yield None
        return
    chance = stub.dice(arguments.seed)
    restarts = Restarts(database.server, arguments.restarts_every, arguments.outage, chance)
    try:
        yield restarts
    finally:
        restarts.close()


def _survivors(fleet: Fleet) -> list[int]:
    """Training processes that outlive all workers."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    while fleet.strays() and time.monotonic() < deadline:
        time.sleep(STEP_SECONDS)
    return fleet.strays()


def _figures(verdict: Verdict) -> Figures:
    return {
        "attempts": sum(verdict.outcomes.values()),
        "attempts_resumed": verdict.resumed,
        "outcomes": dict(verdict.outcomes),
        "succeeded": verdict.states["succeeded"],
        "failed": dict(verdict.failures),
        **verdict.problems,
    }


def _missing(arguments: argparse.Namespace, killer: Killer, zombies: Zombies) -> list[str]:
    planned = {"kills": (killer.workers, arguments.kills), "zombies": (zombies.report.zombies, arguments.zombies)}
    return [f"{done} of {wanted} {name}" for name, (done, wanted) in planned.items() if done < wanted]


def _last_words(database: Database) -> str:
    lines = (database.folder / "workers.log").read_text().strip().splitlines()
    return lines[-1] if lines else "nothing in the log"


def _interval(text: str) -> tuple[float, float]:
    shortest, _, longest = text.partition("-")
    return float(shortest), float(longest or shortest)


def main() -> int:
    """Run it on each database; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    databases.add_option(parser)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=500, help="workers that are killed")
    parser.add_argument("--zombies", type=int, help="workers that are suspended in a job; 1 for 100 jobs")
    parser.add_argument("--suicides", type=int, help="jobs, of all, that always kill their own process; 1 for 100 jobs")
    parser.add_argument("--max-attempts", type=int, default=100, help="of every other job; a low one lets jobs fail")
    parser.add_argument("--restarts-every", type=_interval, metavar="SECONDS", help="of Postgres, for example 5-10")
    parser.add_argument("--outage", type=float, default=1.0, metavar="SECONDS", help="the longest of a restart")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deadline", type=float, default=3600, metavar="SECONDS", help="for each database")
    output.add_option(parser)
    arguments = parser.parse_args()
    for name in ("zombies", "suicides"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, arguments.jobs // JOBS_PER_ODDITY)

    end_on_sigterm()
    found: dict[str, Figures] = {}
    for kind in databases.chosen(arguments):
        with fresh_database(kind) as database:
            found[kind] = run(database, arguments)
    output.show("chaos", found)
    output.save(arguments.json, found)
    return 0 if all(map(output.is_right, found.values())) else 1


if __name__ == "__main__":
    raise SystemExit(main())
