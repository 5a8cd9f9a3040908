"""Trainings that are interrupted, or killed, and go on from a checkpoint: nothing but the time may differ."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest

from service.data.dataset import Dataset, Split
from service.specs.experiment import ExperimentSpec
from service.train import saver, task
from service.train.events import Checkpoint, EpochEnd, Evaluated, Event, Finished, Interrupted, Progress, Started

MakeSpec = Callable[..., ExperimentSpec]

STEPS = 5
"""Of an epoch: four whole batches and one of seven images."""

FEW = {"train_limit": 150, "validation": {"on": "split", "fraction": 0.1}}

NORMALISED = {
    "model": {
        "layers": [
            {"type": "conv2d", "filters": 4, "kernel_size": [5, 5], "strides": [2, 2]},
            {"type": "batch_normalization", "momentum": 0.8},
            {"type": "activation", "activation": "relu"},
            {"type": "flatten"},
        ]
    },
    "augmentation": {"shift": 0.1, "rotation": 10, "zoom": 0.1},
}

SPECS: dict[str, dict[str, Any]] = {
    "batch norm, augmentation": NORMALISED,
    "adadelta": {"optimizer": {"name": "adadelta"}},
    "momentum": {"optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True}},
    "half precision": {"precision": "mixed_float16"},
    "cosine, elastic": {
        "schedule": {"name": "cosine", "warmup_epochs": 0.5, "final_fraction": 0.1},
        "augmentation": {"elastic": {}},
        "label_smoothing": 0.1,
    },
    "one cycle": {"schedule": {"name": "one_cycle"}, "optimizer": {"name": "sgd", "momentum": 0.9}},
}


class Outcome(NamedTuple):
    """What must not depend on interruptions."""

    epochs: list[dict[str, float | None]]
    weights_sha256: str
    evaluation: Evaluated


def outcome(events: list[Event]) -> Outcome:
    assert isinstance(events[-1], Finished), events[-1]
    return Outcome(
        [event.metrics.model_dump(exclude={"seconds"}) for event in events if isinstance(event, EpochEnd)],
        json.loads(events[-1].files["manifest.json"])["weights_sha256"],
        events[-2],
    )


def after(steps: int) -> Callable[[], bool]:
    """Asks for the end after so many steps."""
    asked = iter(range(1, 10**9))
    return lambda: next(asked) >= steps


def interrupted_every(steps: int, spec: ExperimentSpec, dataset: Dataset) -> Iterator[list[Event]]:
    """The events of each attempt, until one is not interrupted any more."""
    checkpoint = None
    while True:
        events = list(task.run(spec, dataset, checkpoint, interrupted=after(steps)))
        yield events
        if not isinstance(events[-1], Interrupted):
            return
        checkpoint = events[-2].content


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]


@pytest.fixture(scope="module")
def spec(make_spec: MakeSpec) -> ExperimentSpec:
    """Dropout and Adam, for 15 steps."""
    return make_spec(**FEW, epochs=3)


@pytest.fixture(scope="module")
def whole(spec: ExperimentSpec, optdigits: Dataset) -> list[Event]:
    """A run without interruption that makes a checkpoint after each step, all in the order in which they came."""
    events: list[Event] = []
    # One after the other, as a worker would see them.
    for event in task.run(spec, optdigits, checkpoint_seconds=0, emit=events.append):
        events.append(event)  # noqa: PERF402
    return [event for event in events if not isinstance(event, Progress)]


@pytest.fixture(scope="module")
def checkpoints(whole: list[Event]) -> list[Checkpoint]:
    return [event for event in whole if isinstance(event, Checkpoint)]


def test_an_epochs_end_comes_before_the_checkpoint_with_it(whole: list[Event]) -> None:
    epoch = [*[Checkpoint] * (STEPS - 1), EpochEnd, Checkpoint]
    assert kinds(whole) == [Started, *epoch * 3, Evaluated, Finished]


def test_a_checkpoint_says_how_far_it_is(checkpoints: list[Checkpoint]) -> None:
    assert [checkpoint.epoch for checkpoint in checkpoints] == [step // STEPS for step in range(1, 16)]
    assert [checkpoint.fraction for checkpoint in checkpoints] == pytest.approx(np.arange(1, 16) / 15)


def test_making_checkpoints_changes_nothing(spec: ExperimentSpec, optdigits: Dataset, whole: list[Event]) -> None:
    asked = []
    events = list(task.run(spec, optdigits, interrupted=lambda: asked.append(None) is not None))
    assert kinds(events) == [Started, *[EpochEnd] * 3, Evaluated, Finished]
    assert len(asked) == 15
    assert outcome(events) == outcome(whole)


def test_interrupted_again_and_again_it_ends_the_same(
    spec: ExperimentSpec, optdigits: Dataset, whole: list[Event]
) -> None:
    # In the middle of epochs, before the last, smaller batch of one, and at the end of all.
    attempts = list(interrupted_every(3, spec, optdigits))
    assert [kinds(events) for events in attempts] == [
        [Started, Checkpoint, Interrupted],
        [Started, EpochEnd, Checkpoint, Interrupted],
        [Started, Checkpoint, Interrupted],
        [Started, EpochEnd, Checkpoint, Interrupted],
        [Started, EpochEnd, Checkpoint, Interrupted],
        [Started, Evaluated, Finished],
    ]
    assert [events[0].epoch for events in attempts] == [0, 0, 1, 1, 2, 3]
    events = list(chain(*attempts))
    assert outcome(events) == outcome(whole)
    seconds = sum(event.metrics.seconds for event in events if isinstance(event, EpochEnd))
    assert events[-1].result.train_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("name", SPECS)
def test_whatever_has_a_state_goes_on_exactly(make_spec: MakeSpec, optdigits: Dataset, name: str) -> None:
    spec = make_spec(**FEW | SPECS[name])
    *attempts, last = interrupted_every(3, spec, optdigits)
    assert len(attempts) == 3
    assert outcome([*chain(*attempts), *last]) == outcome(list(task.run(spec, optdigits)))


def test_early_stopping_remembers_the_best_epoch(make_spec: MakeSpec, optdigits: Dataset) -> None:
    # A demand that no epoch after the first can meet.
    stopping = {"monitor": "val_accuracy", "patience": 2, "min_delta": 1.0, "restore_best": True}
    spec = make_spec(**FEW, early_stopping=stopping, epochs=9)
    events = list(chain.from_iterable(interrupted_every(3, spec, optdigits)))
    assert kinds(events).count(EpochEnd) == 3
    assert outcome(events) == outcome(list(task.run(spec, optdigits)))


@pytest.mark.parametrize("step", [1, 7, 9])
def test_a_killed_training_goes_on_from_its_last_checkpoint(
    spec: ExperimentSpec, optdigits: Dataset, whole: list[Event], checkpoints: list[Checkpoint], step: int
) -> None:
    checkpoint = checkpoints[step - 1]
    events = list(task.run(spec, optdigits, checkpoint.content))
    brought = [event for event in whole if isinstance(event, EpochEnd)][: checkpoint.epoch]
    assert events[0] == replace(whole[0], epoch=checkpoint.epoch)
    assert kinds(events).count(EpochEnd) == 3 - checkpoint.epoch
    assert outcome([*brought, *events]) == outcome(whole)


def test_an_epochs_time_includes_what_came_before_the_interruption(
    spec: ExperimentSpec, optdigits: Dataset, checkpoints: list[Checkpoint]
) -> None:
    before = changed(checkpoints[1].content, seconds=1000.0)
    assert (
        next(event for event in task.run(spec, optdigits, before) if isinstance(event, EpochEnd)).metrics.seconds > 1000
    )


def test_what_does_not_decide_the_outcome_may_change(
    spec: ExperimentSpec, optdigits: Dataset, checkpoints: list[Checkpoint]
) -> None:
    renamed = spec.model_copy(update={"name": "renamed", "tags": ["a"], "priority": 7})
    assert next(task.run(renamed, optdigits, checkpoints[-1].content)).epoch == 3


def changed(content: bytes, origin: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A checkpoint with another origin, and other arrays and fields of its position."""
    with np.load(io.BytesIO(content)) as archive:
        entries = dict(archive)
    metadata = json.loads(entries["metadata"].tobytes())
    metadata["origin"] |= origin or {}
    metadata["position"] |= {name: value for name, value in fields.items() if name not in entries}
    entries |= {name: value for name, value in fields.items() if name in entries}
    entries["metadata"] = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **entries)
    return file.getvalue()


