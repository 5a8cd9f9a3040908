"""A model in onnxruntime."""

from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from service.errors import ModelRefused
from service.inference.preprocess import SIDE


class Outputs(NamedTuple):
    """What a model says about n images: `(n, 10)` probabilities, and the chance `(n,)` that there is a digit at all,
    None for a model that does not know."""

    probabilities: NDArray[np.float32]
    is_digit: NDArray[np.float32] | None


class ClassifierSession:
    """Runs an exported classifier. May be used from several threads at once, each of which computes in itself.

    Threads of onnxruntime's own would make a batch of few images no faster, and be too many beside other batches.

    Raises:
        ModelRefused: onnxruntime cannot load it, or it is no classifier of 28×28 pixels into ten classes.
    """

    def __init__(self, onnx: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            # The first run allocates; nobody's request should wait for that.
            shape = self.run(np.zeros((1, SIDE, SIDE, 1), np.float32)).probabilities.shape
        except Exception as error:  # onnxruntime's exceptions have no common base of their own
            raise ModelRefused(f"onnxruntime cannot run the model: {str(error)[:300]}") from error
        if shape != (1, 10):
            raise ModelRefused(f"The model's first output is {shape} for one image, not (1, 10).")

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """`(n, 28, 28, 1)` pixels in 0–255 to what the model says about them."""
        probabilities, *others = self._session.run(None, {self._input: batch})
        return Outputs(probabilities, others[0].reshape(-1) if others else None)
