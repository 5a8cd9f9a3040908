"""Reading experiments and what happened to them."""

from collections.abc import Sequence
from typing import TypeVarTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from service.errors import NotReached, UnknownExperiment
from service.states import State
from service.store.tables import EpochMetrics, Evaluation, Event, Experiment, Tag, TrialExperiment

Columns = TypeVarTuple("Columns")

MAX_ID = 2**31 - 1
"""Largest id of an experiment: its column is a 32-bit integer on Postgres."""


def get(session: Session, experiment_id: int) -> Experiment:
    """One experiment.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    # Beyond the column's range the databases would raise instead of finding nothing.
    experiment = session.get(Experiment, experiment_id) if 0 < experiment_id <= MAX_ID else None
    if experiment is None:
        raise UnknownExperiment(experiment_id)
    return experiment


def locked(session: Session, experiment_id: int) -> Experiment:
    """One experiment as it is now, locked until the transaction ends.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    if not 0 < experiment_id <= MAX_ID:
        raise UnknownExperiment(experiment_id)
    query = select(Experiment).where(Experiment.id == experiment_id).with_for_update()
    experiment = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if experiment is None:
        raise UnknownExperiment(experiment_id)
    return experiment


def page(
    session: Session,
    *,
    state: State | None = None,
    tag: str | None = None,
    sweep: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[Experiment]:
    """At most `limit` experiments, newest first, that are older than the experiment `before`."""
    query = filtered(select(Experiment), state, tag, sweep).order_by(Experiment.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Experiment.id < before)
    return session.scalars(query).all()


def filtered(query: Select[*Columns], state: State | None, tag: str | None, sweep: int | None) -> Select[*Columns]:
    """A query of experiments, for those in this state, with this tag, of this sweep only; None leaves none out."""
    if state is not None:
        query = query.where(Experiment.state == state)
    if tag is not None:
        query = query.where(Experiment.id.in_(select(Tag.experiment_id).where(Tag.tag == tag)))
    if sweep is not None:
        of_sweep = select(TrialExperiment.experiment_id).where(TrialExperiment.sweep_id == sweep)
        query = query.where(Experiment.id.in_(of_sweep))
    return query


def metrics(session: Session, experiment_id: int) -> Sequence[EpochMetrics]:
    """The epochs that are finished, in order.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    get(session, experiment_id)
    query = select(EpochMetrics).where(EpochMetrics.experiment_id == experiment_id).order_by(EpochMetrics.epoch)
    return session.scalars(query).all()


def evaluation(session: Session, experiment_id: int) -> Evaluation:
    """The evaluation on the test set.

    Raises:
        UnknownExperiment: no experiment has this id.
        NotReached: it has not been evaluated.
    """
    experiment = get(session, experiment_id)
    found = session.get(Evaluation, experiment_id)
    if found is None:
        raise NotReached(f"Experiment {experiment_id} is {experiment.state} and has no evaluation.")
    return found


def events(session: Session, experiment_id: int, after: int = 0) -> Sequence[Event]:
    """What happened to an experiment after its event number `after`, in order."""
    query = select(Event).where(Event.experiment_id == experiment_id, Event.number > after).order_by(Event.number)
    return session.scalars(query).all()


def count_by_state(session: Session) -> dict[State, int]:
    """How many experiments are in each state."""
    counted = session.execute(select(Experiment.state, func.count()).group_by(Experiment.state))
    return dict.fromkeys(State, 0) | {State(state): count for state, count in counted}
