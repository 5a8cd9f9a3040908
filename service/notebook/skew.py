"""A model on pixels that are not scaled as they were in its training: what serving it wrongly costs."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BATCH = 500
WRONG_FACTOR = 255.0
"""A model that divides by 255 twice, on pixels that are multiplied by this: they are divided once."""


class Labelled(NamedTuple):
    """Images `(n, 28, 28)` in 0–255 with their labels `(n,)`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Skew(NamedTuple):
    """Accuracies of an experiment's model on the same images."""

    experiment_id: int
    images: int
    as_trained: float
    divided_once: float


def measure(experiment_id: int, model: bytes, test: Labelled) -> Skew | str:
    """Run an ONNX model that divides by 255 twice as it was trained, and on pixels that come to be divided once.

    Returns:
        Both accuracies, or why onnxruntime cannot run it.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        as_trained, divided_once = (_accuracy(session, test, factor) for factor in (1.0, WRONG_FACTOR))
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        return f"onnxruntime cannot run the model: {str(error)[:300]}"
    return Skew(experiment_id, len(test.labels), as_trained, divided_once)


def _accuracy(session: Any, test: Labelled, factor: float) -> float:
    right = 0
    for start in range(0, len(test.labels), BATCH):
        pixels = test.images[start : start + BATCH, :, :, None].astype(np.float32) * np.float32(factor)
        right += int((_digits(session, pixels) == test.labels[start : start + BATCH]).sum())
    return right / len(test.labels)


def _digits(session: Any, pixels: NDArray[np.float32]) -> NDArray[np.int64]:
    outputs = session.run(None, {session.get_inputs()[0].name: pixels})
    digits: NDArray[np.int64] = outputs[0].argmax(axis=1)
    return digits
