"""Checkpoints: for each experiment that has not ended, the newest bundle that its training can go on from."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.store.leases import Lease, held
from service.store.tables import Checkpoint


def put(session: Session, lease: Lease, content: bytes, epoch: int, fraction: float) -> None:
    """Replace the experiment's checkpoint: `epoch` epochs and `fraction` of all steps are in it.

    Raises:
        LeaseLost: the experiment is somebody else's by now; nothing was written.
    """
    held(session, lease)
    drop(session, lease.experiment_id)
    session.add(
        Checkpoint(
            experiment_id=lease.experiment_id, epoch=epoch, fraction=fraction, size=len(content), content=content
        )
    )
    session.flush()


def content(session: Session, experiment_id: int) -> bytes | None:
    """The bundle, or None where there is none."""
    return session.scalar(select(Checkpoint.content).where(Checkpoint.experiment_id == experiment_id))


def position(session: Session, experiment_id: int) -> tuple[int, float]:
    """The epochs and the fraction of all steps that the next attempt need not train again."""
    query = select(Checkpoint.epoch, Checkpoint.fraction).where(Checkpoint.experiment_id == experiment_id)
    row = session.execute(query).one_or_none()
    return (0, 0.0) if row is None else (row.epoch, row.fraction)


def drop(session: Session, experiment_id: int) -> None:
    """Forget the checkpoint, if there is one."""
    session.execute(delete(Checkpoint).where(Checkpoint.experiment_id == experiment_id))
