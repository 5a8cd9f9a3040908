"""Real workers on a database, and what tests ask of both.

What a supervisor does is the same whatever its children train: most tests let them train without Keras, whose import
takes ten seconds (`benchmarks/stub.py`: a real process, a real training, real checkpoints).
"""

import os
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
from service.store import artifacts, attempts, experiments, queue
from service.store.database import reading, writing
from service.worker.local import LocalEngine
from service.worker.supervisor import Supervisor

DEADLINE = 180
STUB = (sys.executable, str(Path(__file__).resolve().parents[2] / "benchmarks" / "stub.py"))
QUICK: dict[str, Any] = {
    "dataset": "optdigits",
    "model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 16, "activation": "relu"}]},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "epochs": 2,
}


class Observer:
    """What a test asks of the database that workers work on."""

    def __init__(self, database: Engine) -> None:
        self.database = database

    def submit(self, **spec: Any) -> int:
        with writing(self.database) as session:
            return queue.enqueue(session, ExperimentSpec.model_validate(spec)).id

    def ask(self, action: Callable[..., Any], experiment_id: int) -> None:
        with writing(self.database) as session:
            action(session, experiment_id)

    def get(self, experiment_id: int) -> schemas.Experiment:
        with reading(self.database) as session:
            return schemas.Experiment.model_validate(experiments.get(session, experiment_id))

    def events(self, experiment_id: int) -> list[tuple[str, dict[str, Any]]]:
        with reading(self.database) as session:
            return [(event.type, event.data) for event in experiments.events(session, experiment_id)]

    def event_types(self, experiment_id: int) -> list[str]:
        return [name for name, _ in self.events(experiment_id)]

    def outcomes(self, experiment_id: int) -> list[str | None]:
        with reading(self.database) as session:
            return [attempt.outcome for attempt in attempts.of(session, experiment_id)]

    def epochs(self, experiment_id: int) -> list[int]:
        with reading(self.database) as session:
            return [row.epoch for row in experiments.metrics(session, experiment_id)]

    def file(self, experiment_id: int, name: str) -> bytes:
        with reading(self.database) as session:
            return artifacts.get(session, experiment_id, name).content

    def ended(self, experiment_id: int) -> schemas.Experiment:
        self.until(lambda: self.get(experiment_id).state in TERMINAL)
        return self.get(experiment_id)

    def until_state(self, experiment_id: int, state: State) -> None:
        self.until(lambda: self.get(experiment_id).state == state)

    def until(self, condition: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(DEADLINE * 20):
            if condition():
                return
            pause.wait(0.05)
        pytest.fail("what was waited for did not happen")

    def until_epoch(self, experiment_id: int, epoch: int = 1) -> None:
        """Wait until so many epochs of a training that runs are finished."""
        self.until(lambda: epoch in self.epochs(experiment_id) or self.get(experiment_id).state in TERMINAL)
        assert self.get(experiment_id).state == State.RUNNING


class Worker(Observer):
    """A supervisor in a thread."""

    def __init__(self, database: Engine, settings: Settings, engine: LocalEngine | None = None) -> None:
        super().__init__(database)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=Supervisor(database, settings, engine).run, args=(self._stop,))
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class WorkerProcess:
    """`numeral worker` as a process of its own."""

    def __init__(self, database: Engine, data_dir: Path, **settings: str) -> None:
        environment = {
            **os.environ,
            "NUMERAL_DATABASE_URL": database.url.render_as_string(hide_password=False),
            "NUMERAL_DATA_DIR": str(data_dir),
            **{f"NUMERAL_{name.upper()}": value for name, value in settings.items()},
        }
        self.process = psutil.Popen(
            [sys.executable, "-m", "service", "worker"], env=environment, stderr=subprocess.PIPE, text=True
        )

    def children(self) -> list[psutil.Process]:
        return training_processes(self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def terminate(self) -> tuple[int, str]:
        """Ask it to end; its exit status and what it has logged."""
        self.process.terminate()
        _, log = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, log


def training_processes(parent: int | None = None) -> list[psutil.Process]:
    """The children of a process, by default of this one, that train or wait to."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            if "service.worker.child" in child.cmdline() or any("stub" in part for part in child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        cache_dir=tmp_path,
        heartbeat_seconds=0.2,
        poll_seconds=0.05,
        lease_seconds=60,
        checkpoint_seconds=0.5,
        retry_seconds=0.05,
    )


@pytest.fixture
def observer(database: Engine) -> Observer:
    return Observer(database)


@pytest.fixture
def start_worker(database: Engine, settings: Settings) -> Iterator[Callable[..., Worker]]:
    """Starts workers in threads, with settings changed; what is not stopped by the test is stopped after it."""
    started: list[Worker] = []

    def start(keras: bool = False, **changes: Any) -> Worker:
        engine = None if keras else LocalEngine("tensorflow", STUB)
        started.append(Worker(database, settings.model_copy(update=changes), engine))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()
    assert training_processes() == [], "a stopped worker leaves no process behind"


@pytest.fixture
def worker(start_worker: Callable[..., Worker]) -> Worker:
    """Its children train without Keras."""
    return start_worker()


@pytest.fixture
def keras_worker(start_worker: Callable[..., Worker]) -> Worker:
    return start_worker(keras=True)


@pytest.fixture
def start_process(database: Engine, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts `numeral worker` processes; what still runs after the test is killed."""
    started: list[WorkerProcess] = []

    def start(**settings: str) -> WorkerProcess:
        quick = {"heartbeat_seconds": "0.2", "poll_seconds": "0.05", "retry_seconds": "0.05"}
        started.append(WorkerProcess(database, tmp_path, **(quick | settings)))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()


@pytest.fixture(scope="session")
def quick() -> dict[str, Any]:
    """A spec of a training that takes a second, with and without Keras."""
    return QUICK


@pytest.fixture(scope="session")
def endless() -> dict[str, Any]:
    """A spec of a training that no test waits for."""
    return QUICK | {"epochs": 10_000}


@pytest.fixture(scope="session")
def processes() -> Callable[[], list[psutil.Process]]:
    """Asks for the training processes of workers in threads."""
    return training_processes
