"""Which experiments the notebook comes to: data, and pure functions.

Its own ones are its presets, for every seed. The proofs show what misled its reader; their effects are large, so that
one seed each does.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from service.specs.experiment import ExperimentSpec
from service.specs.fingerprint import decisive, digest
from service.specs.presets import (
    ADADELTA,
    ADAM,
    BASELINE,
    BATCH_NORM,
    EXTRA_CONV,
    IMAGE_BATCH_NORM,
    IMAGE_NORM,
    NORMALISED,
    PLAIN,
    SCALED_TWICE,
)
from service.specs.sweep import Params, SweepSpec
from service.specs.sweep_presets import GRID

TAG = "notebook"
"""On all experiments and sweeps of the plan."""

PRESETS = (BASELINE, BATCH_NORM, IMAGE_NORM, IMAGE_BATCH_NORM, EXTRA_CONV)
MAX_SEEDS = 100
PROOF_SEED = 0

DOSES = (1.0, 1.5, 2.0)
"""How often pixels are divided by 255, from once to twice: the scaling is 255 to the power of minus this."""

SELECTION_IMAGES = 10_000
"""The grid that holds out a tenth of its training images has the first so many: it is about the choice, not about how
good the chosen row is, and takes a sixth of the time."""

SCALINGS = {"/ 255": 1 / 255, "/ 255 / 255": SCALED_TWICE}
OPTIMIZERS = {"Adadelta": ADADELTA, "Adam": ADAM}
MODELS = {"without": PLAIN, "with": NORMALISED}
"""Without and with batch normalisation."""

FOLLOWING = 0.5
"""Momentum of moving statistics that follow a network at once: half of each is of the last batch. Keras's is 0.99."""

COLLAPSING = {"batch_size": 64, "optimizer.name": "adam", "optimizer.learning_rate": 0.01}
"""The point of the grid that the notebook printed 0.1032 for."""

PUBLISHED_CONFUSION = (
    (977, 0, 1, 0, 0, 0, 0, 1, 1, 0),
    (0, 1132, 0, 2, 0, 0, 1, 0, 0, 0),
    (0, 2, 1023, 0, 0, 0, 0, 5, 2, 0),
    (0, 0, 2, 1003, 0, 2, 0, 1, 2, 0),
    (0, 0, 1, 0, 971, 0, 4, 0, 2, 4),
    (1, 0, 0, 4, 0, 886, 1, 0, 0, 0),
    (7, 2, 0, 1, 1, 3, 942, 0, 2, 0),
    (1, 2, 4, 2, 0, 0, 0, 1015, 1, 3),
    (4, 0, 1, 0, 0, 0, 0, 1, 966, 2),
    (2, 1, 0, 2, 3, 5, 0, 4, 4, 988),
)
"""What the notebook printed for its baseline: rows are actual, columns predicted digits."""

Group = Literal["notebook", "proofs"]


class Look(NamedTuple):
    """How closely the notebook is looked at.

    Attributes:
        seeds: from 0 on, so many.
        train_limit: train on the first so many images only.
        epochs: instead of the notebook's.
        dataset: instead of MNIST.
        proofs: whether there are the runs, too, that show what misled.
    """

    seeds: int = 3
    train_limit: int | None = None
    epochs: int | None = None
    dataset: str | None = None
    proofs: bool = True

    @property
    def fields(self) -> dict[str, Any]:
        """What it changes in every spec."""
        given = {"train_limit": self.train_limit, "epochs": self.epochs, "dataset": self.dataset}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def options(self) -> str:
        """The options of the command that mean this, the number of seeds left out."""
        given = {"--limit": self.train_limit, "--epochs": self.epochs, "--dataset": self.dataset}
        return "".join(f" {name} {value}" for name, value in given.items() if value is not None)


class Run(NamedTuple):
    """An experiment; two of the same `identity` come to the same, whatever they are called."""

    title: str
    group: Group
    seed: int
    request: dict[str, Any]
    identity: str


class Point(NamedTuple):
    """A row of the grid, as an experiment of its sweep; `request` is the same one, on its own."""

    params: Params
    request: dict[str, Any]
    identity: str


class Grid(NamedTuple):
    """The notebook's grid, as a sweep; `selects_by` says what its best row is chosen by."""

    title: str
    group: Group
    seed: int
    request: dict[str, Any]
    points: tuple[Point, ...]
    identity: str
    selects_by: Literal["test", "split"]


class Plan(NamedTuple):
    """All runs, in the order in which they are submitted. No experiment is in it twice."""

    look: Look
    runs: tuple[Run, ...]
    grids: tuple[Grid, ...]

    @property
    def titles(self) -> dict[str, str]:
        """What each experiment is called, by its identity."""
        singles = {run.identity: run.title for run in self.runs}
        points = {point.identity: _row(grid.title, point.params) for grid in self.grids for point in grid.points}
        return singles | points

    @property
    def groups(self) -> dict[str, Group]:
        """Which group each experiment belongs to, by its identity."""
        singles = {run.identity: run.group for run in self.runs}
        return singles | {point.identity: grid.group for grid in self.grids for point in grid.points}


