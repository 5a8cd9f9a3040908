"""Idempotency keys: a request that comes twice is carried out once.

Two transactions, so that whoever else comes with the key sees it taken at once: one claims the key, a second carries
the request out and completes the claim. Whatever dies when, no key ever has two experiments: the second happens as a
whole, and only as long as nobody else has taken the key over.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from service.errors import IdempotencyKeyReused, RequestInFlight
from service.store.clock import now
from service.store.tables import Experiment, IdempotencyKey

IN_FLIGHT_SECONDS = 60.0
"""A request that has been in flight for longer was left by a process that died."""

KEPT_SECONDS = 24 * 60 * 60.0
"""How long a key stands for the request that it was first sent with."""

EXPIRED: ColumnElement[bool] = or_(
    and_(IdempotencyKey.experiment_id.is_(None), IdempotencyKey.created_at < now(-IN_FLIGHT_SECONDS)),
    IdempotencyKey.created_at < now(-KEPT_SECONDS),
)
"""Keys that anybody may take."""


@dataclass(frozen=True)
class Claim:
    """The right to carry out a key's request."""

    key: str
    token: str


def claim(session: Session, key: str, request_sha256: str) -> Claim | Experiment:
    """Take a key for a request; or, where the request has been carried out already, the experiment that it came to.

    Raises:
        IdempotencyKeyReused: the key came with another request before.
        RequestInFlight: the request is being carried out.
    """
    token = uuid.uuid4().hex
    mine = {"request_sha256": request_sha256, "token": token, "experiment_id": None, "created_at": now()}
    # SQL has no common word for "or else"; the two dialects' statements read alike.
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert: sqlite.Insert | postgresql.Insert = dialect.insert(IdempotencyKey)
    taken = (
        insert.values(key=key, **mine)
        .on_conflict_do_update(index_elements=[IdempotencyKey.key], set_=mine, where=EXPIRED)
        .returning(IdempotencyKey.key)
    )
    if session.execute(taken).one_or_none() is not None:
        return Claim(key, token)
    query = select(IdempotencyKey, Experiment).outerjoin(Experiment).where(IdempotencyKey.key == key)
    row = session.execute(query).one_or_none()
    if row is not None and row.IdempotencyKey.request_sha256 != request_sha256:
        raise IdempotencyKeyReused(f"The idempotency key {key!r} came with another request before: take a new one.")
    if row is None or row.Experiment is None:
        raise _in_flight(key)
    experiment: Experiment = row.Experiment
    return experiment


def complete(session: Session, claim: Claim, experiment_id: int) -> None:
    """The request has come to an experiment. To be called in the transaction that has made it.

    Raises:
        RequestInFlight: somebody else has taken the key over; the transaction must not be committed.
    """
    statement = (
        update(IdempotencyKey)
        .where(_holds(claim))
        .values(experiment_id=experiment_id)
        .returning(IdempotencyKey.key)
        .execution_options(synchronize_session=False)
    )
    if session.execute(statement).one_or_none() is None:
        raise _in_flight(claim.key)


def release(session: Session, claim: Claim) -> None:
    """The request has failed: let it be sent again at once."""
    session.execute(delete(IdempotencyKey).where(_holds(claim)))


def _holds(claim: Claim) -> ColumnElement[bool]:
    return and_(
        IdempotencyKey.key == claim.key,
        IdempotencyKey.token == claim.token,
        # A commit whose answer was lost may have completed the claim.
        IdempotencyKey.experiment_id.is_(None),
    )


def _in_flight(key: str) -> RequestInFlight:
    return RequestInFlight(f"A request with the idempotency key {key!r} is being carried out: ask again in a second.")
