"""The supervisor with real training processes: whatever happens to them, the database tells the truth."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine

from service import schemas
from service.settings import Settings
from service.specs.experiment import ExperimentSpec
from service.states import TERMINAL, State
from service.store import artifacts, experiments, queue
from service.store.database import reading, writing
from service.worker.supervisor import Supervisor

DEADLINE = 180
QUICK: dict[str, Any] = {
    "dataset": "optdigits",
    "model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 16, "activation": "relu"}]},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "epochs": 2,
}
DIVERGING = QUICK | {
    "model": {"layers": [{"type": "flatten"}, *[{"type": "dense", "units": 16}] * 2]},
    "optimizer": {"name": "sgd", "learning_rate": 1000.0},
    "rescale": 1.0,
}
ENDLESS = QUICK | {"epochs": 10_000}


class Observer:
    """What a test asks of the database that workers work on."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def submit(self, **spec: Any) -> int:
        with writing(self.database) as session:
            return queue.enqueue(session, ExperimentSpec.model_validate(spec)).id

    def get(self, experiment_id: int) -> schemas.Experiment:
        with reading(self.database) as session:
            return schemas.Experiment.model_validate(experiments.get(session, experiment_id))

    def event_types(self, experiment_id: int) -> list[str]:
        with reading(self.database) as session:
            return [event.type for event in experiments.events(session, experiment_id)]

    def epochs(self, experiment_id: int) -> list[int]:
        with reading(self.database) as session:
            return [row.epoch for row in experiments.metrics(session, experiment_id)]

    def file(self, experiment_id: int, name: str) -> bytes:
        with reading(self.database) as session:
            return artifacts.get(session, experiment_id, name).content

    def ended(self, experiment_id: int) -> schemas.Experiment:
        self.until(lambda: self.get(experiment_id).state in TERMINAL)
        return self.get(experiment_id)

    def until(self, condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(DEADLINE * 20):
            if condition():
                return
            pause.wait(0.05)
        pytest.fail("what was waited for did not happen")

    def until_epoch(self, experiment_id: int) -> None:
        self.until(lambda: bool(self.epochs(experiment_id)) or self.get(experiment_id).state in TERMINAL)
        assert self.get(experiment_id).state == State.RUNNING


class Worker(Observer):
    """A supervisor in a thread."""

    def __init__(self, database: Engine, settings: Settings) -> None:
        super().__init__(database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=Supervisor(database, settings).run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def training_processes() -> list[psutil.Process]:
    """The children of this process that train or wait to."""
    found = []
    for child in psutil.Process().children():
        try:
            if "service.worker.child" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, cache_dir=tmp_path, heartbeat_seconds=0.2, poll_seconds=0.05, lease_seconds=60)


@pytest.fixture
def worker(database: Engine, settings: Settings) -> Iterator[Worker]:
    running = Worker(database, settings)
    yield running
    running.stop()
    assert training_processes() == [], "a stopped worker leaves no process behind"


def test_an_experiment_is_trained_and_all_of_it_stored(worker: Worker) -> None:
    experiment_id = worker.submit(**QUICK)
    ended = worker.ended(experiment_id)
    assert ended.state == State.SUCCEEDED, ended.error
    assert ended.result is not None
    assert ended.result.test_accuracy > 0.5
    assert ended.progress.fraction == 1.0
    assert ended.attempt == 1
    assert worker.epochs(experiment_id) == [1, 2]
    types = worker.event_types(experiment_id)
    assert types == ["queued", "running", "started", "epoch", "epoch", "succeeded"]
    for name in ("manifest.json", "model.keras", "model.onnx"):
        assert worker.file(experiment_id, name)


def test_what_goes_wrong_is_told_apart(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker, one after the other: each failure has its code, keeps its metrics and log, and harms no other."""
    # No way out of the machine, so that the download fails at once.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    killed = worker.submit(**ENDLESS)
    worker.until_epoch(killed)
    for process in training_processes():
        process.send_signal(signal.SIGKILL)
    ended = worker.ended(killed)
    assert ended.state == State.FAILED
    assert ended.error is not None
    assert ended.error.code == "process_killed"
    assert "SIGKILL" in ended.error.message
    assert worker.epochs(killed), "metrics that were written stay"
    worker.file(killed, "log.txt")

    diverging = worker.submit(**DIVERGING)
    ended = worker.ended(diverging)
    assert (ended.state, ended.error and ended.error.code) == (State.FAILED, "diverged")

    missing = worker.submit(preset="baseline")
    ended = worker.ended(missing)
    assert ended.error is not None
    assert ended.error.code == "dataset_unavailable"
    assert "mnist.npz" in ended.error.message

    assert worker.ended(worker.submit(**QUICK)).state == State.SUCCEEDED


def test_a_running_experiment_is_cancelled(worker: Worker) -> None:
    experiment_id = worker.submit(**ENDLESS)
    worker.until_epoch(experiment_id)
    with writing(worker.database) as session:
        queue.cancel(session, experiment_id)
    ended = worker.ended(experiment_id)
    assert ended.state == State.CANCELLED
    assert ended.error is None
    assert worker.epochs(experiment_id)
    types = worker.event_types(experiment_id)
    # An epoch may still end between the two.
    assert "cancel_requested" in types
    assert types[-1] == "cancelled"


def test_a_stopped_worker_gives_its_experiment_back(database: Engine, settings: Settings) -> None:
    worker = Worker(database, settings)
    try:
        experiment_id = worker.submit(**ENDLESS)
        worker.until_epoch(experiment_id)
    finally:
        worker.stop()
    given_back = worker.get(experiment_id)
    assert given_back.state == State.QUEUED
    assert given_back.attempt == 0
    assert given_back.worker is None
    assert training_processes() == []


def test_a_worker_that_lost_its_lease_writes_nothing_more(worker: Worker) -> None:
    experiment_id = worker.submit(**ENDLESS)
    worker.until_epoch(experiment_id)
    victims = {process.pid for process in training_processes()}
    with writing(worker.database) as session:
        # As if another worker had found the lease run out, taken the experiment and finished it.
        row = experiments.get(session, experiment_id)
        row.lease_token = "another worker's"
    before = len(worker.event_types(experiment_id))
    worker.until(lambda: len(victims & {process.pid for process in training_processes()}) < len(victims))
    assert len(worker.event_types(experiment_id)) == before
    assert worker.get(experiment_id).state == State.RUNNING
    # It goes on with other work.
    assert worker.ended(worker.submit(**QUICK)).state == State.SUCCEEDED


def test_training_ends_with_its_supervisor(database: Engine, settings: Settings, tmp_path: Path) -> None:
    """A worker process that is killed leaves no training behind, and its experiment can be claimed again."""
    environment = {
        **os.environ,
        "NUMERAL_DATABASE_URL": database.url.render_as_string(hide_password=False),
        "NUMERAL_DATA_DIR": str(tmp_path),
        "NUMERAL_LEASE_SECONDS": "2",
        "NUMERAL_HEARTBEAT_SECONDS": "0.2",
    }
    with writing(database) as session:
        experiment_id = queue.enqueue(session, ExperimentSpec.model_validate(ENDLESS)).id
    process = subprocess.Popen([sys.executable, "-m", "service", "worker"], env=environment, stderr=subprocess.DEVNULL)
    observer = Observer(database)
    observer.until_epoch(experiment_id)
    children = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)
    second = Worker(database, settings)
    try:
        observer.until(lambda: observer.get(experiment_id).attempt == 2)
        assert "queued" in observer.event_types(experiment_id)[1:]
    finally:
        second.stop()


def test_a_worker_whose_processes_do_not_start_ends_and_fails_nothing(database: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "keras"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('no driver on this machine')")
    observer = Observer(database)
    experiment_id = observer.submit(**QUICK)
    environment = {
        **os.environ,
        "PYTHONPATH": str(broken.parent),
        "NUMERAL_DATABASE_URL": database.url.render_as_string(hide_password=False),
    }
    done = subprocess.run(
        [sys.executable, "-m", "service", "worker"], env=environment, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("numeral: Training processes do not start on this machine")
    assert "no driver on this machine" in done.stderr.splitlines()[-1]
    given_back = observer.get(experiment_id)
    assert (given_back.state, given_back.attempt) == (State.QUEUED, 0)


def test_an_idle_worker_stops_at_once_however_rarely_it_looks(database: Engine, settings: Settings) -> None:
    worker = Worker(database, settings.model_copy(update={"poll_seconds": 3600.0}))
    worker.until(lambda: bool(training_processes()))
    worker.stop()
    assert training_processes() == []
