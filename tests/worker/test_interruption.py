"""Trainings that are interrupted on purpose, and go on later as if nothing had been."""

import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from service.states import State
from service.store import control

Spec = dict[str, Any]


def resumed_at(observer: Any, experiment_id: int) -> list[int]:
    """The finished epochs that each attempt began with."""
    return [data["epoch"] for name, data in observer.events(experiment_id) if name == "started"]


def test_a_stopped_worker_gives_its_experiment_back_with_a_checkpoint(
    start_worker: Callable[..., Any], observer: Any, endless: Spec, processes: Callable[[], list[Any]]
) -> None:
    first = start_worker(checkpoint_seconds=3600.0)
    experiment_id = first.submit(**endless)
    first.until_epoch(experiment_id, 2)
    first.stop()
    given_back = observer.get(experiment_id)
    assert (given_back.state, given_back.attempt, given_back.worker) == (State.QUEUED, 0, None)
    assert given_back.progress.epoch >= 2
    assert observer.outcomes(experiment_id) == ["worker_shutdown"]
    assert processes() == []

    start_worker()
    observer.until(lambda: len(resumed_at(observer, experiment_id)) == 2)
    assert resumed_at(observer, experiment_id) == [0, given_back.progress.epoch]
    assert observer.get(experiment_id).attempt == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_worker_that_is_told_to_end_exits_with_status_0_after_a_checkpoint(
    start_process: Callable[..., Any], observer: Any, endless: Spec
) -> None:
    experiment_id = observer.submit(**endless)
    worker = start_process()
    observer.until_epoch(experiment_id)
    status, log = worker.terminate()
    assert status == 0, log
    assert "Traceback" not in log
    given_back = observer.get(experiment_id)
    assert (given_back.state, given_back.attempt) == (State.QUEUED, 0)
    assert given_back.progress.epoch >= 1


def test_a_signal_to_all_processes_of_a_service_is_the_worker_s_business_alone(
    start_worker: Callable[..., Any], observer: Any, endless: Spec, processes: Callable[[], list[psutil.Process]]
) -> None:
    """As systemd and Slurm send it: to the worker and to its trainings at once."""
    worker = start_worker()
    experiment_id = worker.submit(**endless, name="endless", max_attempts=1)
    worker.until(lambda: "started" in worker.event_types(experiment_id))
    for name in (signal.SIGTERM, signal.SIGINT):
        for process in processes():
            process.send_signal(name)
    worker.stop()
    assert observer.get(experiment_id).state == State.QUEUED
    assert observer.outcomes(experiment_id) == ["worker_shutdown"]


def test_a_training_that_does_not_come_to_an_end_in_time_is_given_back_without_what_it_did_last(
    start_worker: Callable[..., Any], observer: Any, endless: Spec
) -> None:
    worker = start_worker(grace_seconds=0.0)
    experiment_id = worker.submit(**endless, name="endless")
    worker.until(lambda: "started" in worker.event_types(experiment_id))
    worker.stop()
    given_back = observer.get(experiment_id)
    assert (given_back.state, given_back.attempt, given_back.progress.epoch) == (State.QUEUED, 0, 0)


def test_a_paused_training_goes_on_where_it_was(worker: Any, quick: Spec) -> None:
    experiment_id = worker.submit(**quick | {"epochs": 300})
    worker.until_epoch(experiment_id, 2)
    worker.ask(control.pause, experiment_id)
    worker.until_state(experiment_id, State.PAUSED)
    paused = worker.get(experiment_id)
    assert (paused.attempt, paused.worker, paused.pause_requested) == (0, None, False)
    assert paused.progress.epoch >= 2

    # It is out of the way of others.
    assert worker.ended(worker.submit(**quick)).state == State.SUCCEEDED
    worker.ask(control.resume, experiment_id)
    assert worker.ended(experiment_id).state == State.SUCCEEDED
    assert resumed_at(worker, experiment_id) == [0, paused.progress.epoch]
    assert worker.epochs(experiment_id) == list(range(1, 301))
    epochs = [data["epoch"] for name, data in worker.events(experiment_id) if name == "epoch"]
    assert epochs == list(range(1, 301)), "no epoch was trained twice"
    assert worker.outcomes(experiment_id) == ["paused", "succeeded"]


def test_a_paused_training_can_be_cancelled_and_then_begun_anew(worker: Any, endless: Spec) -> None:
    experiment_id = worker.submit(**endless)
    worker.until_epoch(experiment_id)
    worker.ask(control.pause, experiment_id)
    worker.until_state(experiment_id, State.PAUSED)
    worker.ask(control.cancel, experiment_id)
    assert worker.get(experiment_id).state == State.CANCELLED
    worker.ask(control.retry, experiment_id)
    worker.until(lambda: len(resumed_at(worker, experiment_id)) == 2)
    assert resumed_at(worker, experiment_id) == [0, 0]
    worker.ask(control.cancel, experiment_id)
    worker.ended(experiment_id)
