"""Experiments that need not be trained again."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.states import State
from service.store.tables import Experiment


def find(session: Session, fingerprint: str) -> Experiment | None:
    """The newest experiment that has succeeded with the same spec, data and code; None where there is none."""
    query = select(Experiment).where(Experiment.fingerprint == fingerprint, Experiment.state == State.SUCCEEDED)
    return session.scalars(query.order_by(Experiment.id.desc()).limit(1)).one_or_none()
