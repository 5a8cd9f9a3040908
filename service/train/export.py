"""A trained model as files: `.keras` to go on with, ONNX to serve. Nothing is exported that was not seen to agree.

The ONNX file is loaded in onnxruntime and its predictions on the test set are compared with the trained model's.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import Diverged, ExportFailed
from service.specs.experiment import ExperimentSpec
from service.train import detector
from service.train.graph import Stack, graph
from service.train.models import build

TOLERANCE = {"float32": 1e-4, "mixed_float16": 2e-2, "mixed_bfloat16": 1e-1}
"""Largest difference of a probability that counts as agreement. A model trained in half precision is exported in
float32, so it may differ by that precision's rounding."""

BATCH = 256


class Outputs(NamedTuple):
    """What an ONNX model says about images: `(n, 10)` raw probabilities, and `(n,)`, the chance of a digit."""

    probabilities: NDArray[np.float32]
    is_digit: NDArray[np.float32]


class Exported(NamedTuple):
    """The files, a hash of the weights in the first, and what the ONNX model said about the test set."""

    keras: bytes
    onnx: bytes
    weights_sha256: str
    outputs: Outputs
    largest_difference: float


def export(
    model: keras.Sequential, digit_or_not: keras.Sequential, spec: ExperimentSpec, images: NDArray[np.uint8]
) -> Exported:
    """Write both files and check the ONNX one against the models on `(n, 28, 28, 1)` images.

    Args:
        model: the classifier.
        digit_or_not: `detector.train`'s network; it is in the ONNX file only.
        spec: the classifier's.
        images: the test set's.

    Raises:
        Diverged: the model's predictions are no numbers, after a last step that spoilt its weights.
        ExportFailed: a file could not be written or loaded, or the models disagree.
    """
    final = build(spec, precision="float32")
    final.set_weights(model.get_weights())
    written = graph(
        Stack(final, spec.model.layers, spec.rescale), Stack(digit_or_not, detector.LAYERS, detector.RESCALE)
    )
    outputs = outputs_of(written, images)
    difference = _difference(outputs, model, digit_or_not, images)
    if not difference <= TOLERANCE[spec.precision]:
        raise ExportFailed(f"The exported model's probabilities differ from the trained one's by {difference:.2g}.")
    with tempfile.TemporaryDirectory(prefix="numeral-export-") as folder:
        keras_file = Path(folder, "model.keras")
        final.save(keras_file)
        return Exported(keras_file.read_bytes(), written, weights_sha256(final), outputs, difference)


def outputs_of(model: bytes, images: NDArray[np.uint8]) -> Outputs:
    """What an exported model says about `(n, 28, 28, 1)` images.

    Raises:
        ExportFailed: onnxruntime cannot load or run it.
    """
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        chunks = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        answers = [session.run(None, {name: chunk.astype(np.float32)}) for chunk in chunks]
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ExportFailed(f"onnxruntime cannot run the exported model: {error}") from error
    probabilities, is_digit = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return Outputs(probabilities, is_digit[:, 0])


def weights_sha256(model: keras.Model) -> str:
    """A hash of all weights in their order, each as contiguous little-endian bytes; files also hold times and names."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.astype(weights.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _difference(
    outputs: Outputs, model: keras.Sequential, digit_or_not: keras.Sequential, images: NDArray[np.uint8]
) -> float:
    trained = model.predict(images, batch_size=BATCH, verbose=0)
    if not np.isfinite(trained).all():
        raise Diverged("The training diverged: the model's predictions are no numbers.")
    is_digit = digit_or_not.predict(images, batch_size=BATCH, verbose=0)[:, 0]
    return float(max(np.abs(outputs.probabilities - trained).max(), np.abs(outputs.is_digit - is_digit).max()))
