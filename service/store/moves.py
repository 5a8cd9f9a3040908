"""The one way in which an experiment leaves a state: checked, with its attempt closed and an event left behind.

The caller holds the experiment's row locked. Only a claim (`service.store.queue`) does not come through here: it must
be one statement.
"""

from typing import Any

from sqlalchemy.orm import Session

from service import states
from service.states import TERMINAL, State
from service.store import attempts, checkpoints
from service.store.clock import now
from service.store.tables import Event, Experiment


def move(
    session: Session,
    experiment: Experiment,
    target: State,
    *,
    outcome: str | None = None,
    message: str | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """Bring an experiment into another state.

    Args:
        outcome: what ended the attempt, if there is one; by default the target's name.
        message: a sentence about that for people.
        data: what the event says.

    Raises:
        IllegalTransition: `service.states` does not know this move.
    """
    states.check(State(experiment.state), target)
    # The row is written once, as a whole: halfway between two states the database would refuse it.
    with session.no_autoflush:
        if experiment.state == State.RUNNING:
            attempts.close(session, experiment.id, outcome or target, message)
        experiment.state = target
        experiment.lease_token = experiment.lease_expires_at = None
        experiment.requested = experiment.not_before = None
        if target in TERMINAL:
            experiment.finished_at = now()
            checkpoints.drop(session, experiment.id)
        else:
            experiment.finished_at = experiment.worker = None
            experiment.epoch, experiment.fraction = checkpoints.position(session, experiment.id)
        note(session, experiment, target, data)


def fail(session: Session, experiment: Experiment, code: str, message: str) -> None:
    """End an experiment with an error."""
    # What an exception says may hold half a surrogate, which is no UTF-8, or a NUL, which Postgres cannot store.
    message = message.encode("utf-8", "replace").decode().replace("\0", "?")
    experiment.error_code, experiment.error_message = code, message
    move(session, experiment, State.FAILED, outcome=code, message=message, data={"code": code, "message": message})


def note(session: Session, experiment: Experiment, event: str, data: dict[str, Any] | None = None) -> None:
    """Leave an event behind."""
    experiment.last_event += 1
    session.add(Event(experiment_id=experiment.id, number=experiment.last_event, type=event, data=data or {}))
    session.flush()
    session.refresh(experiment)
