"""What an experiment's owner may ask for: cancel, pause, resume, retry, delete."""

from http import HTTPStatus

from fastapi import APIRouter

from service import schemas
from service.api.deps import Database, ExperimentId
from service.store import control
from service.store.database import writing

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


@router.post("/{experiment_id}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """Cancel: a queued or paused experiment at once, a running one as soon as its worker sees it."""
    with writing(database) as session:
        return schemas.Experiment.model_validate(control.cancel(session, experiment_id))


@router.post("/{experiment_id}/pause", status_code=HTTPStatus.ACCEPTED)
def pause(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """Let it wait: a queued experiment at once, a running one as soon as its worker has stored a checkpoint."""
    with writing(database) as session:
        return schemas.Experiment.model_validate(control.pause(session, experiment_id))


@router.post("/{experiment_id}/resume", status_code=HTTPStatus.ACCEPTED)
def resume(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """Let a paused experiment go on from its checkpoint, or withdraw the request to pause a running one."""
    with writing(database) as session:
        return schemas.Experiment.model_validate(control.resume(session, experiment_id))


@router.post("/{experiment_id}/retry", status_code=HTTPStatus.ACCEPTED)
def retry(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """Begin a failed or cancelled experiment anew."""
    with writing(database) as session:
        return schemas.Experiment.model_validate(control.retry(session, experiment_id))


@router.delete("/{experiment_id}", status_code=HTTPStatus.NO_CONTENT)
def delete(experiment_id: ExperimentId, database: Database) -> None:
    """Forget an experiment with all that belongs to it. Not while it runs, or while an alias means its model."""
    with writing(database) as session:
        control.delete(session, experiment_id)
