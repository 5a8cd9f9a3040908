"""A training process without Keras, which workers start by the thousand: softmax regression on made-up points.

    python benchmarks/stub.py <mark> <file descriptor>

A worker starts it; the mark tells one fleet's processes from another's. It trains for real, makes checkpoints and goes
on from them exactly. All that it reports depends on the spec alone, times included, so that `outcome` knows what a job
must come to whatever befell it. The spec's `name` chooses a misbehaviour.

Plain Python, because importing numpy would take a third of the process's time.
"""

import contextlib
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from service.schemas import ClassReport, EpochMetrics, Evaluation, Result
from service.specs.experiment import ExperimentSpec
from service.train.events import (
    Checkpoint,
    EpochEnd,
    Evaluated,
    Event,
    Finished,
    Interrupted,
    Progress,
    Started,
)
from service.worker.child import serve
from service.worker.messages import Job

SUICIDE = "suicide"
"""Kills its own process in the first epoch, every time."""

ENDLESS = "endless"
"""Stays in its first epoch until it is stopped."""

STEP_SECONDS = 0.004
RATE = 0.05
CLASSES = 3
TEST_POINTS = 60
DEVICE = "stub"
DATASET_SHA256 = "0" * 64
BUSY = "training"
"""What a process that has a job is called."""

Weights = list[list[float]]


class Point(NamedTuple):
    """What the model sees (the 1 that stands for the bias included), and the class that it shall find in it."""

    inputs: tuple[float, ...]
    label: int


class Seen(NamedTuple):
    """A point's loss and whether it was classified correctly."""

    loss: float
    correct: bool


@dataclass
class Position:
    """All that decides how a training goes on. `loss` and `correct` are of the `step` steps after `epoch` epochs."""

    weights: Weights
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    correct: int = 0


class Outcome(NamedTuple):
    """What an experiment with a certain spec must come to."""

    metrics: list[EpochMetrics]
    evaluation: Evaluation
    result: Result
    files: dict[str, bytes]


def train(
    job: Job,
    emit: Callable[[Progress | Checkpoint], None],
    interrupted: Callable[[], bool],
    pause: float = STEP_SECONDS,
) -> Iterator[Event]:
    """Train as the spec says, with a pause in every step."""
    spec, position = job.spec, _begin(job.checkpoint)
    points = _points(spec.seed, _size(spec))
    yield Started(DEVICE, CLASSES * len(points[0].inputs), DATASET_SHA256, position.epoch)
    while position.epoch < spec.epochs:
        order = _order(spec.seed, position.epoch, points)
        while position.step < _steps(spec):
            if interrupted():
                yield _checkpoint(position, spec)
                yield Interrupted()
                return
            time.sleep(pause)
            if spec.name == ENDLESS:
                continue
            _step(position, order, spec)
            if position.step == (_steps(spec) + 1) // 2:
                emit(Progress(_fraction(position, spec)))
                _die_if_asked(spec)
        yield EpochEnd(_finish_epoch(position, spec))
        yield _checkpoint(position, spec)
    evaluation = _evaluate(position.weights)
    yield Evaluated(evaluation)
    yield Finished(_result(spec, evaluation), _files(spec, position.weights))


def outcome(spec: ExperimentSpec) -> Outcome:
    """What must be stored for an experiment with this spec that has succeeded."""
    job = SimpleNamespace(spec=spec, checkpoint=None)
    events = list(train(job, lambda event: None, lambda: False, pause=0))
    metrics = [event.metrics for event in events if isinstance(event, EpochEnd)]
    evaluated, finished = events[-2:]
    assert isinstance(evaluated, Evaluated)
    assert isinstance(finished, Finished)
    return Outcome(metrics, evaluated.report, finished.result, finished.files)


def expected_seconds(spec: ExperimentSpec) -> float:
    """How long the training takes at least."""
    return spec.epochs * _steps(spec) * STEP_SECONDS


def dice(seed: int | str) -> random.Random:
    """Chance that comes out the same for the same seed."""
    return random.Random(seed)  # noqa: S311  (nothing is secret here)


def _begin(checkpoint: bytes | None) -> Position:
    if checkpoint is None:
        return Position([[0.0, 0.0, 0.0] for _ in range(CLASSES)])
    # Floats go through JSON and come back the same.
    return Position(**json.loads(checkpoint))


def _checkpoint(position: Position, spec: ExperimentSpec) -> Checkpoint:
    return Checkpoint(json.dumps(asdict(position)).encode(), position.epoch, _fraction(position, spec))


def _size(spec: ExperimentSpec) -> int:
    return spec.train_limit or 256


