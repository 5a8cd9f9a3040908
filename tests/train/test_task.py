"""Trainings through `task.run`: what comes out, in which order, and that it comes out the same again."""

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from sklearn.metrics import confusion_matrix

from service import answers
from service.data import catalogue
from service.data.dataset import Dataset, Split
from service.specs.experiment import ExperimentSpec
from service.train import task
from service.train.evaluate import calibration_error
from service.train.events import EpochEnd, Evaluated, Event, Failed, Finished, Started
from service.train.manifest import PACKAGES

MakeSpec = Callable[..., ExperimentSpec]


def events_of(spec: ExperimentSpec, dataset: Dataset) -> list[Event]:
    return list(task.run(spec, dataset))


def figures(events: list[Event]) -> list[dict[str, float | None]]:
    """The metrics of every epoch, but not how long it took."""
    return [event.metrics.model_dump(exclude={"seconds"}) for event in events if isinstance(event, EpochEnd)]


@pytest.fixture(scope="module")
def finished(make_spec: MakeSpec, optdigits: Dataset) -> list[Event]:
    return events_of(make_spec(epochs=4), optdigits)


def test_events_come_in_order(finished: list[Event]) -> None:
    assert [type(event) for event in finished] == [Started, *[EpochEnd] * 4, Evaluated, Finished]


def test_the_first_event_says_what_is_trained_on(finished: list[Event], optdigits: Dataset) -> None:
    assert finished[0] == Started("cpu:0", finished[-1].result.parameters, optdigits.sha256(), epoch=0)


def test_the_model_learns(finished: list[Event]) -> None:
    assert finished[-1].result.test_accuracy > 0.85
    assert figures(finished)[-1]["train_loss"] < figures(finished)[0]["train_loss"]


