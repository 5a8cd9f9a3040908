"""What a service has of the notebook, collected: the figures that a report is made of. Nothing is made up for what is
missing."""

import itertools
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from service import schemas
from service.client import Client
from service.errors import ServiceError
from service.notebook import skew
from service.notebook.found import Found, Standing, standing
from service.notebook.plan import (
    COLLAPSING,
    DOSES,
    MODELS,
    OPTIMIZERS,
    PRESETS,
    SCALINGS,
    Grid,
    Look,
    Plan,
    Run,
    cell_run,
    dose_run,
    following_run,
    label,
    preset_run,
)
from service.notebook.skew import Labelled, Skew
from service.notebook.spread import Spread, paired
from service.specs.presets import BASELINE, BATCH_NORM, IMAGE_BATCH_NORM, IMAGE_NORM, Preset
from service.specs.sweep_presets import GRID
from service.states import State

COLLAPSED = 0.5
"""A model below this test accuracy has not learnt: guessing is 0.1, and the worst that learns is far above."""


class PresetFigures(NamedTuple):
    """A preset over the seeds; `published` is what the notebook printed."""

    name: str
    summary: str
    published: dict[str, float]
    ids: tuple[int, ...]
    accuracy: Spread
    loss: Spread
    seconds: Spread


class GridRow(NamedTuple):
    """A point of the grid over the seeds."""

    label: str
    published: float
    accuracy: Spread


class Curve(NamedTuple):
    """Means over the seeds that have succeeded, after each epoch; `scaling` is a key of `SCALINGS`."""

    name: str
    scaling: str
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


class Course(NamedTuple):
    """A run's accuracy after each epoch: on the batches that it trained on, and on the test set."""

    title: str
    training: tuple[float, ...]
    test: tuple[float, ...]


class Pair(NamedTuple):
    """Baseline and batch-norm of a seed on the same test images, or why they cannot be compared."""

    seed: int
    comparison: schemas.Comparison | str


class Cell(NamedTuple):
    """Batch normalisation or none, on pixels scaled once or twice."""

    optimizer: str
    model: str
    scaling: str
    accuracy: Spread


class Choice(NamedTuple):
    """A row of the grid that held out images: what it came to on these, and on the test set."""

    label: str
    held_out: float
    test: float


class Winner(NamedTuple):
    """The best row of a seed's grid, chosen by the test set as the notebook did."""

    seed: int
    label: str
    test: float


class Failure(NamedTuple):
    """A run that failed."""

    title: str
    name: str
    message: str


class Figures(NamedTuple):
    """All that a report says.

    Attributes:
        look: what was looked for.
        standing: how far it is.
        failures: what failed, and why.
        version: of the service.
        device: that the first baseline was trained on, if there is one.
        ended: when the last run ended.
        minutes: of training and validating, of all runs that have succeeded together.
        presets: the notebook's models.
        grid: its grid, in its order.
        confusion: the baseline's confusion matrix with its first seed, if it has succeeded.
        curves: of the notebook's models.
        pairs: batch-norm against baseline, a seed each.
        difference: between their test accuracies, over the seeds.
        doses: test accuracy of image-norm, by how often its pixels are divided by 255.
        cells: batch normalisation and scaling apart.
        courses: of image-batch-norm with every seed, then of the one whose moving statistics follow at once; those that
            have succeeded.
        skew: image-norm on pixels that are divided once, or why that is not known.
        collapses: test accuracies of the grid's point that collapsed.
        winners: the grid's best rows.
        choices: the rows of the grid that held out images; those of them that have succeeded.
        rows: how many these should be.
    """

    look: Look
    standing: Standing
    failures: tuple[Failure, ...]
    version: str
    device: str | None
    ended: datetime | None
    minutes: float
    presets: tuple[PresetFigures, ...]
    grid: tuple[GridRow, ...]
    confusion: list[list[int]] | None
    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]
    difference: Spread
    doses: tuple[tuple[float, Spread], ...]
    cells: tuple[Cell, ...]
    courses: tuple[Course, ...]
    skew: Skew | str
    collapses: Spread
    winners: tuple[Winner, ...]
    choices: tuple[Choice, ...]
    rows: int


