"""Leases: the right to work on an experiment, and writes that only happen while it holds.

A claim makes a fresh token. Every later write of the worker is conditional on it, so a worker that was thought dead
cannot touch what another one has taken over.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.specs.experiment import ExperimentSpec
from service.states import State
from service.store.tables import Event, Experiment


@dataclass(frozen=True)
class Lease:
    """The right to work on an experiment, until it runs out or is replaced."""

    experiment_id: int
    token: str
    attempt: int
    spec: ExperimentSpec


def fenced(session: Session, lease: Lease, *, event: str | None = None, data: Any = None, **values: Any) -> Any:
    """Write to the lease's experiment, and record an event, only if the lease still holds. Returns `requested`.

    Raises:
        LeaseLost: it does not; nothing was written.
    """
    if event is not None:
        values["last_event"] = Experiment.last_event + 1
    statement = (
        update(Experiment)
        .where(_holds(lease))
        .values(**values)
        .returning(Experiment.last_event, Experiment.requested)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        raise _lost(lease)
    if event is not None:
        session.add(Event(experiment_id=lease.experiment_id, number=row.last_event, type=event, data=data or {}))
        session.flush()
    return row.requested


def held(session: Session, lease: Lease) -> Experiment:
    """The lease's experiment, locked until the transaction ends: whoever wants to change it comes before or after.

    Raises:
        LeaseLost: the lease does not hold any more.
    """
    statement = select(Experiment).where(_holds(lease)).with_for_update().execution_options(populate_existing=True)
    experiment = session.scalars(statement).one_or_none()
    if experiment is None:
        raise _lost(lease)
    return experiment


def _holds(lease: Lease) -> ColumnElement[bool]:
    return and_(
        Experiment.id == lease.experiment_id, Experiment.state == State.RUNNING, Experiment.lease_token == lease.token
    )


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"Experiment {lease.experiment_id} is no longer this worker's (attempt {lease.attempt}).")
