"""The training loop: one call of Keras's `fit` an epoch, over data in an order that only seed and epoch decide."""

import math
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from service.data.dataset import Split
from service.errors import Diverged
from service.schemas import EpochMetrics
from service.specs.experiment import EarlyStopping, ExperimentSpec
from service.specs.shapes import CLASSES

PROGRESS_SECONDS = 0.5

ReportFraction = Callable[[float], None]


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the training images in one epoch (epochs count from 1)."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def fit(
    model: keras.Sequential, spec: ExperimentSpec, train: Split, validation: Split | None, report: ReportFraction
) -> Iterator[EpochMetrics]:
    """Train a compiled model; yields after each epoch and leaves the best weights in place if the spec stops early.

    Raises:
        Diverged: the training loss became NaN or infinite.
    """
    pixels, targets = as_input(train), _one_hot(train)
    watched = None if validation is None else (as_input(validation), _one_hot(validation))
    stopper = _Stopper(spec.early_stopping, model) if spec.early_stopping else None

    for epoch in range(1, spec.epochs + 1):
        order = epoch_order(spec.seed, epoch, len(train))
        began = time.perf_counter()
        history = model.fit(
            pixels[order],
            targets[order],
            batch_size=spec.batch_size,
            shuffle=False,
            validation_data=watched,
            validation_batch_size=max(spec.batch_size, 256),
            callbacks=[_Steps(spec, epoch, report), keras.callbacks.TerminateOnNaN()],
            verbose=0,
        ).history
        metrics = _metrics(epoch, history, time.perf_counter() - began, model)
        yield metrics
        if stopper and stopper.should_stop(metrics):
            break
    if stopper:
        stopper.restore()


def as_input(split: Split) -> NDArray[np.uint8]:
    """`(n, 28, 28, 1)` pixels, as models take them."""
    return split.images[..., np.newaxis]


def _one_hot(split: Split) -> NDArray[np.float32]:
    return np.eye(CLASSES, dtype=np.float32)[split.labels]


def _metrics(epoch: int, history: dict[str, list[float]], seconds: float, model: keras.Sequential) -> EpochMetrics:
    last = {name: float(values[-1]) for name, values in history.items()}
    wrong = [name for name, value in last.items() if not math.isfinite(value)]
    if wrong:
        raise Diverged(
            f"The training diverged in epoch {epoch}: {wrong[0]} became {last[wrong[0]]}. "
            "A smaller learning rate usually helps."
        )
    return EpochMetrics(
        epoch=epoch,
        train_loss=last["loss"],
        train_accuracy=last["accuracy"],
        val_loss=last.get("val_loss"),
        val_accuracy=last.get("val_accuracy"),
        seconds=seconds,
        learning_rate=float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
    )


class _Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports the fraction of all steps that are done, not more often than every half second."""

    def __init__(self, spec: ExperimentSpec, epoch: int, report: ReportFraction) -> None:
        super().__init__()
        self.done_before = epoch - 1
        self.epochs = spec.epochs
        self.report = report
        self.reported = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        if time.monotonic() - self.reported < PROGRESS_SECONDS:
            return
        self.reported = time.monotonic()
        self.report((self.done_before + (batch + 1) / self.params["steps"]) / self.epochs)


class _Stopper:
    """Early stopping by a validation metric."""

    def __init__(self, spec: EarlyStopping, model: keras.Sequential) -> None:
        self.spec = spec
        self.model = model
        self.best = -math.inf
        self.waited = 0
        self.weights: list[NDArray[np.float32]] | None = None

    def should_stop(self, metrics: EpochMetrics) -> bool:
        # The same sense for both: larger is better.
        value = -metrics.val_loss if self.spec.monitor == "val_loss" else metrics.val_accuracy  # type: ignore[operator]
        assert value is not None, "the spec refuses early stopping without validation"
        if value > self.best + self.spec.min_delta:
            self.best, self.waited = value, 0
            if self.spec.restore_best:
                self.weights = self.model.get_weights()
        else:
            self.waited += 1
        return self.waited >= self.spec.patience

    def restore(self) -> None:
        if self.weights is not None:
            self.model.set_weights(self.weights)
