"""A training that is killed again and again comes to exactly the same model as one that is left alone."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from service.states import State
from service.store import experiments
from service.store.database import reading

EPOCHS = 4
BASELINE: dict[str, Any] = {
    "preset": "baseline",
    "train_limit": 2000,
    "epochs": EPOCHS,
    # Validating on a part of the 2,000 images: on all of the 10,000 test images it would take longer than training.
    "validation": {"on": "split", "fraction": 0.1},
    "max_attempts": EPOCHS + 1,
}


def manifest(observer: Any, experiment_id: int) -> dict[str, Any]:
    return json.loads(observer.file(experiment_id, "manifest.json"))


def measured(observer: Any, experiment_id: int) -> list[tuple[float | None, ...]]:
    """All of the epochs' metrics but the seconds."""
    with reading(observer.database) as session:
        return [
            (row.train_loss, row.train_accuracy, row.val_loss, row.val_accuracy)
            for row in experiments.metrics(session, experiment_id)
        ]


def kill_in_epoch(worker: Any, experiment_id: int, epoch: int, processes: Callable[[], list[psutil.Process]]) -> None:
    """SIGKILL in the middle of an epoch, when this attempt has trained some of it."""

    def is_there() -> bool:
        attempt = worker.event_types(experiment_id).count("started")
        done = worker.get(experiment_id).progress.fraction * EPOCHS
        assert done < epoch, "the epoch went by too fast to be met"
        return attempt == epoch and done > epoch - 1 + 0.3

    worker.until(is_there)
    # The younger one is in reserve, and takes over.
    min(processes(), key=psutil.Process.create_time).send_signal(signal.SIGKILL)


def test_killed_in_every_epoch(
    start_worker: Callable[..., Any], processes: Callable[[], list[psutil.Process]], datasets_dir: Path
) -> None:
    worker = start_worker(keras=True, datasets_dir=datasets_dir, checkpoint_seconds=1.0)
    left_alone = worker.submit(**BASELINE)
    assert worker.ended(left_alone).state == State.SUCCEEDED

    killed = worker.submit(**BASELINE)
    for epoch in range(1, EPOCHS + 1):
        kill_in_epoch(worker, killed, epoch, processes)
    ended = worker.ended(killed)
    assert ended.state == State.SUCCEEDED, ended.error
    assert worker.outcomes(killed) == ["process_killed"] * EPOCHS + ["succeeded"]

    assert manifest(worker, killed)["weights_sha256"] == manifest(worker, left_alone)["weights_sha256"]
    assert measured(worker, killed) == measured(worker, left_alone)
    assert ended.result is not None
    alone = worker.get(left_alone).result
    assert (ended.result.test_loss, ended.result.test_accuracy) == (alone.test_loss, alone.test_accuracy)