def test_the_evaluation_adds_up(finished: list[Event], optdigits: Dataset) -> None:
    report = finished[-2].report
    matrix = np.array(report.confusion_matrix)
    assert matrix.shape == (10, 10)
    assert matrix.sum(axis=1).tolist() == np.bincount(optdigits.test.labels).tolist()
    assert report.accuracy == pytest.approx(np.trace(matrix) / matrix.sum())
    assert [row.support for row in report.per_class] == matrix.sum(axis=1).tolist()
    assert report.per_class[3].recall == pytest.approx(matrix[3, 3] / matrix[3].sum())
    assert report.per_class[3].precision == pytest.approx(matrix[3, 3] / matrix[:, 3].sum())


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    # By hand: bins 15, 9 and 8. Gaps 0.95 - 1/2 for two images, 0.55 - 1 and 0.5 - 0 for one each.
    confidence = np.array([0.95, 0.95, 0.55, 0.5], np.float32)
    right = np.array([True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx((2 * 0.45 + 0.45 + 0.5) / 4, abs=1e-7)
    assert calibration_error(np.ones(3, np.float32), np.ones(3, np.bool_)) == 0
    assert calibration_error(np.ones(3, np.float32), np.zeros(3, np.bool_)) == 1
    # Within a bin too little and too much confidence cancel out; across bins they do not.
    assert calibration_error(np.array([0.75, 0.79], np.float32), np.array([True, False])) == pytest.approx(0.27)
    assert calibration_error(np.array([0.75, 0.85], np.float32), np.array([True, False])) == pytest.approx(0.55)


def test_what_was_said_about_each_test_image_is_kept(finished: list[Event], optdigits: Dataset) -> None:
    test, report = optdigits.test, finished[-2].report
    said = answers.unpack(finished[-1].files["predictions.npz"])
    session = onnxruntime.InferenceSession(finished[-1].files["model.onnx"])
    probabilities, _ = session.run(
        None, {session.get_inputs()[0].name: test.images[..., np.newaxis].astype(np.float32)}
    )
    assert (said.predicted.dtype, said.confidence.dtype) == (np.uint8, np.float32)
    assert (said.predicted == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(said.confidence, probabilities.max(axis=1), rtol=1e-5)
    assert confusion_matrix(test.labels, said.predicted).tolist() == report.confusion_matrix
    wrong = np.flatnonzero(said.predicted != test.labels)
    assert len(wrong) > 0
    assert said.wrong_index.tolist() == wrong.tolist()
    assert said.wrong_actual.tolist() == test.labels[wrong].tolist()
    assert (said.wrong_images == test.images[wrong]).all()
    assert said.right.tolist() == (said.predicted == test.labels).tolist()
    error = 0.0
    for lower, upper in pairwise(np.linspace(0, 1, 16)):
        inside = (lower < said.confidence) & (said.confidence <= upper)
        if inside.any():
            error += inside.mean() * abs(said.right[inside].mean() - said.confidence[inside].mean())
    assert report.expected_calibration_error == pytest.approx(error, abs=1e-6)


def test_a_file_of_answers_needs_no_pickle_and_holds_no_time(finished: list[Event]) -> None:
    content = finished[-1].files["predictions.npz"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert answers.pack(answers.unpack(content)) == content


def test_the_onnx_file_gives_the_reported_accuracy(finished: list[Event], optdigits: Dataset) -> None:
    session = onnxruntime.InferenceSession(finished[-1].files["model.onnx"])
    pixels = optdigits.test.images[..., np.newaxis].astype(np.float32)
    probabilities, _ = session.run(None, {session.get_inputs()[0].name: pixels})
    assert (probabilities.argmax(axis=1) == optdigits.test.labels).mean() == finished[-1].result.test_accuracy


def test_the_keras_file_takes_pixels_and_agrees(finished: list[Event], optdigits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(finished[-1].files["model.keras"])
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    probabilities = model.predict(optdigits.test.images[..., np.newaxis], verbose=0)
    assert (probabilities.argmax(axis=1) == optdigits.test.labels).mean() == finished[-1].result.test_accuracy
    weights = b"".join(array.astype("<f4").tobytes() for array in model.get_weights())
    manifest = json.loads(finished[-1].files["manifest.json"])
    assert manifest["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_the_manifest_is_enough_to_run_it_again(finished: list[Event], optdigits: Dataset) -> None:
    manifest = json.loads(finished[-1].files["manifest.json"])
    assert manifest["dataset"]["sha256"] == optdigits.sha256()
    assert manifest["device"] == "cpu:0"
    assert {"python", "numeral", "keras", "tensorflow", "onnxruntime"} <= manifest["versions"].keys()
    assert manifest["versions"].keys() <= {"python", *PACKAGES}
    again = events_of(ExperimentSpec.model_validate(manifest["spec"]), optdigits)
    assert figures(again) == figures(finished)
    assert again[-2] == finished[-2]
    assert json.loads(again[-1].files["manifest.json"])["weights_sha256"] == manifest["weights_sha256"]


def test_the_same_spec_and_seed_give_the_same_figures(make_spec: MakeSpec, optdigits: Dataset) -> None:
    augmented = make_spec(augmentation={"shift": 0.1, "rotation": 10, "zoom": 0.1})
    assert figures(events_of(augmented, optdigits)) == figures(events_of(augmented, optdigits))


def test_another_seed_gives_other_figures(make_spec: MakeSpec, optdigits: Dataset) -> None:
    assert figures(events_of(make_spec(seed=1), optdigits)) != figures(events_of(make_spec(seed=2), optdigits))


def test_without_validation_its_columns_are_empty(make_spec: MakeSpec, optdigits: Dataset) -> None:
    [epoch] = figures(events_of(make_spec(validation={"on": "none"}, epochs=1), optdigits))
    assert epoch["val_loss"] is None
    assert epoch["val_accuracy"] is None


def test_validation_on_the_test_set_equals_the_evaluation(make_spec: MakeSpec, optdigits: Dataset) -> None:
    events = events_of(make_spec(validation={"on": "test"}, loss="mse"), optdigits)
    assert figures(events)[-1]["val_loss"] == pytest.approx(events[-1].result.test_loss, abs=1e-6)
    assert figures(events)[-1]["val_accuracy"] == pytest.approx(events[-1].result.test_accuracy)


def test_augmentation_is_not_in_the_exported_model(make_spec: MakeSpec, optdigits: Dataset, tmp_path: Path) -> None:
    spec = make_spec(augmentation={"shift": 0.1, "rotation": 10, "zoom": 0.1}, epochs=1)
    path = tmp_path / "model.keras"
    path.write_bytes(events_of(spec, optdigits)[-1].files["model.keras"])
    kinds = {type(layer).__name__ for layer in keras.saving.load_model(path, compile=False).layers}
    assert not any(kind.startswith("Random") for kind in kinds)
    assert "Rescaling" in kinds


def test_early_stopping_ends_and_restores_the_best_epoch(make_spec: MakeSpec, optdigits: Dataset) -> None:
    # A demand that no epoch after the first can meet.
    stopping = {"monitor": "val_accuracy", "patience": 2, "min_delta": 1.0, "restore_best": True}
    events = events_of(make_spec(early_stopping=stopping, validation={"on": "test"}, epochs=9), optdigits)
    epochs = figures(events)
    assert len(epochs) == 3
    assert events[-1].result.test_accuracy == pytest.approx(epochs[0]["val_accuracy"])


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_a_half_precision_training_exports_a_float32_model(
    make_spec: MakeSpec, optdigits: Dataset, precision: str
) -> None:
    events = events_of(make_spec(precision=precision, epochs=1), optdigits)
    assert isinstance(events[-1], Finished), events[-1]
    session = onnxruntime.InferenceSession(events[-1].files["model.onnx"])
    assert session.get_inputs()[0].type == "tensor(float)"


@pytest.mark.parametrize("name", ["adadelta", "adagrad", "adam", "rmsprop", "sgd"])
def test_every_optimizer_learns(make_spec: MakeSpec, optdigits: Dataset, name: str) -> None:
    epochs = figures(events_of(make_spec(optimizer={"name": name}, epochs=2), optdigits))
    assert epochs[1]["train_loss"] < epochs[0]["train_loss"]


def test_a_training_that_diverges_fails_with_its_code(make_spec: MakeSpec, optdigits: Dataset) -> None:
    # Without an activation nothing keeps the numbers from growing.
    layers = [{"type": "flatten"}, *[{"type": "dense", "units": 16}] * 2]
    spec = make_spec(model={"layers": layers}, optimizer={"name": "sgd", "learning_rate": 1000.0}, rescale=1.0)
    *before, last = events_of(spec, optdigits)
    assert isinstance(last, Failed)
    assert last.code == "diverged"
    assert "smaller learning rate" in last.message
    assert all(math.isfinite(epoch["train_loss"]) for epoch in figures(before))


def test_a_last_step_that_diverges_is_found_out(make_spec: MakeSpec, optdigits: Dataset) -> None:
    # One step: the loss is measured before the update that spoils the weights.
    layers = [{"type": "flatten"}, *[{"type": "dense", "units": 16}] * 12]
    spec = make_spec(
        model={"layers": layers},
        optimizer={"name": "sgd", "learning_rate": 1000.0},
        rescale=1.0,
        batch_size=16384,
        epochs=1,
        validation={"on": "none"},
    )
    last = events_of(spec, optdigits)[-1]
    assert isinstance(last, Failed), last
    assert last.code == "diverged"


def test_an_unforeseen_error_becomes_an_event_and_a_traceback(
    make_spec: MakeSpec, optdigits: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Dataset("broken", Split(optdigits.train.images[:, :5], optdigits.train.labels), optdigits.test)
    last = events_of(make_spec(), broken)[-1]
    assert isinstance(last, Failed)
    assert last.code == "training_error"
    assert "\n" not in last.message
    assert "Traceback" in capsys.readouterr().err


def test_a_thousand_images_of_mnist_teach_something(make_spec: MakeSpec, datasets_dir: Path, tmp_path: Path) -> None:
    mnist = catalogue.load("mnist", datasets_dir, tmp_path)
    events = events_of(make_spec(dataset="mnist", train_limit=1000, epochs=3), mnist)
    assert np.sum(events[-2].report.confusion_matrix) == 10_000
    assert events[-1].result.test_accuracy > 0.75
    assert json.loads(events[-1].files["manifest.json"])["dataset"]["train_images"] == 1000
