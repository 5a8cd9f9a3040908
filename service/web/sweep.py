"""What a sweep's page shows: axes for its parallel coordinates, and the best trials in short."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from service import schemas
from service.states import State, TrialState
from service.web import formats

BEST = 5
"""Trials that the link to a comparison takes."""

SPREAD = 50
"""Numbers of a list whose largest is so many times the smallest lie on a logarithmic axis."""

PERCENT = 100

Space = dict[str, Any]


class Axis(NamedTuple):
    """An axis: a path of the space, or what the trials came to.

    Attributes:
        key: names it in the page.
        title: above it.
        kind: `number`, `log` or `category`.
        low: the lower end, of numbers.
        high: the upper end.
        marks: values that are written beside it: those of a list; none for a range.
        categories: from below, if it has any.
    """

    key: str
    title: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    marks: Sequence[float] = ()
    categories: Sequence[str] = ()


class Line(NamedTuple):
    """A trial across the axes: on each a number, the place of a category, or None where it has no value.

    Attributes:
        number: the trial's.
        values: one for each axis.
        rank: 1 for the best objective, 0 for the worst, None without one.
    """

    number: int
    values: list[float | None]
    rank: float | None


def axes(sweep: schemas.SweepDetails) -> list[Axis]:
    """The axes: what is varied, the test accuracy, the objective; of the last two the ends are those of the trials."""
    space: Space = sweep.spec["space"]
    measured = [trial.value for trial in sweep.trials if trial.value is not None]
    tested = [trial.test_accuracy for trial in sweep.trials if trial.test_accuracy is not None]
    objective = sweep.spec["objective"]
    return [
        *(_axis(path, dimension) for path, dimension in space.items()),
        _figure_axis("test", "test accuracy, %", [PERCENT * value for value in tested]),
        _figure_axis("objective", objective_title(objective), [_shown(value, objective) for value in measured]),
    ]


def lines(sweep: schemas.SweepDetails, shown: Sequence[Axis]) -> list[Line]:
    """A line for each trial, the best first."""
    objective = sweep.spec["objective"]
    ranks = _ranks(sweep)

    def at(trial: schemas.Trial, axis: Axis) -> float | None:
        if axis.key == "test":
            return None if trial.test_accuracy is None else PERCENT * trial.test_accuracy
        if axis.key == "objective":
            return None if trial.value is None else _shown(trial.value, objective)
        path = axis.title
        if path not in trial.params:
            return None
        value = trial.params[path]
        return axis.categories.index(formats.value(value)) if axis.kind == "category" else value

    return [Line(trial.number, [at(trial, axis) for axis in shown], ranks.get(trial.number)) for trial in sweep.trials]


def data(sweep: schemas.SweepDetails) -> dict[str, Any]:
    """All that the page's charts are drawn from."""
    shown = axes(sweep)
    if all(trial.test_accuracy is None for trial in sweep.trials):
        shown = [axis for axis in shown if axis.key != "test"]
    return {
        "axes": [axis._asdict() for axis in shown],
        "lines": [line._asdict() for line in lines(sweep, shown)],
        "progress": progress_curve(sweep),
        "objective": objective_title(sweep.spec["objective"]),
    }


def objective_title(objective: str) -> str:
    """The objective as an axis or a column is headed."""
    return "val. accuracy, %" if objective == "val_accuracy" else "val. loss"


def objective_text(value: float | None, objective: str) -> str:
    """An objective's value."""
    return formats.accuracy(value) if objective == "val_accuracy" else formats.figure(value)


def spread_text(deviation: float | None, objective: str) -> str:
    """A standard deviation of the objective, nothing where there is none."""
    if deviation is None:
        return ""
    return f"± {PERCENT * deviation:.2f}" if objective == "val_accuracy" else f"± {deviation:.4f}"


def progress_curve(sweep: schemas.SweepDetails) -> list[dict[str, float]]:
    """The trials that have succeeded, in the order in which they began, each with the best value so far."""
    objective = sweep.spec["objective"]
    better = max if objective == "val_accuracy" else min
    done = sorted((trial for trial in sweep.trials if _has_succeeded(trial)), key=lambda trial: trial.number)
    curve: list[dict[str, float]] = []
    for trial in done:
        assert trial.value is not None
        value = _shown(trial.value, objective)
        best = better(value, curve[-1]["best"]) if curve else value
        curve.append({"trial": trial.number, "value": value, "best": best})
    return curve


def best_experiments(sweep: schemas.SweepDetails) -> list[int]:
    """An experiment of each of the best trials."""
    succeeded = [trial for trial in sweep.trials if _has_succeeded(trial)]
    return [trial.experiments[0].id for trial in succeeded[:BEST]]


def best_experiment(sweep: schemas.SweepDetails) -> schemas.TrialExperiment | None:
    """The best trial's experiment that can be promoted: of several seeds the one with the best objective."""
    measured = [each for each in sweep.best.experiments if each.value is not None] if sweep.best else []
    better = max if sweep.spec["objective"] == "val_accuracy" else min
    return better(measured, key=lambda each: each.value or 0.0, default=None)


def running(sweep: schemas.SweepDetails) -> list[int]:
    """The experiments that are trained now."""
    return [each.id for trial in sweep.trials for each in trial.experiments if each.state == State.RUNNING]


def _has_succeeded(trial: schemas.Trial) -> bool:
    return trial.state == TrialState.SUCCEEDED and trial.value is not None


def _ranks(sweep: schemas.SweepDetails) -> dict[int, float]:
    """Ranks, not values: a single trial that went wrong would leave no colours to tell the others apart by."""
    measured = [(trial.value, trial.number) for trial in sweep.trials if trial.value is not None]
    order = sorted(measured, reverse=sweep.spec["objective"] != "val_accuracy")
    last = max(len(order) - 1, 1)
    return {number: place / last if len(order) > 1 else 1.0 for place, (_, number) in enumerate(order)}


def _axis(path: str, dimension: Any) -> Axis:
    key = f"p-{path}"
    if isinstance(dimension, dict):
        kind = "log" if dimension["log"] else "number"
        return Axis(key, path, kind, dimension["low"], dimension["high"])
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in dimension):
        marks = sorted(set(map(float, dimension)))
        is_wide = marks[0] > 0 and marks[-1] / marks[0] >= SPREAD
        return Axis(key, path, "log" if is_wide else "number", marks[0], marks[-1], marks)
    return Axis(key, path, "category", categories=list(dict.fromkeys(map(formats.value, dimension))))


def _figure_axis(key: str, title: str, values: Sequence[float]) -> Axis:
    return Axis(key, title, "number", min(values, default=0.0), max(values, default=1.0))


def _shown(value: float, objective: str) -> float:
    return PERCENT * value if objective == "val_accuracy" else value
