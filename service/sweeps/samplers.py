"""Which point comes next.

All samplers are functions of a sweep's spec, of the trials so far and of nothing else: a sweep can be led by any
process, and by another one after the next restart.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from service.schemas import Trial
from service.specs.sweep import Dimension, FloatRange, IntRange, Params, SweepSpec


def suggest(spec: SweepSpec, trials: Sequence[Trial]) -> Params:
    """The point of the trial that follows these."""
    match spec.sampler:
        case "grid":
            return next(itertools.islice(spec.grid(), len(trials), None))
        case "random":
            return at_random(spec, len(trials))
        case "tpe":
            # Optuna is an extra, and takes a moment to import.
            from service.sweeps import tpe

            return tpe.suggest(spec, trials)


def at_random(spec: SweepSpec, number: int) -> Params:
    """A point that only the sampler's seed and the trial's number decide."""
    generator = np.random.default_rng([spec.seed, number])
    return {path: _draw(dimension, generator) for path, dimension in spec.space.items()}


def _draw(dimension: Dimension, generator: np.random.Generator) -> Any:
    match dimension:
        case FloatRange(low=low, high=high, log=True):
            return _within(math.exp(generator.uniform(math.log(low), math.log(high))), low, high)
        case FloatRange(low=low, high=high):
            return float(generator.uniform(low, high))
        case IntRange(low=low, high=high, log=True):
            # Each whole number gets what is nearest to it.
            drawn = math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return int(_within(round(drawn), low, high))
        case IntRange(low=low, high=high):
            return int(generator.integers(low, high, endpoint=True))
        case choices:
            return choices[int(generator.integers(len(choices)))]


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
