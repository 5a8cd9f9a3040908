"""onnxruntime without a server: so many threads, each with a session of one thread, classify the same batch again.

    python benchmarks/peers/raw.py model.onnx --threads 2 --batch 32 --seconds 5

Prints images a second. It is the limit of what a server can reach with as many threads.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime

WARM_RUNS = 10


def opened(model: str) -> onnxruntime.InferenceSession:
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def classified(session: onnxruntime.InferenceSession, batch: np.ndarray, seconds: float) -> float:
    """Images a second."""
    feed = {session.get_inputs()[0].name: batch}
    for _ in range(WARM_RUNS):
        session.run(None, feed)
    runs, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        session.run(None, feed)
        runs += 1
    return runs * len(batch) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    arguments = parser.parse_args()
    batch = np.random.default_rng(0).integers(0, 256, (arguments.batch, 28, 28, 1)).astype(np.float32)
    sessions = [opened(arguments.model) for _ in range(arguments.threads)]
    with ThreadPoolExecutor(arguments.threads) as threads:
        rates = threads.map(lambda session: classified(session, batch, arguments.seconds), sessions)
        print(sum(rates))


if __name__ == "__main__":
    main()
