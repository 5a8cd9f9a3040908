"""What happens between two steps of an epoch."""

import time
from collections.abc import Callable

import keras

from service.train.events import Checkpoint, Progress
from service.train.saver import Saver
from service.train.training import Training

PROGRESS_SECONDS = 0.5

Emit = Callable[[Progress | Checkpoint], None]
AskInterrupted = Callable[[], bool]


class Interruption(Exception):
    """Leaves Keras's `fit` between two steps; never gets out of the training loop."""


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """Follows one epoch from where the training stands: counts its steps and its time, tells how far it is, makes the
    checkpoints that are due, and leaves it when the training is asked to stop.

    Attributes:
        interrupted: whether the training was asked to stop. After an epoch's last step the epoch is brought to its end.
    """

    def __init__(self, training: Training, saver: Saver, emit: Emit, interrupted: AskInterrupted) -> None:
        super().__init__()
        self.interrupted = False
        self._training = training
        self._saver = saver
        self._emit = emit
        self._is_asked = interrupted
        self._first = training.step
        self._began = time.perf_counter() - training.seconds
        self._reported = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the epoch has taken, with what it took before an interruption."""
        return time.perf_counter() - self._began

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Undo `fit`'s reset of the metrics where the epoch is one that goes on."""
        self._training.restore_metrics()

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Take down the step.

        Raises:
            Interruption: the training was asked to stop, and the epoch has steps left.
        """
        training = self._training
        training.step, training.seconds = self._first + batch + 1, self.seconds
        self.interrupted = self._is_asked()
        if training.step == training.steps:
            return
        if self.interrupted:
            raise Interruption
        if self._saver.is_due():
            self._emit(self._saver.save())
        if time.monotonic() - self._reported >= PROGRESS_SECONDS:
            self._reported = time.monotonic()
            self._emit(Progress(training.fraction))
