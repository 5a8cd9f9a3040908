"""Sweeps: what a point came to is worked out of its experiments whenever it is asked for, so it is never out of date.

Who chooses the points is in `service.sweeps`.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service import schemas
from service.errors import IllegalTransition, UnknownSweep
from service.specs.experiment import ExperimentSpec
from service.specs.sweep import Curve, Params, SweepSpec
from service.states import OPEN_TRIALS, TERMINAL, State, SweepState, TrialState
from service.store import control, queue
from service.store.clock import now
from service.store.experiments import MAX_ID
from service.store.tables import EpochMetrics, Experiment, Sweep, Trial, TrialExperiment

_RANKS = {TrialState.SUCCEEDED: 0, TrialState.RUNNING: 1, TrialState.PRUNED: 2, TrialState.QUEUED: 3}


def create(session: Session, spec: SweepSpec) -> Sweep:
    """A new sweep, without trials yet."""
    sweep = Sweep(name=spec.name, spec=spec.model_dump(mode="json"))
    session.add(sweep)
    session.flush()
    session.refresh(sweep)
    return sweep


def get(session: Session, sweep_id: int) -> Sweep:
    """One sweep.

    Raises:
        UnknownSweep: no sweep has this id.
    """
    sweep = session.get(Sweep, sweep_id) if 0 < sweep_id <= MAX_ID else None
    if sweep is None:
        raise UnknownSweep(sweep_id)
    return sweep


def locked(session: Session, sweep_id: int) -> Sweep:
    """One sweep as it is now, locked until the transaction ends.

    Raises:
        UnknownSweep: no sweep has this id.
    """
    query = select(Sweep).where(Sweep.id == get(session, sweep_id).id).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()


def page(
    session: Session, *, state: SweepState | None = None, before: int | None = None, limit: int
) -> Sequence[Sweep]:
    """At most `limit` sweeps, newest first, that are older than the sweep `before`."""
    query = select(Sweep).order_by(Sweep.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Sweep.state == state)
    if before is not None:
        query = query.where(Sweep.id < before)
    return session.scalars(query).all()


def pulses(session: Session) -> dict[int, tuple[int, int]]:
    """The sweeps that are running, each with two numbers that change as soon as anything happens in its trials."""
    counts = func.count(Experiment.id), func.coalesce(func.sum(Experiment.last_event), 0)
    query = (
        select(Sweep.id, *counts)
        .outerjoin(TrialExperiment, TrialExperiment.sweep_id == Sweep.id)
        .outerjoin(Experiment, Experiment.id == TrialExperiment.experiment_id)
        .where(Sweep.state == SweepState.RUNNING)
        .group_by(Sweep.id)
    )
    return {sweep_id: (count, events) for sweep_id, count, events in session.execute(query)}


def add_trial(
    session: Session, sweep: Sweep, params: Params, number: int, specs: Sequence[ExperimentSpec]
) -> schemas.Trial:
    """A further trial, with its experiments in the queue."""
    trial = Trial(sweep_id=sweep.id, number=number, params=params)
    session.add(trial)
    session.flush()
    experiments = [queue.enqueue(session, spec) for spec in specs]
    for experiment in experiments:
        session.add(TrialExperiment(experiment_id=experiment.id, sweep_id=sweep.id, trial=number))
    session.flush()
    return _trial(trial, [_trial_experiment(experiment, {}, _maximises(sweep)) for experiment in experiments], [])


def add_impossible(session: Session, sweep: Sweep, params: Params, number: int, message: str) -> schemas.Trial:
    """A further trial that no experiment can be made of."""
    trial = Trial(sweep_id=sweep.id, number=number, params=params, error_message=message)
    session.add(trial)
    session.flush()
    return _trial(trial, [], [])


def prune(session: Session, sweep: Sweep, trial: schemas.Trial, epoch: int) -> None:
    """End a trial early."""
    row = session.get_one(Trial, (sweep.id, trial.number))
    row.pruned_epoch = epoch
    _cancel(session, trial, {"reason": "pruned", "sweep": sweep.id, "epoch": epoch})


def finish(session: Session, sweep: Sweep, state: SweepState, message: str | None = None) -> None:
    """The sweep has ended."""
    sweep.state = state
    sweep.error_message = message
    sweep.finished_at = now()
    session.flush()
    session.refresh(sweep)


def cancel(session: Session, sweep_id: int) -> Sweep:
    """End a sweep, and its trials with it.

    Raises:
        UnknownSweep: no sweep has this id.
        IllegalTransition: it has ended already.
    """
    sweep = locked(session, sweep_id)
    if sweep.state != SweepState.RUNNING:
        raise IllegalTransition(f"A sweep that is {sweep.state} cannot be cancelled.")
    for trial in trials(session, sweep):
        _cancel(session, trial, {"reason": "sweep_cancelled", "sweep": sweep.id})
    finish(session, sweep, SweepState.CANCELLED)
    return sweep


def trials(session: Session, sweep: Sweep) -> list[schemas.Trial]:
    """A sweep's trials and what they have come to, in the order in which they were begun."""
    experiments: dict[int, list[schemas.TrialExperiment]] = defaultdict(list)
    seconds: dict[int, list[float]] = defaultdict(list)
    known, maximises = curves(session, sweep), _maximises(sweep)
    for number, row in _experiments(session, sweep):
        experiments[number].append(_trial_experiment(row, known.get(row.id, {}), maximises))
        if row.train_seconds is not None:
            seconds[number].append(row.train_seconds)
    query = select(Trial).where(Trial.sweep_id == sweep.id).order_by(Trial.number)
    return [_trial(row, experiments[row.number], seconds[row.number]) for row in session.scalars(query)]


