"""Early stopping by a validation metric."""

import keras

from service.schemas import EpochMetrics
from service.specs.experiment import EarlyStopping
from service.train.checkpoint import Arrays


class Stopper:
    """Watches epoch after epoch.

    Attributes:
        best: the best value so far, larger is better; None before the first epoch.
        waited: epochs since then.
        weights: the best epoch's weights; empty unless they are to be restored.
    """

    def __init__(self, spec: EarlyStopping) -> None:
        self.spec = spec
        self.best: float | None = None
        self.waited = 0
        self.weights: Arrays = []

    @property
    def says_stop(self) -> bool:
        """Whether there has been no better epoch for too long."""
        return self.waited >= self.spec.patience

    def see(self, metrics: EpochMetrics, model: keras.Sequential) -> None:
        """Take in an epoch that has just ended."""
        # The same sense for both: larger is better.
        value = -metrics.val_loss if self.spec.monitor == "val_loss" else metrics.val_accuracy  # type: ignore[operator]
        assert value is not None, "the spec refuses early stopping without validation"
        if self.best is None or value > self.best + self.spec.min_delta:
            self.best, self.waited = value, 0
            if self.spec.restore_best:
                self.weights = model.get_weights()
        else:
            self.waited += 1

    def restore(self, model: keras.Sequential) -> None:
        """Give the model the best epoch's weights, if the spec says so."""
        if self.weights:
            model.set_weights(self.weights)