def with_a_flipped_bit(content: bytes) -> bytes:
    return content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]


UNUSABLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "garbage": lambda content: bytes(range(256)) * 10,
    "a pickle": lambda content: pickle.dumps({"metadata": {}}),
    "an array": lambda content: content[content.index(b"\x93NUMPY") :],
    "truncated": lambda content: content[: len(content) // 2],
    "damaged": with_a_flipped_bit,
    "no history": lambda content: changed(content, history=[{"epoch": 1}]),
    "a step that is none": lambda content: changed(content, step="three"),
    "a step too many": lambda content: changed(content, step=STEPS),
    "another format": lambda content: changed(content, origin={"format": 0}),
    "another Keras": lambda content: changed(content, origin={"keras": "2.3.0"}),
    "another backend": lambda content: changed(content, origin={"backend": "torch"}),
    "another shape": lambda content: changed(content, model_1=np.zeros((5, 5, 1, 8), np.float32)),
    "another dtype": lambda content: changed(content, metrics_0=np.zeros((), np.float64)),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_checkpoint_that_cannot_be_used_is_mentioned_and_left_alone(
    spec: ExperimentSpec,
    optdigits: Dataset,
    checkpoints: list[Checkpoint],
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = UNUSABLE[kind](checkpoints[7].content)
    assert next(task.run(spec, optdigits, content)).epoch == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("The checkpoint cannot be used, so the training begins anew: it")


def test_a_checkpoint_is_of_one_spec_and_one_dataset(
    make_spec: MakeSpec,
    spec: ExperimentSpec,
    optdigits: Dataset,
    checkpoints: list[Checkpoint],
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = checkpoints[-1].content
    assert next(task.run(make_spec(**FEW, epochs=3, seed=1), optdigits, content)).epoch == 0
    assert "its spec is another one" in capsys.readouterr().out
    shorter = replace(optdigits, test=Split(optdigits.test.images[:-1], optdigits.test.labels[:-1]))
    assert next(task.run(spec, shorter, content)).epoch == 0
    assert "its dataset is another one" in capsys.readouterr().out


def test_beginning_anew_ends_the_same(
    spec: ExperimentSpec, optdigits: Dataset, whole: list[Event], checkpoints: list[Checkpoint]
) -> None:
    # Found out last, when all else had been seen to fit.
    content = changed(checkpoints[7].content, metrics_3=np.zeros(2, np.float32))
    events = list(task.run(spec, optdigits, content))
    assert kinds(events) == [Started, *[EpochEnd] * 3, Evaluated, Finished]
    assert outcome(events) == outcome(whole)


def test_a_model_too_large_for_checkpoints_has_none(
    spec: ExperimentSpec, optdigits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(saver, "LIMIT", 10_000)
    emitted: list[Event] = []
    run = task.run(spec, optdigits, checkpoint_seconds=0, emit=emitted.append, interrupted=after(STEPS + 1))
    assert kinds(list(run)) == [Started, EpochEnd, Interrupted]
    assert not any(isinstance(event, Checkpoint) for event in emitted)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("There are no checkpoints of this training")
