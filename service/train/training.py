"""A model in training and where it stands: what can be taken down between two steps, and put back exactly."""

import math

import keras
import numpy as np

from service.schemas import EpochMetrics
from service.specs.experiment import ExperimentSpec
from service.train.checkpoint import Arrays, Position, Snapshot, Unusable
from service.train.early_stopping import Stopper
from service.train.schedules import Rate


class Training:
    """One training.

    Attributes:
        model: compiled, with all of its variables built.
        steps: how many an epoch has.
        history: metrics of the finished epochs.
        step: finished steps of the epoch after them.
        seconds: how long those steps took.
        stopper: early stopping, if the spec wants it.
    """

    def __init__(self, model: keras.Sequential, spec: ExperimentSpec, images: int) -> None:
        self.model = model
        self.spec = spec
        self.steps = math.ceil(images / spec.batch_size)
        self.history: list[EpochMetrics] = []
        self.step = 0
        self.seconds = 0.0
        self.stopper = Stopper(spec.early_stopping) if spec.early_stopping else None
        self._sums: Arrays = []
        if spec.schedule:
            # It counts the optimizer's iterations, which are in every checkpoint.
            model.optimizer.learning_rate = Rate(spec, self.steps)

    @property
    def fraction(self) -> float:
        """How much of all steps is done, 0–1."""
        return (len(self.history) + self.step / self.steps) / self.spec.epochs

    @property
    def is_over(self) -> bool:
        """Whether there is no epoch left to train."""
        return len(self.history) == self.spec.epochs or (self.stopper is not None and self.stopper.says_stop)

    @property
    def size(self) -> int:
        """Bytes of a snapshot's arrays, at most."""
        kept = [variable for variables in self._variables().values() for variable in variables]
        if self.stopper and self.stopper.spec.restore_best:
            kept += self.model.weights
        return sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in kept)

    def finish_epoch(self, metrics: EpochMetrics) -> None:
        """Take down an epoch that has just ended."""
        self.history.append(metrics)
        self.step, self.seconds, self._sums = 0, 0.0, []
        if self.stopper:
            self.stopper.see(metrics, self.model)

    def restore_metrics(self) -> None:
        """Put back what the metrics had summed up before an interruption; `fit` clears it as an epoch begins."""
        if self._sums:
            _assign(self._sums, self.model.metrics_variables)

    def snapshot(self) -> Snapshot:
        """All that decides how the training goes on; to be read before the next step, which may change it."""
        if keras.backend.backend() == "jax":
            # Within `fit` JAX's trainer keeps the variables' values to itself.
            self.model.jax_state_sync()
        position = Position(
            history=self.history,
            step=self.step,
            seconds=self.seconds,
            best=self.stopper.best if self.stopper else None,
            waited=self.stopper.waited if self.stopper else 0,
        )
        arrays = {
            group: [keras.ops.convert_to_numpy(variable) for variable in variables]
            for group, variables in self._variables().items()
        }
        return Snapshot(position, {**arrays, "best": self.stopper.weights if self.stopper else []})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot.

        Raises:
            Unusable: it cannot be this training's; nothing has been changed then.
        """
        position, arrays, variables = snapshot.position, snapshot.arrays, self._variables()
        if len(position.history) > self.spec.epochs or position.step >= self.steps:
            raise Unusable("it is of a longer training")
        for group in variables:
            _check(arrays[group], variables[group])
        if arrays["best"]:
            _check(arrays["best"], self.model.weights)

        for group in ("model", "optimizer"):
            _assign(arrays[group], variables[group])
        self._sums = arrays["metrics"] if position.step else []
        self.history, self.step, self.seconds = position.history, position.step, position.seconds
        if self.stopper:
            self.stopper.best, self.stopper.waited = position.best, position.waited
            self.stopper.weights = arrays["best"]

    def _variables(self) -> dict[str, list[keras.Variable]]:
        return {
            "model": self.model.variables,
            "optimizer": self.model.optimizer.variables,
            "metrics": self.model.metrics_variables,
        }


def _check(arrays: Arrays, variables: list[keras.Variable]) -> None:
    found = [(array.shape, array.dtype.name) for array in arrays]
    if found != [(tuple(variable.shape), variable.dtype) for variable in variables]:
        raise Unusable("its arrays have other shapes than the model's")


def _assign(arrays: Arrays, variables: list[keras.Variable]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
