"""An experiment's states, and who moves it from one to the next.

The database enforces the same with CHECK constraints (`service.store.tables`): a terminal row has `finished_at`, a
running row has a lease, only a running row has a request.
"""

from enum import StrEnum
from typing import NamedTuple

from service.errors import IllegalTransition


class State(StrEnum):
    """Where an experiment is on its way."""

    QUEUED = "queued"
    """Waits. A worker's claim moves it on (running), or its owner (paused, cancelled)."""

    RUNNING = "running"
    """A worker holds its lease and trains. That worker moves it on; if its lease runs out, any other worker does."""

    PAUSED = "paused"
    """Waits with its checkpoint until its owner moves it on (queued, cancelled)."""

    SUCCEEDED = "succeeded"
    """Trained, evaluated and exported. Final."""

    FAILED = "failed"
    """Ended with an error code. Only its owner can have it begun anew (queued)."""

    CANCELLED = "cancelled"
    """Ended by its owner, who alone can have it begun anew (queued)."""


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class SweepState(StrEnum):
    """Where a sweep is on its way."""

    RUNNING = "running"
    """Trials are left, or are being trained. Whoever leads sweeps moves it on; or its owner (cancelled)."""

    SUCCEEDED = "succeeded"
    """All trials have ended, and one of them at least has a value. Final."""

    FAILED = "failed"
    """All trials have ended, and none has a value; or it could not be led. Final."""

    CANCELLED = "cancelled"
    """Ended by its owner, and its trials with it. Final."""


class TrialState(StrEnum):
    """Where a trial of a sweep is; it follows from its experiments, and is stored nowhere."""

    QUEUED = "queued"
    RUNNING = "running"

    SUCCEEDED = "succeeded"
    """All of its experiments have."""

    PRUNED = "pruned"
    """Its sweep ended it early: it would hardly have become the best."""

    FAILED = "failed"
    """One of its experiments has, or the point is no possible experiment."""

    CANCELLED = "cancelled"
    """Its owner ended or deleted an experiment of it."""


OPEN_TRIALS = frozenset({TrialState.QUEUED, TrialState.RUNNING})


class Request(StrEnum):
    """What the owner of a running experiment has asked its worker to do."""

    PAUSE = "pause"
    CANCEL = "cancel"


class Transition(NamedTuple):
    """One legal move."""

    source: State
    target: State
    by: str


TRANSITIONS = (
    Transition(State.QUEUED, State.RUNNING, "a worker claims it"),
    Transition(State.QUEUED, State.PAUSED, "its owner pauses it"),
    Transition(State.QUEUED, State.CANCELLED, "its owner cancels it"),
    Transition(State.RUNNING, State.SUCCEEDED, "its worker stores the result"),
    Transition(State.RUNNING, State.FAILED, "its worker stores the error; or its last attempt came to nothing"),
    Transition(State.RUNNING, State.CANCELLED, "its worker sees that its owner asked for it"),
    Transition(State.RUNNING, State.PAUSED, "its worker sees that its owner asked for it"),
    Transition(State.RUNNING, State.QUEUED, "its worker gives it back, or was lost: another attempt follows"),
    Transition(State.PAUSED, State.QUEUED, "its owner resumes it"),
    Transition(State.PAUSED, State.CANCELLED, "its owner cancels it"),
    Transition(State.FAILED, State.QUEUED, "its owner retries it"),
    Transition(State.CANCELLED, State.QUEUED, "its owner retries it"),
)

_LEGAL = frozenset((move.source, move.target) for move in TRANSITIONS)


def check(source: State, target: State) -> None:
    """Do nothing if the move is legal.

    Raises:
        IllegalTransition: it is not.
    """
    if (source, target) not in _LEGAL:
        raise IllegalTransition(f"An experiment that is {source} cannot become {target}.")
