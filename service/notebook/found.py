"""What a service has of a plan: its experiments and sweeps are found again by what they would come to."""

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError

from service import schemas
from service.client import Client
from service.notebook.plan import TAG, Plan, grid_identity, identity
from service.specs.experiment import ExperimentSpec
from service.specs.sweep import STORED, SweepSpec
from service.states import TERMINAL, State, SweepState

MOST = 1_000_000
"""Experiments that are looked through, and sweeps: all of them."""

DEAD = frozenset({State.FAILED, State.CANCELLED})
DEAD_SWEEPS = frozenset({SweepState.FAILED, SweepState.CANCELLED})


class Found(NamedTuple):
    """By identity: of experiments and sweeps that come to the same the newest, but one that lives, or has succeeded,
    before one that failed or was cancelled."""

    experiments: dict[str, schemas.Experiment]
    sweeps: dict[str, schemas.Sweep]

    def succeeded(self, key: str) -> schemas.Experiment | None:
        """The experiment of an identity, if it has succeeded."""
        experiment = self.experiments.get(key)
        return experiment if experiment and experiment.state == State.SUCCEEDED else None

    def of(self, plan: Plan) -> "Found":
        """Without what belongs to another look at the notebook."""
        titles = plan.titles
        return Found({key: each for key, each in self.experiments.items() if key in titles}, self.sweeps)


class Standing(NamedTuple):
    """How far a plan is; each list has what its runs are called."""

    total: int
    succeeded: list[str]
    failed: list[str]
    running: list[tuple[str, schemas.Experiment]]
    paused: list[str]
    waiting: list[str]

    @property
    def ended(self) -> int:
        """How many have ended, well or badly."""
        return len(self.succeeded) + len(self.failed)


class Finder:
    """Looks for what there is, time and again. What an experiment is is worked out once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[int, str | None] = {}

    def look(self) -> Found:
        """Ask the service for all experiments of the notebook, and for all sweeps."""
        # Sweeps first: what one that has ended then has come to is among the experiments that are asked for later.
        sweeps = self._sweeps(self._client.sweeps(limit=MOST))
        experiments: dict[str, schemas.Experiment] = {}
        for experiment in self._client.experiments(tag=TAG, limit=MOST):
            if experiment.id not in self._known:
                self._known[experiment.id] = _identity(experiment)
            key = self._known[experiment.id]
            if key and (key not in experiments or _is_better(experiment, experiments[key])):
                experiments[key] = experiment
        return Found(experiments, sweeps)

    def _sweeps(self, items: Iterable[schemas.Sweep]) -> dict[str, schemas.Sweep]:
        sweeps: dict[str, schemas.Sweep] = {}
        for item in items:
            key = _sweep_identity(item) if TAG in item.tags else None
            if key and (key not in sweeps or (sweeps[key].state in DEAD_SWEEPS and item.state not in DEAD_SWEEPS)):
                sweeps[key] = item
        return sweeps


def standing(plan: Plan, found: Found) -> Standing:
    """How far a plan is."""
    sweeps = {point.identity: found.sweeps.get(grid.identity) for grid in plan.grids for point in grid.points}
    result = Standing(len(plan.titles), [], [], [], [], [])
    for key, title in plan.titles.items():
        experiment = found.experiments.get(key)
        sweep = sweeps.get(key)
        if sweep and sweep.state == SweepState.RUNNING and not _has(sweep, experiment):
            # A sweep that has only just been begun again still has its trials before it.
            result.waiting.append(title)
        elif experiment is None:
            # A row of a grid whose sweep has ended without it has failed.
            (result.failed if sweep else result.waiting).append(title)
        elif experiment.state == State.RUNNING:
            result.running.append((title, experiment))
        elif experiment.state not in TERMINAL:
            (result.paused if experiment.state == State.PAUSED else result.waiting).append(title)
        else:
            (result.succeeded if experiment.state == State.SUCCEEDED else result.failed).append(title)
    return result


def _has(sweep: schemas.Sweep, experiment: schemas.Experiment | None) -> bool:
    """Whether an experiment stands for a row of a sweep: it has not failed, or it is the sweep's own."""
    if experiment is None:
        return False
    return experiment.state not in DEAD or (experiment.sweep is not None and experiment.sweep.sweep_id == sweep.id)


def _identity(experiment: schemas.Experiment) -> str | None:
    """None for what this version cannot read."""
    try:
        return identity(ExperimentSpec.model_validate(experiment.spec))
    except ValidationError:
        return None


def _sweep_identity(sweep: schemas.Sweep) -> str | None:
    try:
        return grid_identity(SweepSpec.model_validate(sweep.spec, context=STORED))
    except (ValidationError, ValueError):
        return None


def _is_better(experiment: schemas.Experiment, present: schemas.Experiment) -> bool:
    """Whether an older experiment stands for both: the present one has come to nothing, this one may, or has."""
    return present.state in DEAD and experiment.state not in DEAD