def collect(client: Client, plan: Plan, found: Found, test: Labelled | str) -> Figures:
    """Ask the service for all of it.

    Args:
        client: of the service.
        plan: what should be there.
        found: what is there.
        test: the test images, or why they are not at hand.
    """
    found = found.of(plan)
    ours = _Collector(client, plan, found)
    baseline, batch_norm = (
        [ours.accuracy(preset_run(preset.name, seed, plan.look).identity) for seed in range(plan.look.seeds)]
        for preset in (BASELINE, BATCH_NORM)
    )
    split = [grid for grid in plan.grids if grid.selects_by == "split"]
    tested = [grid for grid in plan.grids if grid.selects_by == "test"]
    first = found.succeeded(preset_run(BASELINE.name, 0, plan.look).identity)
    ends = [each.finished_at for each in found.experiments.values() if each.finished_at]
    return Figures(
        look=plan.look,
        standing=standing(plan, found),
        failures=tuple(ours.failures()),
        version=client.health().version,
        device=_device(client, first.id) if first else None,
        ended=max(ends, default=None),
        minutes=ours.minutes(),
        presets=tuple(ours.preset(preset) for preset in PRESETS),
        grid=tuple(ours.grid_row(tested, row) for row in range(len(GRID.published))),
        confusion=client.evaluation(first.id).confusion_matrix if first else None,
        curves=tuple(curve for preset in PRESETS if (curve := ours.curve(preset))),
        pairs=tuple(ours.pair(seed) for seed in range(plan.look.seeds)),
        difference=paired(baseline, batch_norm),
        doses=tuple((dose, ours.spread(dose_run(dose, plan.look, seed) for seed in ours.seeds)) for dose in DOSES),
        cells=tuple(
            Cell(*key, ours.spread(cell_run(*key, plan.look, seed) for seed in ours.seeds))
            for key in itertools.product(OPTIMIZERS, MODELS, SCALINGS)
        ),
        courses=tuple(ours.courses()),
        skew=ours.skew(test),
        collapses=ours.collapses(),
        winners=tuple(winner for grid in tested if (winner := ours.winner(grid))),
        choices=tuple(ours.choices(split)),
        rows=sum(len(grid.points) for grid in split),
    )


