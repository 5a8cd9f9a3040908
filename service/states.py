"""An experiment's states, and who moves it from one to the next.

The database enforces the same with CHECK constraints (`service.store.tables`): a terminal row has `finished_at`, a
running row has a lease.
"""

from enum import StrEnum
from typing import NamedTuple

from service.errors import IllegalTransition


class State(StrEnum):
    """Where an experiment is on its way."""

    QUEUED = "queued"
    """Waits. A worker's claim moves it on (running), or its owner (cancelled)."""

    RUNNING = "running"
    """A worker holds its lease and trains. That worker moves it on; if its lease runs out, any other worker does."""

    SUCCEEDED = "succeeded"
    """Trained, evaluated and exported. Final."""

    FAILED = "failed"
    """Ended with an error code. Final."""

    CANCELLED = "cancelled"
    """Ended by its owner. Final."""


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Transition(NamedTuple):
    """One legal move."""

    source: State
    target: State
    by: str


TRANSITIONS = (
    Transition(State.QUEUED, State.RUNNING, "a worker claims it"),
    Transition(State.QUEUED, State.CANCELLED, "its owner cancels it"),
    Transition(State.RUNNING, State.SUCCEEDED, "its worker stores the result"),
    Transition(State.RUNNING, State.FAILED, "its worker stores the error; or its last attempt's lease ran out"),
    Transition(State.RUNNING, State.CANCELLED, "its worker sees that its owner asked for it"),
    Transition(State.RUNNING, State.QUEUED, "its worker gives it back at shutdown; or its lease ran out"),
)

_LEGAL = frozenset((move.source, move.target) for move in TRANSITIONS)


def check(source: State, target: State) -> None:
    """Do nothing if the move is legal.

    Raises:
        IllegalTransition: it is not.
    """
    if (source, target) not in _LEGAL:
        raise IllegalTransition(f"An experiment that is {source} cannot become {target}.")