def _steps(spec: ExperimentSpec) -> int:
    return math.ceil(_size(spec) / spec.batch_size)


def _fraction(position: Position, spec: ExperimentSpec) -> float:
    return (position.epoch + position.step / _steps(spec)) / spec.epochs


def _points(seed: int, count: int) -> list[Point]:
    """Clouds around as many points of a circle as there are classes."""
    chance = dice(seed)
    points = []
    for number in range(count):
        label = number % CLASSES
        angle = 2 * math.pi * label / CLASSES
        inputs = (math.cos(angle) + chance.gauss(0, 0.6), math.sin(angle) + chance.gauss(0, 0.6), 1.0)
        points.append(Point(inputs, label))
    return points


def _order(seed: int, epoch: int, points: list[Point]) -> list[Point]:
    return dice(f"{seed} {epoch}").sample(points, len(points))


def _step(position: Position, order: list[Point], spec: ExperimentSpec) -> None:
    begin = position.step * spec.batch_size
    for point in order[begin : begin + spec.batch_size]:
        probabilities = _probabilities(position.weights, point)
        seen = _seen(probabilities, point)
        position.loss += seen.loss
        position.correct += seen.correct
        for label, row in enumerate(position.weights):
            error = probabilities[label] - (label == point.label)
            for column, value in enumerate(point.inputs):
                row[column] -= RATE * error * value
    position.step += 1


def _probabilities(weights: Weights, point: Point) -> list[float]:
    powers = [math.exp(sum(map(float.__mul__, row, point.inputs))) for row in weights]
    return [power / sum(powers) for power in powers]


def _seen(probabilities: list[float], point: Point) -> Seen:
    return Seen(-math.log(probabilities[point.label]), probabilities[point.label] == max(probabilities))


def _finish_epoch(position: Position, spec: ExperimentSpec) -> EpochMetrics:
    metrics = EpochMetrics(
        epoch=position.epoch + 1,
        train_loss=position.loss / _size(spec),
        train_accuracy=position.correct / _size(spec),
        val_loss=None,
        val_accuracy=None,
        seconds=_steps(spec) * STEP_SECONDS,
        learning_rate=RATE,
    )
    position.epoch += 1
    position.step, position.loss, position.correct = 0, 0.0, 0
    return metrics


def _evaluate(weights: Weights) -> Evaluation:
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    seen = []
    for point in _points(-1, TEST_POINTS):
        probabilities = _probabilities(weights, point)
        seen.append(_seen(probabilities, point))
        confusion[point.label][probabilities.index(max(probabilities))] += 1
    return Evaluation(
        loss=math.fsum(each.loss for each in seen) / TEST_POINTS,
        accuracy=sum(each.correct for each in seen) / TEST_POINTS,
        labels=list(range(CLASSES)),
        confusion_matrix=confusion,
        per_class=[_report(label, confusion) for label in range(CLASSES)],
    )


def _report(label: int, confusion: list[list[int]]) -> ClassReport:
    support, predicted = sum(confusion[label]), sum(row[label] for row in confusion)
    precision, recall = confusion[label][label] / max(predicted, 1), confusion[label][label] / support
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return ClassReport(label=label, precision=precision, recall=recall, f1=f1, support=support)


def _result(spec: ExperimentSpec, evaluation: Evaluation) -> Result:
    seconds = expected_seconds(spec)
    return Result(
        test_loss=evaluation.loss,
        test_accuracy=evaluation.accuracy,
        parameters=CLASSES * 3,
        train_seconds=seconds,
        images_per_second=spec.epochs * _size(spec) / seconds,
    )


def _files(spec: ExperimentSpec, weights: Weights) -> dict[str, bytes]:
    """No real models: nobody serves them, they only have to be the right ones."""
    return {
        "model.keras": json.dumps({"weights": weights}).encode(),
        "model.onnx": json.dumps({"weights": weights, "spec": spec.model_dump(mode="json")}).encode(),
        "manifest.json": json.dumps({"spec": spec.model_dump(mode="json")}).encode(),
    }


def _die_if_asked(spec: ExperimentSpec) -> None:
    if spec.name == SUICIDE:
        os.kill(os.getpid(), signal.SIGKILL)


def _train_under_own_name(
    job: Job, emit: Callable[[Progress | Checkpoint], None], interrupted: Callable[[], bool]
) -> Iterator[Event]:
    # So that whoever looks for a worker's training does not take its spare process for it. Only Linux has this.
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(BUSY)
    yield from train(job, emit, interrupted)


if __name__ == "__main__":
    serve(int(sys.argv[-1]), _train_under_own_name)