class _Collector:
    """Looks things up in what was found."""

    def __init__(self, client: Client, plan: Plan, found: Found) -> None:
        self.seeds = range(plan.look.seeds)
        self._client, self._plan, self._found = client, plan, found
        self._titles = plan.titles

    def accuracy(self, key: str) -> float | None:
        """Test accuracy of an experiment that has succeeded."""
        return self._figure(key, "test_accuracy")

    def spread(self, runs: Iterable[Run]) -> Spread:
        """Test accuracy of those that are planned."""
        return self._spread([run.identity for run in runs if run.identity in self._titles])

    def preset(self, preset: Preset) -> PresetFigures:
        keys = self._keys(preset)
        experiments = [self._found.succeeded(key) for key in keys]
        return PresetFigures(
            name=preset.name,
            summary=preset.summary,
            published=preset.published or {},
            ids=tuple(experiment.id for experiment in experiments if experiment),
            accuracy=self._spread(keys),
            loss=self._spread(keys, "test_loss"),
            seconds=self._spread(keys, "train_seconds"),
        )

    def grid_row(self, grids: list[Grid], row: int) -> GridRow:
        params, published = GRID.published[row]
        keys = [point.identity for grid in grids for point in grid.points if point.params == params]
        return GridRow(label(params), published, self._spread(keys))

    def curve(self, preset: Preset) -> Curve | None:
        """None while no seed has succeeded."""
        experiments = [self._found.succeeded(key) for key in self._keys(preset)]
        runs = [self._client.metrics(experiment.id) for experiment in experiments if experiment]
        accuracy = [[row.val_accuracy for row in rows if row.val_accuracy is not None] for rows in runs]
        loss = [[row.val_loss for row in rows if row.val_loss is not None] for rows in runs]
        if not any(accuracy):
            return None
        [scaling] = [name for name, factor in SCALINGS.items() if factor == preset.spec["rescale"]]
        return Curve(preset.name, scaling, _means(accuracy), _means(loss))

    def courses(self) -> Iterable[Course]:
        swinging = [preset_run(IMAGE_BATCH_NORM.name, seed, self._plan.look) for seed in self.seeds]
        for run in (*swinging, following_run(self._plan.look)):
            if experiment := self._found.succeeded(run.identity):
                rows = self._client.metrics(experiment.id)
                test = tuple(row.val_accuracy for row in rows if row.val_accuracy is not None)
                yield Course(run.title, tuple(row.train_accuracy for row in rows), test)

    def minutes(self) -> float:
        results = [each.result for key in self._titles if (each := self._found.succeeded(key))]
        return sum(result.train_seconds for result in results if result) / 60

    def pair(self, seed: int) -> Pair:
        first, second = (
            self._found.succeeded(preset_run(preset.name, seed, self._plan.look).identity)
            for preset in (BASELINE, BATCH_NORM)
        )
        if first is None or second is None:
            return Pair(seed, "one of the two is missing")
        try:
            return Pair(seed, self._client.comparison(first.id, second.id))
        except ServiceError as error:
            return Pair(seed, str(error))

    def skew(self, test: Labelled | str) -> Skew | str:
        experiment = next((each for key in self._keys(IMAGE_NORM) if (each := self._found.succeeded(key))), None)
        if isinstance(test, str):
            return test
        if experiment is None:
            return f"{IMAGE_NORM.name} is missing."
        try:
            model = self._client.download(experiment.id, "model.onnx")
        except ServiceError as error:
            return str(error)
        return skew.measure(experiment.id, model, test)

    def collapses(self) -> Spread:
        # Of the notebook's own grids: the one that holds out images has fewer of them.
        points = [point for grid in self._plan.grids if grid.selects_by == "test" for point in grid.points]
        return self._spread([point.identity for point in points if point.params == COLLAPSING])

    def winner(self, grid: Grid) -> Winner | None:
        """None until the whole grid has succeeded."""
        scores = [(self.accuracy(point.identity), label(point.params)) for point in grid.points]
        known = [(score, name) for score, name in scores if score is not None]
        if len(known) < len(scores):
            return None
        score, name = max(known, key=lambda row: row[0])
        return Winner(grid.seed, name, score)

    def choices(self, grids: list[Grid]) -> Iterable[Choice]:
        for point in (point for grid in grids for point in grid.points):
            experiment = self._found.succeeded(point.identity)
            if experiment is None or experiment.result is None:
                continue
            # What is evaluated and served is the model after the last epoch.
            held_out = self._client.metrics(experiment.id)[-1].val_accuracy
            if held_out is not None:
                yield Choice(label(point.params), held_out, experiment.result.test_accuracy)

    def failures(self) -> Iterable[Failure]:
        for key, title in self._titles.items():
            experiment = self._found.experiments.get(key)
            if experiment and experiment.state in (State.FAILED, State.CANCELLED):
                message = f"{experiment.error.message} ({experiment.error.code})" if experiment.error else "cancelled"
                yield Failure(title, experiment.name, message)

    def _keys(self, preset: Preset) -> list[str]:
        return [preset_run(preset.name, seed, self._plan.look).identity for seed in self.seeds]

    def _spread(self, keys: list[str], name: str = "test_accuracy") -> Spread:
        values = (self._figure(key, name) for key in keys)
        return Spread(tuple(value for value in values if value is not None), len(keys))

    def _figure(self, key: str, name: str) -> float | None:
        experiment = self._found.succeeded(key)
        value: Any = getattr(experiment.result, name) if experiment and experiment.result else None
        return None if value is None else float(value)


def _means(runs: list[list[float]]) -> tuple[float, ...]:
    """After each epoch that all of them have."""
    return tuple(sum(values) / len(values) for values in zip(*runs, strict=False))


def _device(client: Client, experiment_id: int) -> str | None:
    """What an experiment that has ended was trained on, last of all."""
    devices = [event.data["device"] for event in client.events(experiment_id) if event.type == "started"]
    return str(devices[-1]) if devices else None
