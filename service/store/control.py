"""What an experiment's owner may ask for: cancel, pause, resume, retry, delete."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service import states
from service.errors import Conflict, IllegalTransition
from service.states import Request, State
from service.store import experiments, moves, wakeup
from service.store.tables import Alias, Experiment


def cancel(session: Session, experiment_id: int, why: dict[str, Any] | None = None) -> Experiment:
    """End an experiment: at once if it waits; a running one is ended by its worker.

    Args:
        why: what its event shall say.

    Raises:
        UnknownExperiment: no experiment has this id. So for all functions here.
        IllegalTransition: it has ended already.
    """
    return _end_or_ask(session, experiment_id, Request.CANCEL, State.CANCELLED, why)


def pause(session: Session, experiment_id: int) -> Experiment:
    """Let an experiment wait until it is resumed: at once if it is queued; a running one when its worker has stored a
    checkpoint.

    Raises:
        IllegalTransition: it has ended already, or is paused.
        Conflict: its cancellation has been asked for.
    """
    return _end_or_ask(session, experiment_id, Request.PAUSE, State.PAUSED)


def resume(session: Session, experiment_id: int) -> Experiment:
    """Put a paused experiment back into the queue, where it goes on from its checkpoint; or withdraw the request to
    pause a running one.

    Raises:
        IllegalTransition: it is not paused.
    """
    experiment = experiments.locked(session, experiment_id)
    if experiment.requested == Request.PAUSE:
        experiment.requested = None
        moves.note(session, experiment, "pause_withdrawn")
        return experiment
    if experiment.state != State.PAUSED:
        raise IllegalTransition(f"An experiment that is {experiment.state} cannot be resumed.")
    return _queue(session, experiment, "resumed")


def retry(session: Session, experiment_id: int) -> Experiment:
    """Begin a failed or cancelled experiment anew, with all of its attempts before it. What it measured stays until the
    new training begins.

    Raises:
        IllegalTransition: it has not failed or been cancelled.
    """
    experiment = experiments.locked(session, experiment_id)
    if experiment.state not in (State.FAILED, State.CANCELLED):
        raise IllegalTransition(f"An experiment that is {experiment.state} cannot be retried.")
    experiment.attempt = 0
    experiment.error_code = experiment.error_message = None
    return _queue(session, experiment, "retried")


def delete(session: Session, experiment_id: int) -> None:
    """Forget an experiment: its record, metrics, events and files.

    Raises:
        Conflict: it is running, or an alias means its model.
    """
    experiment = experiments.locked(session, experiment_id)
    if experiment.state == State.RUNNING:
        raise Conflict(f"Experiment {experiment_id} is running: cancel it before you delete it.")
    aliases = session.scalars(select(Alias.alias).where(Alias.experiment_id == experiment_id)).all()
    if aliases:
        raise Conflict(
            f"Experiment {experiment_id} is served as {', '.join(aliases)}: let that mean another model first."
        )
    session.delete(experiment)
    session.flush()


def _end_or_ask(
    session: Session, experiment_id: int, request: Request, target: State, why: dict[str, Any] | None = None
) -> Experiment:
    experiment = experiments.locked(session, experiment_id)
    states.check(State(experiment.state), target)
    if experiment.state != State.RUNNING:
        moves.move(session, experiment, target, data=why)
        return experiment
    if experiment.requested == request:
        return experiment
    if experiment.requested == Request.CANCEL:
        raise Conflict(f"Experiment {experiment_id} is being cancelled.")
    experiment.requested = request
    moves.note(session, experiment, f"{request}_requested", why)
    wakeup.call(session, wakeup.REQUESTED)
    return experiment


def _queue(session: Session, experiment: Experiment, reason: str) -> Experiment:
    moves.move(session, experiment, State.QUEUED, data={"reason": reason})
    wakeup.call(session, wakeup.QUEUED)
    return experiment
