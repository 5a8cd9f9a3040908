"""`numeral experiment compare`, and what `show` says about an evaluation, against a real server."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import Engine

from service import answers
from tests.api.conftest import REPORT, Run, refused, said, succeed

# What the server answers is shown on both databases elsewhere.
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def right(count: int) -> dict[str, bytes]:
    """The artifact of a model that got the first `count` of 100 black images right."""
    outputs = np.eye(10, dtype=np.float32)[np.where(np.arange(100) < count, 0, 1)]
    black = np.zeros((100, 28, 28), np.uint8)
    return {answers.ARTIFACT: answers.pack(answers.of(outputs, black, np.zeros(100, np.uint8)))}


@pytest.fixture
def first(database: Engine) -> int:
    return succeed(database, "first", files=right(90), watched=(0.75, 0.5))


@pytest.fixture
def second(database: Engine) -> int:
    """Better than the first, with one layer less, another optimizer and a calibration error."""
    layers = [{"type": "flatten"}, {"type": "dense", "units": 64, "activation": "relu"}]
    return succeed(
        database,
        "second [bold]",
        report=REPORT.model_copy(update={"expected_calibration_error": 0.01234}),
        files=right(96),
        watched=(0.25, 0.875),
        model={"layers": layers},
        optimizer={"name": "adam", "learning_rate": 0.01},
    )


def cells(shown: str) -> dict[str, list[str]]:
    """The first word of each row, and the rest of them."""
    return {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}


def test_what_differs_is_side_by_side(run: Run, first: int, second: int) -> None:
    shown = said(run("experiment", "compare", first, second))
    assert f"{first} first" in shown
    assert f"{second} second [bold]" in shown
    rows = cells(shown)
    assert rows["optimizer.name"] == ["adadelta", "adam"]
    assert rows["optimizer.learning_rate"] == ["1.0", "0.01"]
    assert rows["optimizer.rho"] == ["0.95", "–"]
    assert rows["model.layers[0].type"] == ["conv2d", "flatten"]
    assert rows["model.layers[0].kernel_size"] == ["[3,", "3]", "–"]
    assert not {"name", "epochs", "batch_size", "tags", "dataset"} & rows.keys()
    assert rows["state"] == ["succeeded", "succeeded"]
    assert rows["best"] == ["val", "accuracy", "0.7500", "0.8750"]
    assert rows["parameters"] == ["7,850", "7,850"]
    assert rows["expected"] == ["calibration", "error", "–", "0.0123"]
    assert rows["McNemar's"] == f"test against {first}, on 100 test images".split()
    assert rows[str(second)] == ["90", "0", "6", "4", "+0.0600", "0.031", str(second)]


def test_several_are_compared_with_the_first(run: Run, database: Engine, first: int, second: int) -> None:
    third, old = succeed(database, "third", files=right(91)), succeed(database, "old")
    shown = said(run("experiment", "compare", first, second, third, old))
    assert cells(shown)[str(third)] == ["90", "0", "1", "9", "+0.0100", "1", "neither"]
    problem = f"Experiments {first} and {old} cannot be compared: Experiment {old} has no predictions.npz"
    assert problem in " ".join(shown.split())
    document = json.loads(said(run("experiment", "compare", first, second, third, old, "--json")))
    assert [item["id"] for item in document["experiments"]] == [first, second, third, old]
    assert document["experiments"][1] == {
        "id": second,
        "name": "second [bold]",
        "state": "succeeded",
        "figures": {
            "test_accuracy": 1.0,
            "test_loss": 0.1,
            "best_val_accuracy": 0.875,
            "expected_calibration_error": 0.01234,
            "parameters": 7850,
            "train_seconds": 2.0,
        },
    }
    assert document["differences"]["optimizer.name"] == ["adadelta", "adam", "adadelta", "adadelta"]
    assert document["differences"]["optimizer.rho"] == [0.95, None, 0.95, 0.95]
    assert [each.get("better", "–") for each in document["against_first"]] == [second, None, "–"]
    assert document["against_first"][2]["problem"].startswith(f"Experiments {first} and {old} cannot be compared")


def test_the_same_spec_twice_says_so(run: Run, first: int, enqueue: Callable[..., int]) -> None:
    waiting = enqueue(name="waiting", tags=["made"], epochs=2, priority=1000)
    shown = said(run("experiment", "compare", first, waiting))
    assert "Their specs are the same." in shown
    assert cells(shown)["state"] == ["succeeded", "queued"]
    assert cells(shown)["parameters"] == ["7,850", "–"]
    assert f"Experiment {waiting} is queued" in " ".join(shown.split())


def test_mistakes_in_asking_are_one_line(run: Run, first: int) -> None:
    refused(run("experiment", "compare", first), "two experiments at least")
    refused(run("experiment", "compare", first, 99), "no experiment 99")


def test_show_says_what_is_confused_and_how_sure_it_is(run: Run, database: Engine) -> None:
    matrix = np.diag(np.full(10, 90))
    matrix[4, 9], matrix[7, 2] = 5, 8
    update = {"confusion_matrix": matrix.tolist(), "expected_calibration_error": 0.00314}
    shown = said(run("experiment", "show", succeed(database, report=REPORT.model_copy(update=update))))
    assert "Expected calibration error: 0.0031" in shown
    assert "Most confused: 7 as 2 (8×), 4 as 9 (5×)" in shown
    old = said(run("experiment", "show", succeed(database)))
    assert "Confusion matrix" in old
    assert "calibration" not in old
    assert "confused" not in old
