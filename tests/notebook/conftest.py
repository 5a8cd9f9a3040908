"""A server, and a worker that is played by what a worker writes: what a run comes to follows from its spec."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
from sqlalchemy import Engine

from service import answers, schemas
from service.store import queue, results
from service.store.database import writing
from service.store.leases import Lease
from tests.api.conftest import REPORT, api, brightest_band_onnx, run, settings

__all__ = ["api", "run", "settings"]

IMAGES = 1000
LOOK_SECONDS = 0.01

QUICK = ("--dataset", "optdigits", "--limit", "100", "--epochs", "2")
"""Options of a quick look."""

Fails = Callable[[Lease], str | None]
Work = Callable[..., AbstractContextManager[None]]


def right(lease: Lease) -> int:
    """How many of the images a run gets right."""
    spec = lease.spec
    kinds = [layer.type for layer in spec.model.layers]
    if (spec.batch_size, spec.optimizer.name, spec.optimizer.learning_rate) == (64, "adam", 0.01):
        return 100
    return (
        900
        + 2 * spec.seed
        + 30 * ("batch_normalization" in kinds)
        + 5 * kinds.count("conv2d")
        + 4 * (spec.validation.on == "split" and spec.optimizer.name == "adagrad")
        - 200 * (spec.rescale < 1 / 256)
    )


def finish(database: Engine, lease: Lease) -> None:
    """Train for all of the epochs, evaluate and export."""
    count = right(lease)
    outputs = np.eye(10, dtype=np.float32)[np.where(np.arange(IMAGES) < count, 0, 1)]
    said = answers.of(outputs, np.zeros((IMAGES, 28, 28), np.uint8), np.zeros(IMAGES, np.uint8))
    files = {"model.onnx": brightest_band_onnx(), answers.ARTIFACT: answers.pack(said)}
    matrix = [[0] * 10 for _ in range(10)]
    matrix[0] = [count, IMAGES - count] + [0] * 8
    report = REPORT.model_copy(update={"accuracy": count / IMAGES, "confusion_matrix": matrix})
    with writing(database) as session:
        results.start(session, lease, "cpu:0", 7850)
        for epoch in range(1, lease.spec.epochs + 1):
            accuracy = count / IMAGES - 0.01 * (lease.spec.epochs - epoch)
            metrics = schemas.EpochMetrics(
                epoch=epoch,
                train_loss=0.5,
                train_accuracy=accuracy,
                val_loss=1 - accuracy,
                val_accuracy=accuracy,
                seconds=1.0,
                learning_rate=1.0,
            )
            results.epoch(session, lease, metrics)
        result = schemas.Result(
            test_loss=0.1, test_accuracy=count / IMAGES, parameters=7850, train_seconds=12.5, images_per_second=100.0
        )
        results.succeed(session, lease, result, report, files, b"")


@pytest.fixture
def work(database: Engine) -> Work:
    """Trains in a thread whatever comes into the queue, while the context is open."""

    @contextmanager
    def working(fails: Fails = lambda lease: None) -> Iterator[None]:
        stop = threading.Event()

        def train() -> None:
            while not stop.is_set():
                with writing(database) as session:
                    lease = queue.claim(session, "worker-1", 60)
                if lease is None:
                    stop.wait(LOOK_SECONDS)
                elif why := fails(lease):
                    with writing(database) as session:
                        results.fail(session, lease, "diverged", why, b"")
                else:
                    finish(database, lease)

        thread = threading.Thread(target=train)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    return working
