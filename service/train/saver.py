"""When a training makes checkpoints: not too often, and none that could not be stored."""

import time

from service.train.checkpoint import LIMIT, Origin, pack
from service.train.events import Checkpoint
from service.train.training import Training


class Saver:
    """Makes a training's checkpoints, at most every so many `seconds`.

    Attributes:
        can_save: whether the model is small enough for checkpoints; a line in the log says so where it is not.
    """

    def __init__(self, training: Training, origin: Origin, seconds: float) -> None:
        self._training = training
        self._origin = origin
        self._seconds = seconds
        self._saved = time.monotonic()
        self.can_save = training.size <= LIMIT
        if not self.can_save:
            print(  # noqa: T201  (the experiment's log)
                f"There are no checkpoints of this training: each would have {training.size / 2**20:,.0f} MiB, "
                f"and the limit is {LIMIT / 2**20:,.0f} MiB."
            )

    def is_due(self) -> bool:
        """Whether it is time for another one."""
        return self.can_save and time.monotonic() - self._saved >= self._seconds

    def save(self) -> Checkpoint:
        """A checkpoint of the training as it is now, between two steps."""
        content = pack(self._training.snapshot(), self._origin)
        self._saved = time.monotonic()
        return Checkpoint(content, epoch=len(self._training.history), fraction=self._training.fraction)
