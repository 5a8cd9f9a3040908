"""What a worker writes about the experiment it trains. Every write is fenced by its lease (`service.store.queue`)."""

from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session

from service import schemas
from service.states import State
from service.store import artifacts, registry
from service.store.clock import now
from service.store.queue import RELEASED, Lease, fenced
from service.store.tables import EpochMetrics, Evaluation

LOG = "log.txt"


def start(session: Session, lease: Lease, device: str, parameters: int) -> None:
    """The training has begun, from its first epoch: what an earlier attempt measured is replaced.

    Raises:
        LeaseLost: the experiment is somebody else's by now; nothing was written. So for all functions here.
    """
    fenced(session, lease, event="started", data={"device": device, "parameters": parameters}, parameters=parameters)
    session.execute(delete(EpochMetrics).where(EpochMetrics.experiment_id == lease.experiment_id))


def progress(session: Session, lease: Lease, fraction: float) -> None:
    """How much of the training is done, between 0 and 1. Leaves no event behind."""
    fenced(session, lease, fraction=fraction)


def epoch(session: Session, lease: Lease, metrics: schemas.EpochMetrics) -> None:
    """An epoch is finished."""
    done = metrics.epoch / lease.spec.epochs
    values = metrics.model_dump()
    fenced(session, lease, event="epoch", data=values, epoch=metrics.epoch, fraction=done)
    # Merged: writing the same epoch twice, after a commit whose answer was lost, leaves one row.
    session.merge(EpochMetrics(experiment_id=lease.experiment_id, **values))
    session.flush()


def succeed(
    session: Session,
    lease: Lease,
    result: schemas.Result,
    evaluation: schemas.Evaluation,
    files: Mapping[str, bytes],
    log: bytes,
) -> None:
    """The end of a training: result, evaluation, files and state, all in the caller's one transaction."""
    values = RELEASED | result.model_dump() | {"state": State.SUCCEEDED, "finished_at": now(), "fraction": 1.0}
    fenced(session, lease, event=State.SUCCEEDED, data=result.model_dump(), **values)
    session.merge(Evaluation(experiment_id=lease.experiment_id, **evaluation.model_dump()))
    for name, content in files.items():
        artifacts.put(session, lease.experiment_id, name, content)
    artifacts.put(session, lease.experiment_id, LOG, log)
    registry.take_default_alias(session, lease.experiment_id)


def fail(session: Session, lease: Lease, code: str, message: str, log: bytes) -> None:
    """The training cannot be finished. The metrics of its epochs stay."""
    # What an exception says may hold half a surrogate, which is no UTF-8, or a NUL, which Postgres cannot store.
    message = message.encode("utf-8", "replace").decode().replace("\0", "?")
    values = RELEASED | {"state": State.FAILED, "finished_at": now(), "error_code": code, "error_message": message}
    fenced(session, lease, event=State.FAILED, data={"code": code, "message": message}, **values)
    artifacts.put(session, lease.experiment_id, LOG, log)


def cancelled(session: Session, lease: Lease, log: bytes) -> None:
    """The training was stopped because its owner asked for it. The metrics of its epochs stay."""
    values = RELEASED | {"state": State.CANCELLED, "finished_at": now()}
    fenced(session, lease, event=State.CANCELLED, **values)
    artifacts.put(session, lease.experiment_id, LOG, log)