def curves(session: Session, sweep: Sweep) -> Mapping[int, Curve]:
    """The objective of the sweep's experiments after each of their epochs, by the experiment's id."""
    column = EpochMetrics.val_accuracy if _maximises(sweep) else EpochMetrics.val_loss
    query = (
        select(EpochMetrics.experiment_id, EpochMetrics.epoch, column)
        .join(TrialExperiment, TrialExperiment.experiment_id == EpochMetrics.experiment_id)
        .where(TrialExperiment.sweep_id == sweep.id, column.is_not(None))
        .order_by(EpochMetrics.experiment_id, EpochMetrics.epoch)
    )
    found: dict[int, Curve] = defaultdict(dict)
    for experiment_id, epoch, value in session.execute(query):
        assert value is not None
        found[experiment_id][epoch] = value
    return found


def summary(session: Session, sweep: Sweep) -> schemas.Sweep:
    """A sweep's record."""
    return schemas.Sweep(**_record(sweep, trials(session, sweep)))


def details(session: Session, sweep: Sweep) -> schemas.SweepDetails:
    """A sweep's record with its trials, the best first."""
    found = trials(session, sweep)
    return schemas.SweepDetails(**_record(sweep, found), trials=ranked(found, _maximises(sweep)))


def ranked(items: Sequence[schemas.Trial], maximises: bool) -> list[schemas.Trial]:
    """The best first; those that have not succeeded, or have no value, behind."""

    def rank(trial: schemas.Trial) -> tuple[int, bool, float, int]:
        value = trial.value or 0.0
        return _RANKS.get(trial.state, 4), trial.value is None, -value if maximises else value, trial.number

    return sorted(items, key=rank)


def _record(sweep: Sweep, items: Sequence[schemas.Trial]) -> dict[str, Any]:
    spec = SweepSpec.model_construct(**sweep.spec)
    succeeded = [trial for trial in items if trial.state == TrialState.SUCCEEDED and trial.value is not None]
    return {
        "id": sweep.id,
        "name": sweep.name,
        "tags": sweep.spec["tags"],
        "state": sweep.state,
        "spec": sweep.spec,
        "progress": schemas.SweepProgress(
            trials=max(spec.points, len(items)),
            begun=len(items),
            ended=sum(trial.state not in OPEN_TRIALS for trial in items),
            epochs=sum(trial.epochs for trial in items),
        ),
        "best": ranked(succeeded, _maximises(sweep))[0] if succeeded else None,
        "error": sweep.error_message,
        "created_at": sweep.created_at,
        "finished_at": sweep.finished_at,
    }


def _experiments(session: Session, sweep: Sweep) -> Sequence[Any]:
    columns = (
        Experiment.id,
        Experiment.spec,
        Experiment.state,
        Experiment.epoch,
        Experiment.test_accuracy,
        Experiment.train_seconds,
    )
    query = (
        select(TrialExperiment.trial, *columns)
        .join(Experiment, Experiment.id == TrialExperiment.experiment_id)
        .where(TrialExperiment.sweep_id == sweep.id)
        .order_by(TrialExperiment.trial, Experiment.id)
    )
    return [(row.trial, row) for row in session.execute(query)]


def _trial_experiment(row: Any, curve: Curve, maximises: bool) -> schemas.TrialExperiment:
    """Of an experiment, or the columns of one."""
    best_epoch = (max if maximises else min)(curve, key=curve.__getitem__) if curve else None
    return schemas.TrialExperiment(
        id=row.id,
        seed=row.spec["seed"],
        state=State(row.state),
        epochs=row.epoch,
        value=None if best_epoch is None else curve[best_epoch],
        best_epoch=best_epoch,
        test_accuracy=row.test_accuracy,
    )


def _trial(row: Trial, experiments: list[schemas.TrialExperiment], seconds: list[float]) -> schemas.Trial:
    state = _state(row, [each.state for each in experiments])
    values = [each.value for each in experiments if each.value is not None]
    accuracies = [each.test_accuracy for each in experiments if each.test_accuracy is not None]
    return schemas.Trial(
        number=row.number,
        state=state,
        params=row.params,
        value=_mean(values),
        value_std=_deviation(values),
        test_accuracy=_mean(accuracies),
        test_accuracy_std=_deviation(accuracies),
        train_seconds=sum(seconds) if seconds else None,
        epochs=sum(each.epochs for each in experiments),
        pruned_epoch=row.pruned_epoch,
        error=row.error_message,
        experiments=experiments,
    )


def _state(row: Trial, states: Sequence[State]) -> TrialState:
    if row.error_message is not None:
        return TrialState.FAILED
    # One that was to be ended early may have been too near its end for that.
    if states and all(state == State.SUCCEEDED for state in states):
        return TrialState.SUCCEEDED
    if row.pruned_epoch is not None:
        return TrialState.PRUNED
    if any(state not in TERMINAL for state in states):
        begun = any(state == State.RUNNING or state in TERMINAL for state in states)
        return TrialState.RUNNING if begun else TrialState.QUEUED
    return TrialState.FAILED if State.FAILED in states else TrialState.CANCELLED


def _cancel(session: Session, trial: schemas.Trial, why: dict[str, Any]) -> None:
    for experiment in trial.experiments:
        if experiment.state not in TERMINAL:
            control.cancel(session, experiment.id, why)


def _maximises(sweep: Sweep) -> bool:
    return bool(sweep.spec["objective"] == "val_accuracy")


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
