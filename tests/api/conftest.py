"""A real server over a migrated database, and models made without training."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import onnx
import pytest
import uvicorn
from onnx import TensorProto, helper, numpy_helper
from sqlalchemy import Engine

from service import schemas
from service.api.app import create_app
from service.data.catalogue import CATALOGUE
from service.settings import Settings
from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import fingerprint
from service.states import State
from service.store import control, queue, results
from service.store.database import writing
from service.store.leases import Lease


@pytest.fixture
def settings(database: Engine, tmp_path: Path) -> Settings:
    url = database.url.render_as_string(hide_password=False)
    return Settings(database_url=url, data_dir=tmp_path, cache_dir=tmp_path, poll_seconds=0.02)


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of the API, served by uvicorn on a free port."""
    config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def brightest_band_onnx(turn: int = 0) -> bytes:
    """A model that sees digit `d + turn` (of ten) in an image whose brightest band of rows is the `d`-th of ten."""
    weights = np.zeros((784, 10), np.float32)
    for pixel in range(784):
        weights[pixel, (min(pixel // 78, 9) + turn) % 10] = 0.001
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["sums"]),
            helper.make_node("Softmax", ["sums"], ["probabilities"]),
        ],
        "bands",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [None, 28, 28, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 10])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def band(digit: int) -> np.ndarray:
    """An image that the model above takes for `digit`."""
    image = np.zeros(784, np.uint8)
    image[digit * 78 : (digit + 1) * 78] = 255
    return image.reshape(28, 28)


REPORT = schemas.Evaluation(
    loss=0.1,
    accuracy=1.0,
    labels=list(range(10)),
    confusion_matrix=np.eye(10, dtype=int).tolist(),
    per_class=[schemas.ClassReport(label=label, precision=1.0, recall=1.0, f1=1.0, support=1) for label in range(10)],
)
"""What was stored of an evaluation before there was a calibration error."""


def succeed(
    database: Engine,
    name: str = "bands",
    *,
    report: schemas.Evaluation = REPORT,
    files: Mapping[str, bytes] | None = None,
    watched: Sequence[float | None] = (None, None),
    **given: object,
) -> int:
    """An experiment that a worker has taken through all of its states.

    Args:
        database: where to.
        name: the experiment's.
        report: its evaluation.
        files: what it has beside the files of a model.
        watched: the validation accuracy of its two epochs.
        given: fields of its spec.
    """
    known = {"preset": "baseline", "name": name, "tags": ["made"], "epochs": 2, "priority": 1000}
    spec = ExperimentSpec.model_validate(known | given)
    with writing(database) as session:
        queue.enqueue(session, spec)
    with writing(database) as session:
        lease = queue.claim(session, "worker-1", 60)
        assert lease is not None
        identity = fingerprint(lease.spec, CATALOGUE[lease.spec.dataset].sha256)
        results.start(session, lease, "cpu:0", 7850, fingerprint=identity)
        for epoch, val_accuracy in enumerate(watched, start=1):
            metrics = schemas.EpochMetrics(
                epoch=epoch,
                train_loss=1 / epoch,
                train_accuracy=0.5,
                val_loss=None,
                val_accuracy=val_accuracy,
                seconds=1.0,
                learning_rate=1.0,
            )
            results.epoch(session, lease, metrics)
        result = schemas.Result(
            test_loss=0.1, test_accuracy=1.0, parameters=7850, train_seconds=2.0, images_per_second=100.0
        )
        made = {"model.onnx": brightest_band_onnx(), "model.keras": b"keras", "manifest.json": b"{}"}
        results.succeed(session, lease, result, report, made | dict(files or {}), b"all went well\n")
    return lease.experiment_id


@pytest.fixture
def trained(database: Engine) -> int:
    """The id of a succeeded experiment, whose model `production` means."""
    return succeed(database)


@pytest.fixture
def make_model(database: Engine) -> Callable[[str], int]:
    """Makes further succeeded experiments."""
    return lambda name: succeed(database, name)


@pytest.fixture
def enqueue(database: Engine) -> Callable[..., int]:
    """Puts an experiment into the queue; returns its id."""

    def put(**given: object) -> int:
        with writing(database) as session:
            return queue.enqueue(session, ExperimentSpec.model_validate({"preset": "baseline"} | given)).id

    return put


@pytest.fixture
def claim(database: Engine) -> Callable[[], Lease]:
    """Lets a worker take what is best in the queue."""

    def take() -> Lease:
        with writing(database) as session:
            lease = queue.claim(session, "worker-1", 60)
        assert lease is not None
        return lease

    return take


@pytest.fixture
def bring(database: Engine, enqueue: Callable[..., int], claim: Callable[[], Lease]) -> Callable[[State], int]:
    """Makes an experiment and brings it into a state."""

    def bring(state: State) -> int:
        if state == State.SUCCEEDED:
            return succeed(database)
        claimed = state in (State.RUNNING, State.FAILED)
        # Before whatever else may be queued.
        experiment_id = enqueue(priority=1000 if claimed else 0)
        if claimed:
            lease = claim()
            if state == State.FAILED:
                with writing(database) as session:
                    results.fail(session, lease, "diverged", "The loss became NaN.", b"")
        elif state in (State.PAUSED, State.CANCELLED):
            with writing(database) as session:
                (control.pause if state == State.PAUSED else control.cancel)(session, experiment_id)
        return experiment_id

    return bring


@pytest.fixture
def bands() -> list[np.ndarray]:
    """One image for each digit, as the made model sees them."""
    return [band(digit) for digit in range(10)]


class Done(NamedTuple):
    """What a command printed and how it ended."""

    status: int
    out: str
    error: str


Run = Callable[..., Done]


@pytest.fixture
def run(api: httpx.Client, tmp_path: Path) -> Run:
    """Runs a command in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    environment = {**os.environ, "COLUMNS": "140", "NUMERAL_SERVER": str(api.base_url)}

    def run(*arguments: object, stdin: bytes = b"") -> Done:
        command = [sys.executable, "-m", "service", *map(str, arguments)]
        # The package is found although the folder is another one.
        paths = {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment | paths, cwd=folder)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def refused(done: Done, text: str) -> None:
    assert done.status == 1
    assert done.out == ""
    assert done.error.startswith("numeral: ")
    assert text in done.error
    assert len(done.error.splitlines()) == 1


def said(done: Done) -> str:
    assert (done.status, done.error) == (0, ""), done.error
    return done.out
