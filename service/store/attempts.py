"""The history of an experiment's attempts: which worker held it, from when until when, and what ended it."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from service.store import experiments
from service.store.clock import now
from service.store.tables import Attempt

SHUTDOWN = "worker_shutdown"
"""Given back by a worker that was told to end."""

PAUSED = "paused"
"""Given back because its owner asked for a pause."""

EXPIRED = "lease_expired"
"""Given back by its worker, which had stopped it because it could not renew the lease."""

NOT_STARTED = "process_not_started"
"""Given back because its training process died before it took the job."""

UNSPENT = frozenset({SHUTDOWN, PAUSED, EXPIRED, NOT_STARTED})
"""Outcomes that do not count towards an experiment's `max_attempts`: neither it nor its worker is to blame."""


def begin(session: Session, experiment_id: int, worker: str) -> None:
    """A worker has claimed the experiment."""
    numbers = select(func.coalesce(func.max(Attempt.number), 0)).where(Attempt.experiment_id == experiment_id)
    number = session.scalars(numbers).one() + 1
    session.add(Attempt(experiment_id=experiment_id, number=number, worker=worker))
    session.flush()


def close(session: Session, experiment_id: int, outcome: str, message: str | None) -> None:
    """The attempt that runs is over."""
    session.execute(
        update(Attempt)
        .where(Attempt.experiment_id == experiment_id, Attempt.ended_at.is_(None))
        .values(ended_at=now(), outcome=outcome, message=message)
        .execution_options(synchronize_session=False)
    )


def of(session: Session, experiment_id: int) -> Sequence[Attempt]:
    """An experiment's attempts, in order.

    Raises:
        UnknownExperiment: no experiment has this id.
    """
    experiments.get(session, experiment_id)
    query = select(Attempt).where(Attempt.experiment_id == experiment_id).order_by(Attempt.number)
    return session.scalars(query).all()
