"""What nobody needs any more. There is little of it: the foreign keys let all that belongs to an experiment go with it,
unless somebody wrote to the database without them.
"""

from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from service.states import TERMINAL
from service.store import idempotency
from service.store.clock import now
from service.store.tables import Base, Checkpoint, Experiment, IdempotencyKey, Worker

SILENT_SECONDS = 24 * 60 * 60.0
"""A worker that was not heard of for so long will not come back."""


def count(session: Session) -> dict[str, int]:
    """How many rows of each kind there are."""
    return {
        kind: session.scalars(select(func.count()).select_from(table).where(condition)).one()
        for kind, (table, condition) in _garbage().items()
    }


def remove(session: Session) -> dict[str, int]:
    """Remove all of them; returns how many there were of each kind."""
    return {
        kind: session.connection().execute(delete(table).where(condition)).rowcount
        for kind, (table, condition) in _garbage().items()
    }


def _garbage() -> dict[str, tuple[Table, ColumnElement[bool]]]:
    """Of each kind, the table and its rows. No row is of two kinds."""
    tables = Base.metadata.tables
    existing = select(Experiment.id)
    orphans: dict[str, tuple[Table, ColumnElement[bool]]] = {
        f"orphaned_{name}": (table, table.c.experiment_id.not_in(existing))
        for name, table in tables.items()
        # A history names experiments that may be gone, without referring to them.
        if "experiment_id" in table.c and table.c.experiment_id.foreign_keys
    }
    ended = existing.where(Experiment.state.in_(TERMINAL))
    no_orphan = or_(IdempotencyKey.experiment_id.is_(None), IdempotencyKey.experiment_id.in_(existing))
    return orphans | {
        "checkpoints_of_ended_experiments": (tables["checkpoints"], Checkpoint.experiment_id.in_(ended)),
        "expired_idempotency_keys": (tables["idempotency_keys"], and_(idempotency.EXPIRED, no_orphan)),
        "silent_workers": (tables["workers"], Worker.last_beat_at < now(-SILENT_SECONDS)),
    }
