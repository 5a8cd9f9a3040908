"""A trained model as files: `.keras` to go on with, ONNX to serve. Nothing is exported that was not seen to agree.

ONNX comes from Keras's TensorFlow backend through tf2onnx, which can write a wrong file without raising. So every file
is loaded in onnxruntime and its predictions on the test set compared with the trained model's. On another backend the
export runs in a subprocess with the TensorFlow backend: `python -m service.train.export model.keras model.onnx`.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import Diverged, ExportFailed
from service.specs.experiment import ExperimentSpec
from service.train.models import build

TOLERANCE = {"float32": 1e-4, "mixed_float16": 2e-2, "mixed_bfloat16": 1e-1}
"""Largest difference of a probability that counts as agreement. A model trained in half precision is exported in
float32, so it may differ by that precision's rounding."""

BATCH = 256


class Exported(NamedTuple):
    """The files, a hash of the weights in them, and what the ONNX model said about the test set: `(n, 10)` float32."""

    keras: bytes
    onnx: bytes
    weights_sha256: str
    probabilities: NDArray[np.float32]
    largest_difference: float


def export(model: keras.Sequential, spec: ExperimentSpec, images: NDArray[np.uint8]) -> Exported:
    """Write both files and check the ONNX one against the model on `(n, 28, 28, 1)` images.

    Raises:
        Diverged: the model's predictions are no numbers, after a last step that spoilt its weights.
        ExportFailed: a file could not be written or loaded, or the two models disagree.
    """
    final = build(spec, precision="float32")
    final.set_weights(model.get_weights())
    with tempfile.TemporaryDirectory(prefix="numeral-export-") as folder:
        keras_file, onnx_file = Path(folder, "model.keras"), Path(folder, "model.onnx")
        final.save(keras_file)
        if keras.backend.backend() == "tensorflow":
            write_onnx(final, onnx_file)
        else:
            _write_onnx_elsewhere(keras_file, onnx_file)
        exported = onnx_file.read_bytes()
        probabilities = _run(exported, images)
        difference = _difference(probabilities, model, images)
        if not difference <= TOLERANCE[spec.precision]:
            raise ExportFailed(f"The exported model's probabilities differ from the trained one's by {difference:.2g}.")
        return Exported(keras_file.read_bytes(), exported, weights_sha256(final), probabilities, difference)


def write_onnx(model: keras.Model, path: Path) -> None:
    """Write a model's forward pass as ONNX, for any batch size; needs the TensorFlow backend."""
    signature = [keras.InputSpec(shape=(None, *model.input_shape[1:]), dtype="float32", name="pixels")]
    # A reloaded Sequential has no graph until it is called.
    model(np.zeros((1, *model.input_shape[1:]), np.float32))
    model.export(path, format="onnx", input_signature=signature, verbose=False)


def weights_sha256(model: keras.Model) -> str:
    """A hash of all weights in their order, each as contiguous little-endian bytes; files also hold times and names."""
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(weights.astype(weights.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _write_onnx_elsewhere(keras_file: Path, onnx_file: Path) -> None:
    # The GPU stays the training backend's: TensorFlow would take all of its memory.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "service.train.export", str(keras_file), str(onnx_file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExportFailed(f"The ONNX export (TensorFlow backend, in a process of its own) failed: {reason}")


def _run(model: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        chunks = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([session.run(None, {name: chunk.astype(np.float32)})[0] for chunk in chunks])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ExportFailed(f"onnxruntime cannot run the exported model: {error}") from error


def _difference(probabilities: NDArray[np.float32], model: keras.Sequential, images: NDArray[np.uint8]) -> float:
    trained = model.predict(images, batch_size=BATCH, verbose=0)
    if not np.isfinite(trained).all():
        raise Diverged("The training diverged: the model's predictions are no numbers.")
    return float(np.abs(probabilities - trained).max())


if __name__ == "__main__":
    source, target = (Path(argument) for argument in sys.argv[1:])
    write_onnx(keras.saving.load_model(source, compile=False, safe_mode=True), target)
