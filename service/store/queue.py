"""The queue: putting experiments in, claiming them under a lease, keeping and giving up the lease.

A claim gives the experiment a fresh lease token. Every later write of the worker is conditional on that token
(`service.store.results`), so a worker that was thought dead cannot touch what another one has taken over.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Update, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from service import states
from service.errors import LeaseLost
from service.specs.experiment import ExperimentSpec
from service.states import TERMINAL, State
from service.store import experiments
from service.store.clock import now
from service.store.tables import Event, Experiment, Tag

MAX_ATTEMPTS = 3
"""How often an experiment is begun before it is given up."""


@dataclass(frozen=True)
class Lease:
    """The right to work on an experiment, until it runs out or is replaced."""

    experiment_id: int
    token: str
    attempt: int
    spec: ExperimentSpec


def enqueue(session: Session, spec: ExperimentSpec) -> Experiment:
    """A new experiment, queued."""
    experiment = Experiment(
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        priority=spec.priority,
        epochs=spec.epochs,
        last_event=1,
        tag_rows=[Tag(tag=tag, position=position) for position, tag in enumerate(spec.tags)],
    )
    session.add(experiment)
    session.flush()
    session.add(Event(experiment_id=experiment.id, number=1, type=State.QUEUED, data={}))
    session.flush()
    session.refresh(experiment)
    return experiment


def has_work(session: Session) -> bool:
    """Whether something is queued or has lost its worker. A cheap look: it takes no lock."""
    lost = and_(Experiment.state == State.RUNNING, Experiment.lease_expires_at < now())
    return bool(session.scalar(select(exists().where(or_(Experiment.state == State.QUEUED, lost)))))


def claim(session: Session, worker: str, lease_seconds: float) -> Lease | None:
    """Take the queued experiment of the highest priority, the oldest of these; None where nothing is queued.

    One statement on both databases: on Postgres claimants pass over each other's rows, on SQLite they take turns.
    """
    # SKIP LOCKED is Postgres's; SQLite's dialect leaves it out, as there BEGIN IMMEDIATE admits one writer at a time.
    best = (
        select(Experiment.id)
        .where(Experiment.state == State.QUEUED)
        .order_by(Experiment.priority.desc(), Experiment.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("best")
    )
    statement = (
        update(Experiment)
        .where(Experiment.id == select(best.c.id).scalar_subquery(), Experiment.state == State.QUEUED)
        .values(
            state=State.RUNNING,
            attempt=Experiment.attempt + 1,
            worker=worker,
            lease_token=uuid.uuid4().hex,
            lease_expires_at=now(lease_seconds),
            started_at=now(),
        )
        .returning(Experiment.id, Experiment.lease_token, Experiment.attempt, Experiment.spec)
        .execution_options(synchronize_session=False)
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        return None
    try:
        spec = ExperimentSpec.model_validate(row.spec)
    except ValidationError as error:
        # Stored by another version of the service. Left in the queue it would stop every worker at its head.
        message = f"This version cannot read the spec: {error.errors()[0]['msg']}."
        _fail(session, experiments.get(session, row.id), "invalid_spec", message)
        return claim(session, worker, lease_seconds)
    lease = Lease(row.id, row.lease_token, row.attempt, spec)
    fenced(session, lease, event=State.RUNNING, data={"attempt": lease.attempt, "worker": worker})
    return lease


def fenced(session: Session, lease: Lease, *, event: str | None = None, data: Any = None, **values: Any) -> None:
    """Write to the lease's experiment, and record an event, only if the lease still holds.

    Raises:
        LeaseLost: it does not; nothing was written.
    """
    if event is not None:
        values["last_event"] = Experiment.last_event + 1
    number = session.scalar(_of(lease).values(**values).returning(Experiment.last_event))
    if number is None:
        raise _lost(lease)
    if event is not None:
        session.add(Event(experiment_id=lease.experiment_id, number=number, type=event, data=data or {}))
        session.flush()


def heartbeat(session: Session, lease: Lease, lease_seconds: float) -> bool:
    """Renew a lease; True if the experiment's owner has asked for it to be cancelled.

    Raises:
        LeaseLost: the experiment is somebody else's by now.
    """
    statement = _of(lease).values(lease_expires_at=now(lease_seconds)).returning(Experiment.cancel_requested)
    cancel = session.scalar(statement)
    if cancel is None:
        raise _lost(lease)
    return cancel


def give_back(session: Session, lease: Lease) -> None:
    """Put the experiment back into the queue without counting the attempt, as a worker does when it shuts down; if its
    owner has asked for its end, it is cancelled instead.

    Raises:
        LeaseLost: the experiment is somebody else's by now.
    """
    # Locked, so that a request to cancel comes either before this or finds the experiment queued.
    asked = select(Experiment.cancel_requested).where(Experiment.id == lease.experiment_id).with_for_update()
    if session.scalar(asked):
        fenced(session, lease, event=State.CANCELLED, **RELEASED, state=State.CANCELLED, finished_at=now())
        return
    values = REQUEUED | {"state": State.QUEUED, "attempt": Experiment.attempt - 1}
    fenced(session, lease, event=State.QUEUED, data={"reason": "worker_shutdown"}, **values)


def reclaim_expired(session: Session) -> int:
    """Take experiments from workers that have not renewed their lease: back into the queue, or failed after
    `MAX_ATTEMPTS`. Returns how many."""
    # Locked, so that two workers that look at the same moment do not both count the same loss.
    expired = session.scalars(
        select(Experiment)
        .where(Experiment.state == State.RUNNING, Experiment.lease_expires_at < now())
        .with_for_update(skip_locked=True)
    ).all()
    for experiment in expired:
        reason = f"Worker {experiment.worker} was not heard of any more in attempt {experiment.attempt}."
        if experiment.cancel_requested:
            _end(session, experiment, State.CANCELLED, {"reason": "worker_lost"})
        elif experiment.attempt >= MAX_ATTEMPTS:
            _fail(session, experiment, "worker_lost", reason)
        else:
            _move(session, experiment, State.QUEUED, {"reason": "worker_lost"})
    return len(expired)


def cancel(session: Session, experiment_id: int) -> Experiment:
    """Cancel a queued experiment at once; ask the worker of a running one to stop it, which takes a heartbeat.

    Raises:
        UnknownExperiment: no experiment has this id.
        IllegalTransition: it has ended already.
    """
    experiment = experiments.get(session, experiment_id)
    session.refresh(experiment, with_for_update=True)
    states.check(State(experiment.state), State.CANCELLED)
    if experiment.state == State.QUEUED:
        _end(session, experiment, State.CANCELLED, {})
    elif not experiment.cancel_requested:
        experiment.cancel_requested = True
        _note(session, experiment, "cancel_requested", {})
    session.flush()
    return experiment


RELEASED: dict[str, Any] = {"lease_token": None, "lease_expires_at": None}
"""The columns of an experiment that nobody holds."""

REQUEUED: dict[str, Any] = RELEASED | {"worker": None, "epoch": 0, "fraction": 0.0}
"""The columns of an experiment that will begin anew."""


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"Experiment {lease.experiment_id} is no longer this worker's (attempt {lease.attempt}).")


def _of(lease: Lease) -> Update:
    return (
        update(Experiment)
        .where(
            Experiment.id == lease.experiment_id,
            Experiment.state == State.RUNNING,
            Experiment.lease_token == lease.token,
        )
        .execution_options(synchronize_session=False)
    )


def _fail(session: Session, experiment: Experiment, code: str, message: str) -> None:
    experiment.error_code, experiment.error_message = code, message
    _end(session, experiment, State.FAILED, {"code": code, "message": message})


def _end(session: Session, experiment: Experiment, state: State, data: dict[str, Any]) -> None:
    assert state in TERMINAL
    experiment.finished_at = now()
    _move(session, experiment, state, data)


def _move(session: Session, experiment: Experiment, state: State, data: dict[str, Any]) -> None:
    states.check(State(experiment.state), state)
    experiment.state = state
    for column, value in (REQUEUED if state == State.QUEUED else RELEASED).items():
        setattr(experiment, column, value)
    _note(session, experiment, state, data)


def _note(session: Session, experiment: Experiment, event: str, data: dict[str, Any]) -> None:
    experiment.last_event += 1
    session.add(Event(experiment_id=experiment.id, number=experiment.last_event, type=event, data=data))
    session.flush()
    session.refresh(experiment)
