"""From a model's outputs to an answer: which digit, or why none."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.inference.calibration import calibrated
from service.inference.session import Outputs
from service.schemas import Reason

LEAST_CONTRAST = 16
"""Difference between an image's darkest and lightest pixel, of 255, from which on there may be something on it."""

DECIMALS = 6


class Beliefs(NamedTuple):
    """What is believed about n images."""

    probabilities: NDArray[np.float64]
    """`(n, 10)`, calibrated, rounded to 6 decimals; of an image with nothing on it all are 0.1."""

    blank: NDArray[np.bool_]
    """`(n,)`: whether there is nothing on it."""


def believe(batch: NDArray[np.float32], outputs: Outputs, temperature: float) -> Beliefs:
    """Calibrate what a model said about `(n, 28, 28, 1)` pixels in 0–255."""
    probabilities = calibrated(outputs.probabilities, outputs.is_digit, temperature).astype(np.float64).round(DECIMALS)
    flat = batch.reshape(len(batch), -1)
    blank = flat.max(axis=1) - flat.min(axis=1) < LEAST_CONTRAST
    probabilities[blank] = 1 / probabilities.shape[1]
    return Beliefs(probabilities, blank)


def digits(beliefs: Beliefs, thresholds: Iterable[float]) -> list[tuple[int | None, Reason | None]]:
    """Each image's digit; or None and the reason, if nothing is on it or the confidence is below its threshold."""
    probabilities, blanks = beliefs
    best, confidences = probabilities.argmax(axis=1).tolist(), probabilities.max(axis=1).tolist()
    return [
        (None, Reason.BLANK) if blank else (None, Reason.UNCERTAIN) if confidence < threshold else (digit, None)
        for digit, confidence, blank, threshold in zip(best, confidences, blanks.tolist(), thresholds, strict=True)
    ]
