"""What an experiment's page shows beside its record."""

from collections.abc import Sequence
from typing import NamedTuple

from service import schemas
from service.states import State
from service.store import attempts

LOG_LINES = 200

OUTCOMES = {
    State.PAUSED: "paused by its owner",
    State.CANCELLED: "cancelled by its owner",
    attempts.SHUTDOWN: "given back: the worker was told to end",
    attempts.EXPIRED: "given back: the worker could not renew its lease",
    attempts.NOT_STARTED: "given back: the training process died before it began",
    "worker_lost": "lost: the worker was not heard of any more",
    "process_killed": "lost: the training process was killed",
    "process_exited": "lost: the training process ended by itself",
}
"""What ended an attempt, in words; what is not among them is a code that speaks for itself."""


class Best(NamedTuple):
    """The best epoch by validation accuracy."""

    epoch: int
    accuracy: float


def best(metrics: Sequence[schemas.EpochMetrics]) -> Best | None:
    """The earliest of the best epochs, if any was validated."""
    watched = [Best(row.epoch, row.val_accuracy) for row in metrics if row.val_accuracy is not None]
    return max(watched, key=lambda each: each.accuracy, default=None)


class Told(NamedTuple):
    """An attempt in words.

    Attributes:
        record: the attempt.
        outcome: what ended it.
        seconds: how long it took, once it has ended.
    """

    record: schemas.Attempt
    outcome: str
    seconds: float | None


def told(attempt: schemas.Attempt) -> Told:
    """An attempt for the timeline."""
    if attempt.outcome is None or attempt.ended_at is None:
        return Told(attempt, "trains now", None)
    seconds = (attempt.ended_at - attempt.started_at).total_seconds()
    return Told(attempt, OUTCOMES.get(attempt.outcome, attempt.outcome), seconds)


def tail(log: bytes | None) -> str | None:
    """The last lines of a log."""
    if log is None:
        return None
    return "\n".join(log.decode(errors="replace").splitlines()[-LOG_LINES:])


class Moves(NamedTuple):
    """What an owner may do in the experiment's present state."""

    pause: bool
    resume: bool
    cancel: bool
    retry: bool
    promote: bool
    delete: bool


def moves(record: schemas.Experiment) -> Moves:
    """As `service.states` has it; what was asked for already is not offered again."""
    state = record.state
    return Moves(
        pause=state in (State.QUEUED, State.RUNNING) and not (record.pause_requested or record.cancel_requested),
        resume=state == State.PAUSED or record.pause_requested,
        cancel=state in (State.QUEUED, State.RUNNING, State.PAUSED) and not record.cancel_requested,
        retry=state in (State.FAILED, State.CANCELLED),
        promote=state == State.SUCCEEDED,
        delete=state != State.RUNNING,
    )
