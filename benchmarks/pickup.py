"""How long an experiment waits for an idle worker: from `queued` to `running`, by the database's own clock.

    python benchmarks/pickup.py --rounds 50

Beside it, in turn with it, the same worker as most queues in a database have theirs by default: it is not woken, it
looks once a second. Each has a database, an API process and a worker of its own; experiments are submitted over HTTP,
one after the other, at moments that have nothing to do with a worker's next look.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

import databases
import httpx
import jobs
import output
import stub
from databases import Database, fresh_database
from fleet import Fleet, end_on_sigterm
from output import Figures
from sqlalchemy import Engine, select

from service.states import TERMINAL, State
from service.store.database import reading
from service.store.tables import Event

POLLING = {"poll_seconds": 1.0}
"""What the woken worker is compared with."""

PAUSE_SECONDS = (0.5, 1.5)
"""Before each submission: until the worker has its next process in reserve, and longer than its longest wait."""

END_SECONDS = 60
LOOK_SECONDS = 0.02
MILLISECONDS = 1000


class Service:
    """An API process and a worker process on one database."""

    def __init__(self, url: str, engine: Engine) -> None:
        self._url = url
        self._engine = engine
        self.waits: list[float] = []

    def measure(self, number: int) -> None:
        """Submit an experiment and wait until it has ended."""
        body = jobs.spec(number, name="pickup").model_dump(mode="json")
        answer = httpx.post(f"{self._url}/v1/experiments", json=body, timeout=END_SECONDS)
        answer.raise_for_status()
        moments = self._ended(answer.json()["id"])
        self.waits.append((moments[State.RUNNING] - moments[State.QUEUED]).total_seconds())

    def _ended(self, experiment_id: int) -> dict[str, datetime]:
        query = select(Event.type, Event.created_at).where(Event.experiment_id == experiment_id)
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            with reading(self._engine) as session:
                moments = dict(session.execute(query).all())
            if TERMINAL & moments.keys():
                return moments
            time.sleep(LOOK_SECONDS)
        raise TimeoutError(f"experiment {experiment_id} has not ended after {END_SECONDS} s")


@contextmanager
def running(kind: str, wakes: bool, **settings: float) -> Iterator[Service]:
    """A service with one idle worker."""
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(kind))
        url = stack.enter_context(_api(database))
        stack.enter_context(Fleet(database, 1, wakes, **settings))
        engine = database.engine()
        stack.callback(engine.dispose)
        yield Service(url, engine)


@contextmanager
def _api(database: Database) -> Iterator[str]:
    """Its URL."""
    environment = os.environ | {"NUMERAL_DATABASE_URL": database.url, "NUMERAL_PORT": "0"}
    command = [sys.executable, "-u", "-m", "service", "api"]
    log = database.folder / "api.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        try:
            # "Numeral is at http://127.0.0.1:49152 …", once it listens.
            words = process.stdout.readline().decode().split()
            if not words:
                raise RuntimeError(f"the API has not started:\n{log.read_text()}")
            yield next(word for word in words if word.startswith("http://"))
        finally:
            process.terminate()


def compare(kind: str, rounds: int, chance: random.Random) -> Figures:
    """Measure both in turn."""
    with running(kind, wakes=True) as woken, running(kind, wakes=False, **POLLING) as polling:
        # The first is not counted: whatever is done once is done then.
        for number in range(rounds + 1):
            for service in (woken, polling):
                time.sleep(chance.uniform(*PAUSE_SECONDS))
                service.measure(number)
    return {
        "rounds": rounds,
        **_figures("woken", woken.waits[1:]),
        **_figures("polling_every_second", polling.waits[1:]),
    }


def _figures(name: str, waits: list[float]) -> Figures:
    return {
        f"{name}_median_ms": statistics.median(waits) * MILLISECONDS,
        f"{name}_p95_ms": statistics.quantiles(waits, n=20, method="inclusive")[-1] * MILLISECONDS,
        f"{name}_max_ms": max(waits) * MILLISECONDS,
    }


def main() -> None:
    """Measure on each database that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    databases.add_option(parser)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    output.add_option(parser)
    arguments = parser.parse_args()

    end_on_sigterm()
    found = {kind: compare(kind, arguments.rounds, stub.dice(arguments.seed)) for kind in databases.chosen(arguments)}
    output.show("pickup", found)
    output.save(arguments.json, found)


if __name__ == "__main__":
    main()
