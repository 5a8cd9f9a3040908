"""LitServe with batching on.

python benchmarks/peers/lit.py model.onnx --port 8000 --workers 2
"""

import argparse
from typing import Any

import litserve
import numpy as np
import onnxruntime

# Of the batch sizes and waits that were tried, the quickest.
BATCH = 64
WAIT_SECONDS = 0.003


class Digits(litserve.LitAPI):
    """Takes `{"images": [28×28 numbers]}` with one image; LitServe puts the requests together."""

    def __init__(self, model: str) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WAIT_SECONDS)
        self._model = model

    def setup(self, device: str) -> None:
        """Load the model; once in each worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(self._model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """The pixels `(28, 28, 1)` of a request."""
        return np.asarray(request["images"][0], np.float32)[..., np.newaxis]

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        """One array for those who came together."""
        return np.stack(inputs)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Probabilities `(n, 10)`."""
        return self._session.run(None, {self._input: batch})[0]

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        """Each request's part."""
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """The answer's JSON."""
        return {"digits": [int(output.argmax())], "probabilities": [output.tolist()]}


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    arguments = parser.parse_args()
    server = litserve.LitServer(Digits(arguments.model), accelerator="cpu", workers_per_device=arguments.workers)
    # Without a line for each request; there are as many HTTP processes as workers by default.
    server.run("127.0.0.1", arguments.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
