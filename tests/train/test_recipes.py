"""Schedules, smoothed labels and augmentation: what they do to a training, seen from outside."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from service.data.dataset import Dataset
from service.specs.augmentation import Augmentation
from service.specs.experiment import ExperimentSpec
from service.train import task
from service.train.augmentation import Distortion
from service.train.events import EpochEnd, Event, Finished

MakeSpec = Callable[..., ExperimentSpec]

PEAK = 0.02
ADAM = {"name": "adam", "learning_rate": PEAK}
FEW = {"train_limit": 70, "validation": {"on": "none"}, "optimizer": ADAM}
"""Three steps an epoch, the last one with six images."""

ELASTIC = Augmentation.model_validate({"elastic": {}})


def epochs_of(spec: ExperimentSpec, dataset: Dataset) -> list[dict[str, Any]]:
    """The metrics of every epoch, but not how long it took."""
    events = list(task.run(spec, dataset))
    assert isinstance(events[-1], Finished), events[-1]
    return [event.metrics.model_dump(exclude={"seconds"}) for event in events if isinstance(event, EpochEnd)]


# Schedules

RATES: dict[str, tuple[dict[str, Any] | None, list[float]]] = {
    "none": (None, [1, 1, 1, 1]),
    "cosine": ({"name": "cosine"}, [(1 + math.cos(math.pi * part)) / 2 for part in (1 / 4, 2 / 4, 3 / 4, 1)]),
    "cosine to a tenth, after two epochs of warm-up": (
        {"name": "cosine", "warmup_epochs": 2, "final_fraction": 0.1},
        [1 / 2, 1, 1 - 0.9 / 2, 0.1],
    ),
    "cosine, warm-up to the end": ({"name": "cosine", "warmup_epochs": 4}, [1 / 4, 2 / 4, 3 / 4, 1]),
    "one cycle": (
        {"name": "one_cycle", "warmup_fraction": 0.5, "start_fraction": 0.2, "final_fraction": 0.1},
        [0.6, 1, 1 - 0.9 / 2, 0.1],
    ),
    "one cycle without a way up": ({"name": "one_cycle", "warmup_fraction": 0}, [3 / 4, 2 / 4, 1 / 4, 0]),
}


@pytest.mark.parametrize("name", RATES)
def test_the_learning_rate_at_the_end_of_each_epoch_is_the_schedule_s(
    make_spec: MakeSpec, optdigits: Dataset, name: str
) -> None:
    schedule, fractions = RATES[name]
    epochs = epochs_of(make_spec(**FEW, schedule=schedule, epochs=4), optdigits)
    expected = [PEAK * fraction for fraction in fractions]
    assert [epoch["learning_rate"] for epoch in epochs] == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_the_rate_moves_with_every_step(make_spec: MakeSpec, optdigits: Dataset) -> None:
    """It begins at 0, so an epoch of a single step leaves the model as it was; one of three steps does not."""
    warmup = {"name": "cosine", "warmup_epochs": 2}
    still = epochs_of(make_spec(**FEW | {"train_limit": 30}, schedule=warmup, epochs=2), optdigits)
    assert still[0]["train_loss"] == pytest.approx(still[1]["train_loss"], rel=0.05)
    losses = [epoch["train_loss"] for epoch in epochs_of(make_spec(**FEW, schedule=warmup, epochs=4), optdigits)]
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_a_schedule_is_laid_out_over_all_epochs_even_if_the_training_stops_before(
    make_spec: MakeSpec, optdigits: Dataset
) -> None:
    stopping = {"monitor": "val_accuracy", "patience": 1, "min_delta": 1.0}
    spec = make_spec(
        **FEW | {"validation": {"on": "test"}}, schedule={"name": "cosine"}, early_stopping=stopping, epochs=8
    )
    epochs = epochs_of(spec, optdigits)
    assert len(epochs) == 2
    assert epochs[-1]["learning_rate"] == pytest.approx(PEAK * (1 + math.cos(math.pi * 2 / 8)) / 2)


# Smoothed labels


def test_smoothing_raises_the_training_loss_and_leaves_the_others_plain(
    make_spec: MakeSpec, optdigits: Dataset
) -> None:
    events: list[Event] = list(task.run(make_spec(validation={"on": "test"}, label_smoothing=0.3), optdigits))
    *_, last = (event.metrics for event in events if isinstance(event, EpochEnd))
    finished = events[-1]
    assert isinstance(finished, Finished)
    # No model gets below the entropy of labels that are 0.73 and nine times 0.03.
    entropy = -(0.73 * math.log(0.73) + 9 * 0.03 * math.log(0.03))
    assert last.train_loss > entropy > finished.result.test_loss
    assert last.val_loss == pytest.approx(finished.result.test_loss, abs=1e-6)
    assert last.train_accuracy > 0.8


def test_no_smoothing_changes_nothing(make_spec: MakeSpec, optdigits: Dataset) -> None:
    assert epochs_of(make_spec(**FEW, label_smoothing=0.0), optdigits) == epochs_of(make_spec(**FEW), optdigits)


# Augmentation


def images(count: int, dataset: Dataset) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return dataset.train.images[:count, ..., np.newaxis]


def bent(count: int, dataset: Dataset, seed: int = 0, **changes: Any) -> np.ndarray[Any, Any]:
    """So many images after an elastic distortion."""
    layer = Distortion(Augmentation.model_validate({"elastic": changes}), seed)
    return keras.ops.convert_to_numpy(layer(images(count, dataset), training=True))


def test_strokes_are_bent_but_stay_strokes(optdigits: Dataset) -> None:
    before, after = images(64, optdigits).astype(np.float32), bent(64, optdigits)
    assert after.shape == before.shape
    assert after.min() >= 0
    assert after.max() <= 255
    assert (np.abs(after - before).mean(axis=(1, 2, 3)) > 5).all()
    # About as much ink as before.
    assert after.mean() == pytest.approx(before.mean(), rel=0.05)


def test_each_image_is_bent_its_own_way(optdigits: Dataset) -> None:
    layer = Distortion(ELASTIC, 0)
    same = np.repeat(images(1, optdigits), 3, axis=0)
    first, second, third = keras.ops.convert_to_numpy(layer(same, training=True))
    assert np.abs(first - second).max() > 20
    assert np.abs(second - third).max() > 20
    again = keras.ops.convert_to_numpy(layer(same, training=True))
    assert np.abs(again[0] - first).max() > 20


def test_the_seed_decides_how_strokes_are_bent(optdigits: Dataset) -> None:
    assert (bent(3, optdigits, seed=1) == bent(3, optdigits, seed=1)).all()
    assert (bent(3, optdigits, seed=1) != bent(3, optdigits, seed=2)).any()


def test_without_a_distance_nothing_moves(optdigits: Dataset) -> None:
    np.testing.assert_allclose(bent(3, optdigits, alpha=1e-6), images(3, optdigits), atol=1e-3)


def test_only_training_bends_strokes(optdigits: Dataset) -> None:
    layer = Distortion(ELASTIC, 0)
    for said in ({"training": False}, {}):
        assert (keras.ops.convert_to_numpy(layer(images(3, optdigits), **said)) == images(3, optdigits)).all()


class Bars(NamedTuple):
    """Where bars are after a distortion: how far moved down and across in pixels, turned in degrees, resized."""

    down: np.ndarray[Any, Any]
    across: np.ndarray[Any, Any]
    turn: np.ndarray[Any, Any]
    size: np.ndarray[Any, Any]


def distorted_bars(**changes: Any) -> Bars:
    """What becomes of 500 bars that lie in the middle, told from their moments."""
    bars = np.zeros((500, 28, 28, 1), np.uint8)
    bars[:, 13:15, 8:20] = 255
    moved = keras.ops.convert_to_numpy(Distortion(Augmentation.model_validate(changes), 0)(bars, training=True))
    ink = moved[..., 0] / moved.sum(axis=(1, 2, 3))[:, np.newaxis, np.newaxis]
    row, column = np.mgrid[:28, :28] - 13.5
    down, across = (ink * row).sum((1, 2)), (ink * column).sum((1, 2))
    spread_down = (ink * row**2).sum((1, 2)) - down**2
    spread_across = (ink * column**2).sum((1, 2)) - across**2
    shared = (ink * row * column).sum((1, 2)) - down * across
    turn = np.degrees(np.arctan2(2 * shared, spread_across - spread_down) / 2)
    length = np.sqrt(12 * (spread_down + spread_across))
    return Bars(down, across, turn, length / np.sqrt(12**2 + 2**2))


def test_a_shift_moves_by_up_to_its_share_of_the_side() -> None:
    bars = distorted_bars(shift=0.1)
    for moved in (bars.down, bars.across):
        assert np.abs(moved).max() <= 2.8 + 1e-3
        assert moved.min() < -2.6
        assert moved.max() > 2.6
    assert np.abs(bars.turn).max() < 0.5


def test_a_rotation_turns_by_up_to_its_degrees() -> None:
    bars = distorted_bars(rotation=20)
    assert np.abs(bars.turn).max() == pytest.approx(20, abs=1)
    assert bars.turn.min() < -18
    assert np.abs([bars.down, bars.across]).max() < 0.1
    assert bars.size == pytest.approx(1, abs=0.06)


def test_a_zoom_resizes_by_up_to_its_share() -> None:
    bars = distorted_bars(zoom=0.3)
    assert bars.size.max() == pytest.approx(1.3, abs=0.06)
    assert bars.size.min() == pytest.approx(0.7, abs=0.06)
    assert np.abs(bars.turn).max() < 0.5


def test_changes_do_not_follow_each_other() -> None:
    """Whether a digit is moved down says nothing about how it is turned and resized."""
    bars = distorted_bars(shift=0.1, rotation=10, zoom=0.1)
    assert np.abs(np.corrcoef(bars) - np.eye(4)).max() < 0.2


def test_all_changes_together_blur_no_more_than_one(optdigits: Dataset) -> None:
    """Each mixing of neighbouring pixels takes contrast: there must be one only."""
    every = Augmentation.model_validate({"shift": 0.07, "rotation": 10, "zoom": 0.1, "elastic": {"alpha": 20}})
    together = keras.ops.convert_to_numpy(Distortion(every, 0)(images(500, optdigits), training=True))
    alone = bent(500, optdigits, alpha=20)
    assert together.std() == pytest.approx(alone.std(), rel=0.03)


def test_elastic_distortions_are_not_in_the_exported_model(
    make_spec: MakeSpec, optdigits: Dataset, tmp_path: Path
) -> None:
    plain, augmented = (make_spec(**FEW, epochs=1, augmentation=given) for given in (None, {"elastic": {}}))
    layers = []
    for number, spec in enumerate((plain, augmented)):
        path = tmp_path / f"{number}.keras"
        path.write_bytes(list(task.run(spec, optdigits))[-1].files["model.keras"])  # type: ignore[union-attr]
        layers.append([type(layer) for layer in keras.saving.load_model(path, compile=False).layers])
    assert layers[0] == layers[1]