def plan(look: Look) -> Plan:
    """What a look comes to.

    Raises:
        ValidationError: of its fields, one cannot be.
    """
    seeds = range(look.seeds)
    runs = [preset_run(preset.name, seed, look) for seed in seeds for preset in PRESETS]
    grids = [_grid(seed, look) for seed in seeds]
    if look.proofs:
        runs += _proofs(look)
        grids.append(_grid(PROOF_SEED, look, on_split=True))
    # What a preset covers already is not run again as a proof.
    single: dict[str, Run] = {}
    for run in runs:
        single.setdefault(run.identity, run)
    return Plan(look, tuple(single.values()), tuple(grids))


def preset_run(name: str, seed: int, look: Look) -> Run:
    """A preset's experiment with a seed."""
    return _run(name, "notebook", seed, {"preset": name}, look)


def dose_run(dose: float, look: Look, seed: int = PROOF_SEED) -> Run:
    """`image-norm`, its pixels divided by 255 so many times."""
    # The ends are what the presets have, to the last bit: the same experiments.
    ends = {DOSES[0]: 1 / 255, DOSES[-1]: SCALED_TWICE}
    rescale = ends.get(dose, 255**-dose)
    given = {"preset": IMAGE_NORM.name, "rescale": rescale}
    return _run(f"image-norm, pixels / 255^{dose:g}", "proofs", seed, given, look)


def cell_run(optimizer: str, model: str, scaling: str, look: Look, seed: int = PROOF_SEED) -> Run:
    """Batch normalisation and scaling apart: keys of `OPTIMIZERS`, `MODELS` and `SCALINGS`."""
    given = {
        "preset": BASELINE.name,
        "optimizer": OPTIMIZERS[optimizer],
        "model": {"layers": MODELS[model]},
        "rescale": SCALINGS[scaling],
    }
    title = f"{optimizer}, {model} batch normalisation, pixels {scaling}"
    return _run(title, "proofs", seed, given, look)


def following_run(look: Look, seed: int = PROOF_SEED) -> Run:
    """`image-batch-norm`, the statistics that it predicts with following those of its batches at once."""
    layers = [
        layer | {"momentum": FOLLOWING} if layer["type"] == "batch_normalization" else layer for layer in NORMALISED
    ]
    given = {"preset": IMAGE_BATCH_NORM.name, "model": {"layers": layers}}
    return _run(f"image-batch-norm, momentum {FOLLOWING:g}", "proofs", seed, given, look)


def selection_images(look: Look) -> int:
    """How many training images the grid has that holds out a tenth of them."""
    return min(SELECTION_IMAGES, look.train_limit or SELECTION_IMAGES)


def begun_seeds(look: Look, seeds: Iterable[int], found: Mapping[str, Any]) -> int:
    """How many seeds were begun.

    Args:
        look: its own number of seeds is left aside.
        seeds: those that experiments have.
        found: experiments by their identity.
    """
    for seed in sorted((seed for seed in set(seeds) if seed < MAX_SEEDS), reverse=True):
        identities = {preset_run(preset.name, seed, look).identity for preset in PRESETS}
        identities |= {point.identity for point in _grid(seed, look).points}
        if identities & found.keys():
            return seed + 1
    return 0


def identity(spec: ExperimentSpec) -> str:
    """The same for two experiments that would come to the same."""
    return digest(decisive(spec))


def grid_identity(spec: SweepSpec) -> str:
    """The same for two sweeps of the same experiments."""
    return digest([identity(each) for params in spec.grid() for each in spec.experiments(params, 0)])


def label(params: Params) -> str:
    """A row of the grid in words."""
    name, rate = params["optimizer.name"], params["optimizer.learning_rate"]
    return f"batch {params['batch_size']}, {name} {rate:g}"


def _proofs(look: Look) -> Iterator[Run]:
    for dose in DOSES:
        yield dose_run(dose, look)
    for optimizer in OPTIMIZERS:
        for model in MODELS:
            for scaling in SCALINGS:
                yield cell_run(optimizer, model, scaling, look)
    yield following_run(look)


def _run(title: str, group: Group, seed: int, given: dict[str, Any], look: Look) -> Run:
    title = f"{title}, seed {seed}"
    request = given | look.fields | {"name": f"notebook: {title}", "tags": [TAG], "seed": seed}
    return Run(title, group, seed, request, identity(ExperimentSpec.model_validate(request)))


def _grid(seed: int, look: Look, on_split: bool = False) -> Grid:
    title = f"grid{' chosen by held-out images' if on_split else ''}, seed {seed}"
    base: dict[str, Any] = look.fields | {"seed": seed}
    if on_split:
        base["validation"] = {"on": "split"}
        base["train_limit"] = selection_images(look)
    request = {"preset": GRID.name, "name": f"notebook: {title}", "tags": [TAG], "base": base}
    spec = SweepSpec.model_validate(request)
    points = tuple(_point(title, spec, params) for params in spec.grid())
    group: Group = "proofs" if on_split else "notebook"
    return Grid(title, group, seed, request, points, grid_identity(spec), "split" if on_split else "test")


def _point(title: str, sweep: SweepSpec, params: Params) -> Point:
    request = sweep.request(params) | {"name": f"notebook: {_row(title, params)}", "tags": [TAG]}
    return Point(params, request, identity(sweep.experiments(params, 0)[0]))


def _row(title: str, params: Params) -> str:
    return f"{title}: {label(params)}"
