"""From a model's raw outputs to probabilities that can be believed."""

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-30
"""Probabilities below it are taken for it: their logarithm is still a number."""


def calibrated(
    probabilities: NDArray[np.float32], is_digit: NDArray[np.float32] | None, temperature: float
) -> NDArray[np.float32]:
    """Probabilities of the ten digits for images that may be none.

    The softmax is cooled by the temperature; then, as a picture of no digit can be taken for any of them, it is mixed
    with the uniform distribution by the chance that there is a digit at all: `g · p + (1 - g) / 10`. The most likely
    digit stays the same, the rows still sum to 1, and the confidence in something that is no digit goes to 0.1.

    Args:
        probabilities: `(n, 10)`, the model's softmax.
        is_digit: `(n,)` in 0–1, the model's second output; None for a model without one.
        temperature: > 0; 1 leaves the softmax as it is.
    """
    if temperature != 1.0:
        logits = np.log(np.maximum(probabilities, SMALLEST)) / np.float32(temperature)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        probabilities = logits / logits.sum(axis=1, keepdims=True)
    if is_digit is None:
        return probabilities
    weight = is_digit[:, np.newaxis]
    mixed: NDArray[np.float32] = weight * probabilities + (1 - weight) / np.float32(probabilities.shape[1])
    return mixed
