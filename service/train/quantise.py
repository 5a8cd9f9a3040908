"""An exported model with 8-bit integers in place of its numbers, where that costs next to nothing.

Static quantisation: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference". Weights are signed and have a scale for each channel; activations are unsigned and
have the range that they took on training images. Softmax and the network behind `is_digit` stay in float32.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from service.data.dataset import Images, Split
from service.train.calibrate import accuracy
from service.train.export import Exported, Outputs, outputs_of
from service.train.graph import IS_DIGIT, PIXELS
from service.train.trainer import as_input

MOST_LOST = 0.001
"""Largest fall of the test accuracy that a quantised model is kept with: 0.1 points."""

CALIBRATION_IMAGES = 500
BATCH = 100


def kept(exported: Exported, images: Images, test: Split) -> tuple[bytes, Outputs] | None:
    """The exported model in int8 with what it says about the test set; None, and a line in the log, if it is not kept.

    Args:
        exported: the float32 model.
        images: training images, `(n, 28, 28)`: the activations' ranges are taken from the first of them.
        test: the test set.
    """
    try:
        model = quantise(exported.onnx, images[:CALIBRATION_IMAGES])
        outputs = outputs_of(model, as_input(test))
    except Exception as error:  # onnxruntime raises all sorts of things; the experiment has its float32 model already
        _log(f"There will be no int8 model: {type(error).__name__}: {error}")
        return None
    before, after = accuracy(exported.outputs, test.labels), accuracy(outputs, test.labels)
    if before - after > MOST_LOST:
        _log(f"The int8 model is not kept: its test accuracy is {after:.4f}, the float32 model's {before:.4f}.")
        return None
    return model, outputs


def quantise(model: bytes, images: Images) -> bytes:
    """An ONNX model of `service.train.graph` in int8, its activations' ranges taken from images."""
    with tempfile.TemporaryDirectory(prefix="numeral-int8-") as folder:
        source, prepared, target = (Path(folder, name) for name in ("source.onnx", "prepared.onnx", "int8.onnx"))
        source.write_bytes(model)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        float32 = [node.name for node in onnx.load(prepared).graph.node if _stays(node)]
        quantization.quantize_static(
            prepared,
            target,
            _Images(images),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=float32,
        )
        return target.read_bytes()


def _stays(node: onnx.NodeProto) -> bool:
    return node.name.startswith(IS_DIGIT) or node.op_type == "Softmax"


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    """Training images, a batch at a time."""

    def __init__(self, images: Images) -> None:
        self._batches = self._all(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._batches, None)

    @staticmethod
    def _all(images: Images) -> Iterator[dict[str, NDArray[np.float32]]]:
        for start in range(0, len(images), BATCH):
            yield {PIXELS: images[start : start + BATCH, ..., np.newaxis].astype(np.float32)}


def _log(line: str) -> None:
    print(line)  # noqa: T201  (the experiment's log)
