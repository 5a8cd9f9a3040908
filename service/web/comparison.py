"""What the page that compares experiments shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from service import schemas
from service.specs.differences import differences
from service.web import formats, heat
from service.web.experiment import Best, best
from service.web.table import NO_PARAMETERS

MOST = 200
"""Experiments that can be compared at once."""

MOST_TESTED = 10
MOST_MATRICES = 6
MOST_ABOUT = 10
"""Differing parameters that are said of a curve."""

MOST_LETTERS = 40
"""Of a name or a value beside a curve."""

COLOURS = 8
"""Colours that curves have in the style sheet; further ones begin anew."""


class Run(NamedTuple):
    """An experiment of the comparison, with what it has come to so far."""

    record: schemas.Experiment
    metrics: Sequence[schemas.EpochMetrics]
    evaluation: schemas.Evaluation | None

    @property
    def best(self) -> Best | None:
        """Its best epoch by validation accuracy."""
        return best(self.metrics)


class Figure(NamedTuple):
    """What a run has in a row of figures; `note` says more about it."""

    text: str
    is_best: bool
    note: str = ""


class Row(NamedTuple):
    """A figure of each run, side by side."""

    title: str
    cells: list[Figure]


class Column(NamedTuple):
    """The head of a run's column, with the comparisons without it and with it as the first."""

    record: schemas.Experiment
    colour: int
    without: str
    as_first: str


class Matrix(NamedTuple):
    """A run's confusion matrix, and its difference to the first one; `problem` says why there is none."""

    record: schemas.Experiment
    labels: list[int]
    rows: list[list[heat.Cell]]
    difference: list[list[heat.Cell]] | None = None
    problem: str | None = None


def columns(records: Sequence[schemas.Experiment]) -> list[Column]:
    """A column for each run."""
    ids = [record.id for record in records]
    return [
        Column(
            record,
            place % COLOURS,
            address([other for other in ids if other != record.id]),
            address([record.id, *(other for other in ids if other != record.id)]),
        )
        for place, record in enumerate(records)
    ]


def address(ids: Sequence[int]) -> str:
    """Where these are compared."""
    return "/compare?" + urlencode([("id", experiment_id) for experiment_id in ids]) if ids else "/compare"


def figures(runs: Sequence[Run]) -> list[Row]:
    """What the runs came to; the best of each row is marked, unless all are equally good."""
    bests = [run.best for run in runs]
    calibration = [run.evaluation.expected_calibration_error if run.evaluation else None for run in runs]
    epochs = [f"epoch {found.epoch}" if found else "" for found in bests]

    def results(name: str) -> list[float | None]:
        return [getattr(run.record.result, name, None) for run in runs]

    return [
        _row("Test accuracy", results("test_accuracy"), formats.accuracy, maximises=True),
        _row("Test loss", results("test_loss"), formats.figure),
        _row(
            "Best val. accuracy",
            [found and found.accuracy for found in bests],
            formats.accuracy,
            epochs,
            maximises=True,
        ),
        _row("Calibration error", calibration, formats.figure),
        _row("Parameters", results("parameters"), formats.count),
        _row("Trained", results("train_seconds"), formats.duration),
    ]


def _row(
    title: str,
    values: Sequence[float | None],
    text: Any,
    notes: Sequence[str] | None = None,
    *,
    maximises: bool = False,
) -> Row:
    known = [value for value in values if value is not None]
    top = (max if maximises else min)(known, default=None)
    is_contest = len(set(known)) > 1
    notes = notes or [""] * len(values)
    return Row(
        title,
        [Figure(text(value), is_contest and value == top, note) for value, note in zip(values, notes, strict=True)],
    )


def curves(runs: Sequence[Run], differing: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The runs' epochs for the charts, with the parameters in which each differs from others."""
    return [
        {
            "name": f"{run.record.id} {_short(run.record.name)}",
            "about": _about({path: row[place] for path, row in differing.items() if path not in NO_PARAMETERS}),
            "epochs": [row.epoch for row in run.metrics],
            "train_loss": [_finite(row.train_loss) for row in run.metrics],
            "train_accuracy": [_finite(row.train_accuracy) for row in run.metrics],
            "val_loss": [_finite(row.val_loss) for row in run.metrics],
            "val_accuracy": [_finite(row.val_accuracy) for row in run.metrics],
        }
        for place, run in enumerate(runs)
    ]


def _about(parameters: Mapping[str, Any]) -> list[str]:
    said = [f"{path} {_short(formats.value(value))}" for path, value in parameters.items() if value is not None]
    left_out = len(said) - MOST_ABOUT
    return [*said[:MOST_ABOUT], f"and {left_out} more"] if left_out > 0 else said


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def matrices(runs: Sequence[Run]) -> list[Matrix]:
    """The confusion matrices of the first runs that were evaluated."""
    evaluated = [(run.record, run.evaluation) for run in runs if run.evaluation is not None][:MOST_MATRICES]
    return [
        _matrix(record, evaluation, *(evaluated[0] if place else (None, None)))
        for place, (record, evaluation) in enumerate(evaluated)
    ]


def _matrix(
    record: schemas.Experiment,
    evaluation: schemas.Evaluation,
    first: schemas.Experiment | None,
    first_evaluation: schemas.Evaluation | None,
) -> Matrix:
    counts = evaluation.confusion_matrix
    shown = Matrix(record, evaluation.labels, heat.cells(counts))
    if first is None or first_evaluation is None:
        return shown
    if not _same_images(first, first_evaluation, record, evaluation):
        return shown._replace(problem=f"It was tested on other images than {first.id}.")
    return shown._replace(difference=heat.difference(first_evaluation.confusion_matrix, counts))


def _same_images(
    first: schemas.Experiment,
    first_evaluation: schemas.Evaluation,
    other: schemas.Experiment,
    other_evaluation: schemas.Evaluation,
) -> bool:
    of_digits = [list(map(sum, each.confusion_matrix)) for each in (first_evaluation, other_evaluation)]
    return first.spec["dataset"] == other.spec["dataset"] and of_digits[0] == of_digits[1]


def verdict(comparison: schemas.Comparison) -> str:
    """What McNemar's test says."""
    if comparison.better is None:
        return "may be chance"
    return f"{comparison.better} is better"


def differing(records: Sequence[schemas.Experiment]) -> dict[str, list[Any]]:
    """The fields in which the runs' specs differ: the value in each."""
    return differences([record.spec for record in records])
