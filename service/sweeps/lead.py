"""One step of a sweep: end what is hopeless, begin what there is room for, and see whether all is done.

Any process may take the step, several at the same moment: the sweep's row is locked meanwhile, and all that decides is
in the database.
"""

import importlib.util
import logging

from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service import schemas
from service.specs.sweep import STORED, SweepSpec
from service.states import OPEN_TRIALS, SweepState, TrialState
from service.store import sweeps, tables
from service.store.database import writing
from service.sweeps import pruners, samplers

logger = logging.getLogger(__name__)


def lacks_optuna(spec: SweepSpec) -> bool:
    """Whether the sweep needs Optuna, an extra, and it is not installed here."""
    return spec.sampler == "tpe" and importlib.util.find_spec("optuna") is None


def step(database: Engine, sweep_id: int) -> None:
    """Bring a sweep as far as it can be brought now."""
    with writing(database) as session:
        sweep = sweeps.locked(session, sweep_id)
        if sweep.state != SweepState.RUNNING:
            return
        try:
            spec = SweepSpec.model_validate(sweep.spec, context=STORED)
        except ValidationError as error:
            message = f"This version cannot read the spec: {error.errors()[0]['msg']}."
            sweeps.finish(session, sweep, SweepState.FAILED, message)
            return
        _prune(session, sweep, spec)
        _finish(session, sweep, spec, _begin(session, sweep, spec))


def _prune(session: Session, sweep: tables.Sweep, spec: SweepSpec) -> None:
    if spec.pruner is None:
        return
    trials, curves = sweeps.trials(session, sweep), sweeps.curves(session, sweep)
    for trial in pruners.hopeless(spec, trials, curves):
        logger.info("sweep %d: trial %d is pruned after epoch %d", sweep.id, trial.number, trial.epochs)
        sweeps.prune(session, sweep, trial, trial.epochs)


def _begin(session: Session, sweep: tables.Sweep, spec: SweepSpec) -> list[schemas.Trial]:
    """Begin trials while there is room for them; returns all that there are then."""
    trials = sweeps.trials(session, sweep)
    while len(trials) < spec.points and _open(trials) < spec.parallel:
        params, number = samplers.suggest(spec, trials), len(trials) + 1
        try:
            specs = spec.experiments(params, number)
        except ValidationError as error:
            # Each value is possible, but not together.
            trials.append(sweeps.add_impossible(session, sweep, params, number, _said(error)))
        else:
            trials.append(sweeps.add_trial(session, sweep, params, number, specs))
    return trials


def _finish(session: Session, sweep: tables.Sweep, spec: SweepSpec, trials: list[schemas.Trial]) -> None:
    if len(trials) < spec.points or _open(trials):
        return
    found = any(trial.state == TrialState.SUCCEEDED and trial.value is not None for trial in trials)
    if found:
        sweeps.finish(session, sweep, SweepState.SUCCEEDED)
    else:
        sweeps.finish(session, sweep, SweepState.FAILED, "No trial has succeeded.")
    logger.info("sweep %d: %s", sweep.id, sweep.state)


def _open(trials: list[schemas.Trial]) -> int:
    return sum(trial.state in OPEN_TRIALS for trial in trials)


def _said(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
