"""A spec's schedule as Keras asks for it: the learning rate as a function of the steps that are done."""

import math
from typing import Any

import keras
from keras import ops

from service.specs.experiment import ExperimentSpec
from service.specs.schedules import Cosine, OneCycle


class Rate(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """The learning rate of a spec that has a schedule.

    Args:
        spec: says the schedule, its peak and the epochs.
        steps: how many an epoch has.
    """

    def __init__(self, spec: ExperimentSpec, steps: int) -> None:
        super().__init__()
        self._schedule = spec.schedule
        self._peak = spec.optimizer.learning_rate
        self._epochs = spec.epochs
        self._steps = spec.epochs * steps

    def __call__(self, step: Any) -> Any:
        """The rate of the step after the first `step`, a scalar tensor."""
        done = ops.cast(step, "float32") / self._steps
        match self._schedule:
            case Cosine() as cosine:
                return self._peak * _cosine(cosine, done, cosine.warmup_epochs / self._epochs)
            case OneCycle() as cycle:
                return self._peak * _one_cycle(cycle, done)

    def get_config(self) -> dict[str, Any]:
        """Nothing: optimizers are not saved with a model; checkpoints hold their variables."""
        return {}


def _cosine(spec: Cosine, done: Any, warmup: float) -> Any:
    """The fraction of the peak when `done` of all steps are done; `warmup` is a part of them, too."""
    fallen = (1 - ops.cos(math.pi * _part(done, warmup, 1.0))) / 2
    return ops.where(done < warmup, _part(done, 0.0, warmup), 1 - (1 - spec.final_fraction) * fallen)


def _one_cycle(spec: OneCycle, done: Any) -> Any:
    """The fraction of the peak when `done` of all steps are done."""
    risen = _part(done, 0.0, spec.warmup_fraction)
    fallen = _part(done, spec.warmup_fraction, 1.0)
    rising = spec.start_fraction + (1 - spec.start_fraction) * risen
    return ops.where(done < spec.warmup_fraction, rising, 1 - (1 - spec.final_fraction) * fallen)


def _part(done: Any, begin: float, end: float) -> Any:
    """How much of the way from `begin` to `end` is done, 0–1."""
    return ops.clip((done - begin) / max(end - begin, 1e-9), 0.0, 1.0)
