"""The training loop: one call of Keras's `fit` an epoch, over data in an order that only seed and epoch decide."""

import math
from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from service.data.dataset import Split
from service.errors import Diverged
from service.schemas import EpochMetrics
from service.specs.shapes import CLASSES
from service.train.callbacks import AskInterrupted, Emit, Interruption, Steps
from service.train.events import Checkpoint, EpochEnd, Interrupted
from service.train.saver import Saver
from service.train.training import Training


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the training images in one epoch (epochs count from 1)."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def fit(
    training: Training, train: Split, validation: Split | None, saver: Saver, emit: Emit, interrupted: AskInterrupted
) -> Iterator[EpochEnd | Checkpoint | Interrupted]:
    """Train from where the training stands to its end; leaves the best weights in place if the spec stops early.

    Yields an EpochEnd after each epoch and the Checkpoint that may be due then; the events of an epoch that is going on
    go to `emit`. If `interrupted()` says so after a step, the last things yielded are a Checkpoint and Interrupted.

    Raises:
        Diverged: the training loss became NaN or infinite.
    """
    spec = training.spec
    # Smoothed here and not in the loss: the validation loss is the plain one, as the test loss is.
    pixels, targets = as_input(train), _smoothed(_one_hot(train), spec.label_smoothing)
    watched = None if validation is None else (as_input(validation), _one_hot(validation))

    while not training.is_over:
        epoch = len(training.history) + 1
        steps = Steps(training, saver, emit, interrupted)
        rest = epoch_order(spec.seed, epoch, len(train))[training.step * spec.batch_size :]
        try:
            history = training.model.fit(
                pixels[rest],
                targets[rest],
                batch_size=spec.batch_size,
                shuffle=False,
                validation_data=watched,
                validation_batch_size=max(spec.batch_size, 256),
                callbacks=[steps, keras.callbacks.TerminateOnNaN()],
                verbose=0,
            ).history
        except Interruption:
            pass
        else:
            metrics = _metrics(epoch, history, steps.seconds, training.model)
            training.finish_epoch(metrics)
            yield EpochEnd(metrics)

        if steps.interrupted:
            if saver.can_save:
                yield saver.save()
            yield Interrupted()
            return
        if saver.is_due():
            yield saver.save()

    if training.stopper:
        training.stopper.restore(training.model)


def as_input(split: Split) -> NDArray[np.uint8]:
    """`(n, 28, 28, 1)` pixels, as models take them."""
    return split.images[..., np.newaxis]


def _one_hot(split: Split) -> NDArray[np.float32]:
    return np.eye(CLASSES, dtype=np.float32)[split.labels]


def _smoothed(targets: NDArray[np.float32], smoothing: float) -> NDArray[np.float32]:
    """The targets with a part of each spread evenly over all classes."""
    return targets * np.float32(1 - smoothing) + np.float32(smoothing / CLASSES)


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
