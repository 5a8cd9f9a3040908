"""A loaded model: onnxruntime behind two lines."""

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.inference.decode import Pixels

BATCH = 128
"""Most images in one call of onnxruntime: it bounds the memory that a large request takes."""


class ClassifierSession:
    """Runs an exported classifier. May be used from several threads at once."""

    def __init__(self, onnx: bytes, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        # The first run allocates; nobody's request should wait for that.
        self.probabilities(np.zeros((1, 28, 28), np.float32))

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """`(n, 28, 28)` pixels in 0–255 to `(n, 10)` probabilities."""
        batches = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
        return np.concatenate([self._session.run(None, {self._input: batch[..., None]})[0] for batch in batches])
