"""What a worker writes about the experiment it trains. Every write is fenced by its lease (`service.store.leases`)."""

from collections.abc import Mapping

from sqlalchemy import delete
from sqlalchemy.orm import Session

from service import schemas
from service.states import State
from service.store import aliases, artifacts, moves, queue
from service.store.leases import Lease, fenced, held
from service.store.tables import EpochMetrics, Evaluation

LOG = "log.txt"


def start(
    session: Session, lease: Lease, device: str, parameters: int, epoch: int = 0, fingerprint: str | None = None
) -> None:
    """The training has begun, or goes on after `epoch` epochs that a checkpoint has kept: what an earlier attempt
    measured after them is replaced.

    Raises:
        LeaseLost: the experiment is somebody else's by now; nothing was written. So for all functions here.
    """
    data = {"device": device, "parameters": parameters, "epoch": epoch}
    done = epoch / lease.spec.epochs
    values = {"parameters": parameters, "epoch": epoch, "fraction": done, "fingerprint": fingerprint}
    fenced(session, lease, event="started", data=data, **values)
    of_earlier_attempts = (EpochMetrics.experiment_id == lease.experiment_id, EpochMetrics.epoch > epoch)
    session.execute(delete(EpochMetrics).where(*of_earlier_attempts))


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
    experiment = held(session, lease)
    for name, value in result.model_dump().items():
        setattr(experiment, name, value)
    experiment.fraction = 1.0
    moves.move(session, experiment, State.SUCCEEDED, data=result.model_dump())
    # What can be computed from the rest is not stored.
    report = evaluation.model_dump(exclude_computed_fields=True)
    session.merge(Evaluation(experiment_id=lease.experiment_id, **report))
    for name, content in files.items():
        artifacts.put(session, lease.experiment_id, name, content)
    artifacts.put(session, lease.experiment_id, LOG, log)
    aliases.take_default(session, lease.experiment_id)


def fail(session: Session, lease: Lease, code: str, message: str, log: bytes) -> None:
    """The training cannot be finished, and another attempt would not change that. The metrics of its epochs stay."""
    moves.fail(session, held(session, lease), code, message)
    artifacts.put(session, lease.experiment_id, LOG, log)


def lose(session: Session, lease: Lease, code: str, message: str, log: bytes, retry_seconds: float) -> State:
    """The attempt came to nothing, and another may do better: see `queue.lose`. Its log is kept."""
    state = queue.lose(session, lease, code, message, retry_seconds)
    artifacts.put(session, lease.experiment_id, LOG, log)
    return state


def cancelled(session: Session, lease: Lease, log: bytes) -> None:
    """The training was stopped because its owner asked for it. The metrics of its epochs stay."""
    moves.move(session, held(session, lease), State.CANCELLED)
    artifacts.put(session, lease.experiment_id, LOG, log)
