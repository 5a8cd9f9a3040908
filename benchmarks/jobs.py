"""The experiments that the benchmarks submit; workers have them trained by `stub.py`."""

import random
from typing import Any, NamedTuple

from sqlalchemy import Engine

from service.specs.experiment import ExperimentSpec
from service.states import TERMINAL
from service.store import experiments, queue
from service.store.database import reading, writing

SUBMITTED_AT_ONCE = 500
LONG = "long"


def spec(seed: int, **fields: Any) -> ExperimentSpec:
    """A stub's experiment: an epoch of 40 steps, 160 ms, if nothing else is said."""
    given = {
        "dataset": "optdigits",
        "model": {"layers": [{"type": "flatten"}]},
        "validation": {"on": "none"},
        "seed": seed,
        "train_limit": 160,
        "batch_size": 4,
        "epochs": 1,
    }
    return ExperimentSpec.model_validate(given | fields)


def of_many_lengths(count: int, chance: random.Random, **fields: Any) -> list[ExperimentSpec]:
    """Trainings of 40 ms to 1.3 s."""
    return [
        spec(seed, epochs=chance.randint(1, 4), train_limit=chance.randint(40, 320), **fields) for seed in range(count)
    ]


def long(seed: int, **fields: Any) -> ExperimentSpec:
    """A training of 8 s, which is longer than a lease that is meant to run out."""
    return spec(seed, name=LONG, epochs=4, train_limit=500, batch_size=1, **fields)


def submit(database: Engine, specs: list[ExperimentSpec]) -> list[int]:
    """Put them into the queue; returns their ids."""
    ids: list[int] = []
    for begin in range(0, len(specs), SUBMITTED_AT_ONCE):
        with writing(database) as session:
            ids += [queue.enqueue(session, spec).id for spec in specs[begin : begin + SUBMITTED_AT_ONCE]]
    return ids


class Count(NamedTuple):
    """How many there are, and how many of them are in a terminal state."""

    ended: int
    all: int


def count(database: Engine) -> Count:
    """Count them."""
    with reading(database) as session:
        by_state = experiments.count_by_state(session)
    return Count(sum(by_state[state] for state in TERMINAL), sum(by_state.values()))
