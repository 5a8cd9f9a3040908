"""The queue: putting experiments in, claiming them under a lease, keeping the lease, and what becomes of an experiment
whose attempt came to nothing. What workers write about a training is in `service.store.results`, what owners may ask in
`service.store.control`.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import and_, exists, or_, select, update
from sqlalchemy.orm import Session

from service.specs.experiment import ExperimentSpec
from service.states import Request, State
from service.store import attempts, experiments, moves, wakeup
from service.store.clock import now
from service.store.leases import Lease, fenced, held
from service.store.tables import Attempt, Event, Experiment, Tag

RETRY_SECONDS = 2.0
"""Pause before a second attempt; it doubles with each further one."""

MAX_RETRY_SECONDS = 300.0

MAX_UNREADABLE = 20
"""How many specs that it cannot read a claim passes over."""

CURABLE = frozenset({"worker_lost", "process_killed", "process_exited"})
"""What another attempt may cure. The rest would only happen again: a training that diverged or is out of memory."""

_CLAIMABLE = and_(
    Experiment.state == State.QUEUED, or_(Experiment.not_before.is_(None), Experiment.not_before <= now())
)
_EXPIRED = and_(Experiment.state == State.RUNNING, Experiment.lease_expires_at < now())


def enqueue(session: Session, spec: ExperimentSpec) -> Experiment:
    """A new experiment, queued."""
    experiment = Experiment(
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        epochs=spec.epochs,
        last_event=1,
        tag_rows=[Tag(tag=tag, position=position) for position, tag in enumerate(spec.tags)],
    )
    session.add(experiment)
    session.flush()
    session.add(Event(experiment_id=experiment.id, number=1, type=State.QUEUED, data={}))
    session.flush()
    session.refresh(experiment)
    wakeup.call(session, wakeup.QUEUED)
    return experiment


def has_work(session: Session) -> bool:
    """Whether something can be claimed. A cheap look: it takes no lock."""
    return bool(session.scalar(select(exists().where(_CLAIMABLE))))


def claim(session: Session, worker: str, lease_seconds: float) -> Lease | None:
    """Take the queued experiment of the highest priority, the oldest of these; None where nothing can be taken.

    One statement on both databases: on Postgres claimants pass over each other's rows, on SQLite they take turns.
    An experiment whose spec another version of the service has stored, and this one cannot read, fails: left in the
    queue it would stop every worker at its head.
    """
    # Not without end: each costs time, and all of them are in one transaction.
    for _ in range(MAX_UNREADABLE):
        row = _claim_best(session, worker, lease_seconds)
        if row is None:
            return None
        attempts.begin(session, row.id, worker)
        try:
            spec = ExperimentSpec.model_validate(row.spec)
        except ValidationError as error:
            message = f"This version cannot read the spec: {error.errors()[0]['msg']}."
            moves.fail(session, experiments.locked(session, row.id), "invalid_spec", message)
            continue
        lease = Lease(row.id, row.lease_token, row.attempt, spec)
        fenced(session, lease, event=State.RUNNING, data={"attempt": lease.attempt, "worker": worker})
        return lease
    return None


def _claim_best(session: Session, worker: str, lease_seconds: float) -> Any:
    # SKIP LOCKED is Postgres's; SQLite's dialect leaves it out, as there BEGIN IMMEDIATE admits one writer at a time.
    best = (
        select(Experiment.id)
        .where(_CLAIMABLE)
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
            not_before=None,
        )
        .returning(Experiment.id, Experiment.lease_token, Experiment.attempt, Experiment.spec)
        .execution_options(synchronize_session=False)
    )
    return session.execute(statement).one_or_none()


def heartbeat(session: Session, lease: Lease, lease_seconds: float) -> Request | None:
    """Renew a lease; returns what the experiment's owner has asked for meanwhile.

    Raises:
        LeaseLost: the experiment is somebody else's by now.
    """
    requested = fenced(session, lease, lease_expires_at=now(lease_seconds))
    return Request(requested) if requested else None


def requests(session: Session, tokens: Sequence[str]) -> dict[str, Request]:
    """What the owners of the experiments that are held under these tokens have asked for."""
    query = select(Experiment.lease_token, Experiment.requested).where(
        Experiment.lease_token.in_(tokens), Experiment.requested.is_not(None)
    )
    return {str(token): Request(str(requested)) for token, requested in session.execute(query)}


def give_back(session: Session, lease: Lease, reason: str = attempts.SHUTDOWN) -> State:
    """Let go of the experiment without counting the attempt: back into the queue, or where its owner wants it.

    Args:
        reason: one of `attempts.UNSPENT`.

    Raises:
        LeaseLost: the experiment is somebody else's by now.
    """
    assert reason in attempts.UNSPENT
    experiment = held(session, lease)
    experiment.attempt -= 1
    return _leave(session, experiment, reason, None)


def lose(session: Session, lease: Lease, code: str, message: str, retry_seconds: float = RETRY_SECONDS) -> State:
    """The attempt came to nothing for a reason in `CURABLE`: another follows after a pause, or, if it was the last one,
    the experiment fails with the history of all of them. Returns the state that it is in now.

    Raises:
        LeaseLost: the experiment is somebody else's by now.
    """
    assert code in CURABLE
    return _lose(session, held(session, lease), code, message, retry_seconds)


def reclaim_expired(session: Session, retry_seconds: float = RETRY_SECONDS) -> int:
    """Take experiments from workers that have not renewed their lease, as `lose` does. Returns how many."""
    # Locked, so that two workers that look at the same moment do not both count the same loss.
    expired = session.scalars(select(Experiment).where(_EXPIRED).with_for_update(skip_locked=True)).all()
    for experiment in expired:
        message = f"Worker {experiment.worker} was not heard of any more."
        _lose(session, experiment, "worker_lost", message, retry_seconds)
    return len(expired)


def _lose(session: Session, experiment: Experiment, code: str, message: str, retry_seconds: float) -> State:
    if experiment.requested is not None or experiment.attempt < experiment.max_attempts:
        pause = min(retry_seconds * 2 ** (experiment.attempt - 1), MAX_RETRY_SECONDS)
        return _leave(session, experiment, code, message, pause)
    # Closed before the history is told, so that the last attempt is part of it.
    attempts.close(session, experiment.id, code, message)
    moves.fail(session, experiment, code, _history(attempts.of(session, experiment.id), experiment.attempt))
    return State.FAILED


def _leave(session: Session, experiment: Experiment, outcome: str, message: str | None, pause: float = 0.0) -> State:
    match experiment.requested:
        case Request.CANCEL:
            target = State.CANCELLED
        case Request.PAUSE:
            target = State.PAUSED
        case _:
            target = State.QUEUED
    moves.move(session, experiment, target, outcome=outcome, message=message, data={"reason": outcome})
    if target == State.QUEUED:
        if pause:
            experiment.not_before = now(pause)
            session.flush()
            session.refresh(experiment)
        wakeup.call(session, wakeup.QUEUED)
    return target


def _history(closed: Sequence[Attempt], spent: int) -> str:
    counted = [attempt for attempt in closed if attempt.outcome not in attempts.UNSPENT][-spent:]
    if len(counted) == 1:
        return counted[0].message or ""
    told = " ".join(f"Attempt {number}: {each.outcome}. {each.message}" for number, each in enumerate(counted, 1))
    return f"Given up after {len(counted)} attempts. {told}"
