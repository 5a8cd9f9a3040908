"""The supervisor with real training processes: whatever happens to them, the database tells the truth."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, text

from service.states import State
from service.store import control, experiments, workers
from service.store.database import reading, writing

Spec = dict[str, Any]
Processes = Callable[[], list[psutil.Process]]


def test_an_experiment_is_trained_and_all_of_it_stored(keras_worker: Any, quick: Spec) -> None:
    worker = keras_worker
    experiment_id = worker.submit(**quick)
    ended = worker.ended(experiment_id)
    assert ended.state == State.SUCCEEDED, ended.error
    assert ended.result is not None
    assert ended.result.test_accuracy > 0.5
    assert ended.progress.fraction == 1.0
    assert ended.attempt == 1
    assert worker.epochs(experiment_id) == [1, 2]
    types = worker.event_types(experiment_id)
    assert types == ["queued", "running", "started", "epoch", "epoch", "succeeded"]
    assert worker.outcomes(experiment_id) == ["succeeded"]
    for name in ("manifest.json", "model.keras", "model.onnx"):
        assert worker.file(experiment_id, name)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_goes_wrong_is_told_apart(
    keras_worker: Any, quick: Spec, endless: Spec, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker, one after the other: each failure has its code, keeps its metrics and log, and harms no other."""
    worker = keras_worker
    # No way out of the machine, so that the download fails at once.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")

    killed = worker.submit(**endless, max_attempts=1)
    worker.until_epoch(killed)
    for process in processes():
        process.send_signal(signal.SIGKILL)
    ended = worker.ended(killed)
    assert ended.state == State.FAILED
    assert ended.error is not None
    assert ended.error.code == "process_killed"
    assert "SIGKILL" in ended.error.message
    assert worker.epochs(killed), "metrics that were written stay"
    worker.file(killed, "log.txt")

    diverging = worker.submit(
        **quick
        | {
            "model": {"layers": [{"type": "flatten"}, *[{"type": "dense", "units": 16}] * 2]},
            "optimizer": {"name": "sgd", "learning_rate": 1000.0},
            "rescale": 1.0,
        }
    )
    ended = worker.ended(diverging)
    assert (ended.state, ended.error and ended.error.code) == (State.FAILED, "diverged")
    assert worker.outcomes(diverging) == ["diverged"], "what only would happen again is not tried again"

    missing = worker.submit(preset="baseline")
    ended = worker.ended(missing)
    assert ended.error is not None
    assert ended.error.code == "dataset_unavailable"
    assert "mnist.npz" in ended.error.message

    assert worker.ended(worker.submit(**quick)).state == State.SUCCEEDED


def test_a_running_experiment_is_cancelled(worker: Any, endless: Spec) -> None:
    experiment_id = worker.submit(**endless)
    worker.until_epoch(experiment_id)
    worker.ask(control.cancel, experiment_id)
    ended = worker.ended(experiment_id)
    assert ended.state == State.CANCELLED
    assert ended.error is None
    assert worker.epochs(experiment_id)
    types = worker.event_types(experiment_id)
    # An epoch may still end between the two.
    assert "cancel_requested" in types
    assert types[-1] == "cancelled"


def test_a_worker_that_lost_its_lease_writes_nothing_more(
    worker: Any, quick: Spec, endless: Spec, processes: Processes
) -> None:
    experiment_id = worker.submit(**endless)
    worker.until_epoch(experiment_id)
    victims = {process.pid for process in processes()}
    with writing(worker.database) as session:
        # As if another worker had found the lease run out, taken the experiment and finished it.
        row = experiments.get(session, experiment_id)
        row.lease_token = "another worker's"
    before = len(worker.event_types(experiment_id))
    worker.until(lambda: len(victims & {process.pid for process in processes()}) < len(victims))
    assert len(worker.event_types(experiment_id)) == before
    assert worker.get(experiment_id).state == State.RUNNING
    # It goes on with other work.
    assert worker.ended(worker.submit(**quick)).state == State.SUCCEEDED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_training_ends_with_its_supervisor(
    start_process: Callable[..., Any], start_worker: Callable[..., Any], observer: Any, endless: Spec
) -> None:
    """A worker process that is killed leaves no training behind, and another worker goes on from the checkpoint."""
    experiment_id = observer.submit(**endless)
    killed = start_process(lease_seconds="2", checkpoint_seconds="0.1")
    observer.until_epoch(experiment_id, 3)
    children = killed.children()
    killed.kill()
    psutil.wait_procs(children, timeout=30)
    assert not any(child.is_running() for child in children)

    second = start_worker(keras=True)
    observer.until(lambda: observer.event_types(experiment_id).count("started") == 2)
    assert second.get(experiment_id).attempt == 2
    assert observer.outcomes(experiment_id) == ["worker_lost", None]
    assert [data["epoch"] > 0 for name, data in observer.events(experiment_id) if name == "started"] == [False, True]


