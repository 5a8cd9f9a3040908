"""A sweep's objective over two of its parameters, as a table that is shaded."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from service import schemas
from service.errors import InvalidInput
from service.states import TrialState
from service.web import formats, heat
from service.web import sweep as page


class Cell(NamedTuple):
    """The trials at a point of two parameters: their mean, and the experiment of the best of them.

    Attributes:
        trials: how many there are; 0 where none has succeeded.
    """

    text: str
    shade: str
    trials: int = 0
    experiment: int | None = None


class Grid(NamedTuple):
    """The table.

    Attributes:
        paths: those that can be chosen.
        rows: the path whose values are the rows.
        columns: the path whose values are the columns.
        row_heads: the values.
        column_heads: the values.
        cells: of each row.
        most: trials of a cell, at most.
    """

    paths: list[str]
    rows: str
    columns: str
    row_heads: list[str]
    column_heads: list[str]
    cells: list[list[Cell]]
    most: int


def grid(sweep: schemas.SweepDetails, rows: str | None = None, columns: str | None = None) -> Grid | None:
    """The table over two paths; without a choice the last two, as they change fastest. None if fewer than two paths
    have lists of values.

    Raises:
        InvalidInput: a chosen path is none of those.
    """
    space = sweep.spec["space"]
    paths = [path for path, values in space.items() if isinstance(values, list) and len(values) > 1]
    if len(paths) < 2:
        return None
    for path in (rows, columns):
        if path is not None and path not in paths:
            raise InvalidInput(f"{path} cannot be an axis of the table; these can: {', '.join(paths)}")
    rows, columns = _chosen(paths, rows, columns)
    points = _points(sweep, rows, columns)
    found = [[points[_key(row), _key(column)] for column in space[columns]] for row in space[rows]]
    means = [[_mean(trials) for trials in line] for line in found]
    known = [mean for line in means for mean in line if mean is not None]
    maximises = sweep.spec["objective"] == "val_accuracy"

    def cell(trials: Sequence[schemas.Trial], mean: float | None) -> Cell:
        text = page.objective_text(mean, sweep.spec["objective"])
        if mean is None:
            return Cell(text, heat.shade(0))
        # Trials are in order, the best first.
        return Cell(text, heat.shade(_share(mean, known, maximises)), len(trials), trials[0].experiments[0].id)

    return Grid(
        paths,
        rows,
        columns,
        [formats.value(value) for value in space[rows]],
        [formats.value(value) for value in space[columns]],
        [[cell(*each) for each in zip(*line, strict=True)] for line in zip(found, means, strict=True)],
        max(len(trials) for line in found for trials in line),
    )


def _chosen(paths: Sequence[str], rows: str | None, columns: str | None) -> tuple[str, str]:
    columns = columns or next(path for path in reversed(paths) if path != rows)
    if rows is None or rows == columns:
        rows = next(path for path in reversed(paths) if path != columns)
    return rows, columns


def _points(sweep: schemas.SweepDetails, rows: str, columns: str) -> Mapping[tuple[str, str], list[schemas.Trial]]:
    """The trials that have succeeded, the best first, by their values of two paths."""
    points: dict[tuple[str, str], list[schemas.Trial]] = defaultdict(list)
    for trial in sweep.trials:
        if trial.state == TrialState.SUCCEEDED and trial.value is not None:
            points[_key(trial.params[rows]), _key(trial.params[columns])].append(trial)
    return points


def _key(value: Any) -> str:
    """Values of a space may be any JSON; `1` and `true` are two."""
    return json.dumps(value, sort_keys=True)


def _mean(trials: Sequence[schemas.Trial]) -> float | None:
    return statistics.fmean(trial.value for trial in trials if trial.value is not None) if trials else None


def _share(mean: float, known: Sequence[float], maximises: bool) -> float:
    low, high = min(known), max(known)
    share = (mean - low) / (high - low) if high > low else 1.0
    return share if maximises else 1 - share