def test_what_cannot_be_stored_fails_its_experiment_and_no_other(
    worker: Any, quick: Spec, endless: Spec, database: Engine
) -> None:
    experiment_id = worker.submit(**endless)
    worker.until_epoch(experiment_id)
    with writing(database) as session:
        # No constraint of the tables lets the next epoch be written.
        row = experiments.locked(session, experiment_id)
        row.epochs = row.epoch
    ended = worker.ended(experiment_id)
    assert (ended.state, ended.error and ended.error.code) == (State.FAILED, "internal_error")
    assert worker.ended(worker.submit(**quick)).state == State.SUCCEEDED


def test_a_training_that_kills_its_process_fails_in_the_end_and_keeps_nobody_waiting(worker: Any, quick: Spec) -> None:
    deadly = worker.submit(**quick, name="suicide", priority=1)
    others = [worker.submit(**quick) for _ in range(3)]
    ended = worker.ended(deadly)
    assert (ended.state, ended.attempt) == (State.FAILED, 3)
    assert worker.outcomes(deadly) == ["process_killed"] * 3
    assert ended.error is not None
    assert ended.error.code == "process_killed"
    assert ended.error.message.startswith("Given up after 3 attempts. Attempt 1: process_killed.")
    assert [worker.ended(other).state for other in others] == [State.SUCCEEDED] * 3


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_worker_whose_processes_do_not_start_ends_and_fails_nothing(
    database: Engine, observer: Any, quick: Spec, tmp_path: Path
) -> None:
    broken = tmp_path / "broken" / "keras"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('no driver on this machine')")
    experiment_id = observer.submit(**quick)
    environment = {
        **os.environ,
        "PYTHONPATH": str(broken.parent),
        "NUMERAL_DATABASE_URL": database.url.render_as_string(hide_password=False),
    }
    done = subprocess.run(
        [sys.executable, "-m", "service", "worker"], env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("numeral: Training processes do not start on this machine")
    assert "no driver on this machine" in done.stderr.splitlines()[-1]
    given_back = observer.get(experiment_id)
    assert (given_back.state, given_back.attempt) == (State.QUEUED, 0)
    assert set(observer.outcomes(experiment_id)) == {"process_not_started"}


def test_an_idle_worker_stops_at_once_however_rarely_it_looks(
    start_worker: Callable[..., Any], processes: Processes
) -> None:
    worker = start_worker(poll_seconds=3600.0)
    worker.until(lambda: bool(processes()))
    worker.stop()
    assert processes() == []


def test_a_worker_is_listed_with_what_it_trains_until_it_ends(
    start_worker: Callable[..., Any], database: Engine, endless: Spec
) -> None:
    def listed() -> list[Any]:
        with reading(database) as session:
            return workers.listing(session, 60)

    worker = start_worker(slots=2)
    experiment_id = worker.submit(**endless)
    worker.until_epoch(experiment_id)
    [found] = listed()
    assert (found.pid, found.slots, found.alive, found.experiments) == (os.getpid(), 2, True, [experiment_id])
    assert found.name == worker.get(experiment_id).worker
    worker.stop()
    assert listed() == []


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_no_transaction_is_open_while_a_training_runs(worker: Any, database: Engine, endless: Spec) -> None:
    experiment_id = worker.submit(**endless | {"batch_size": 1})
    worker.until(lambda: worker.get(experiment_id).progress.fraction > 0)
    oldest = text(
        "SELECT max(extract(epoch FROM clock_timestamp() - xact_start)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    )
    # Looked at often enough to meet every kind of write, and none of them takes long.
    for _ in range(50):
        with database.connect() as connection:
            assert (connection.execute(oldest).scalar() or 0) < 1.0
