"""Experiments: submit, list, look at, cancel."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError

from service import schemas
from service.api.deps import Database, ExperimentId
from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec, Tag
from service.states import State
from service.store import experiments, queue
from service.store.database import reading, writing

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


@router.post("", status_code=HTTPStatus.ACCEPTED)
def submit(spec: ExperimentSpec, database: Database, response: Response) -> schemas.Experiment:
    """Put an experiment into the queue."""
    _check_dataset(spec)
    with writing(database) as session:
        experiment = schemas.Experiment.model_validate(queue.enqueue(session, spec))
    response.headers["Location"] = f"/v1/experiments/{experiment.id}"
    return experiment


@router.get("")
def index(
    database: Database,
    state: State | None = None,
    tag: Tag | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=experiments.MAX_ID, description="a page's `next_cursor`")] = None,
) -> schemas.Page:
    """Experiments, newest first."""
    with reading(database) as session:
        # One more than asked for tells whether a page follows.
        found = experiments.page(session, state=state, tag=tag, before=cursor, limit=limit + 1)
        items = [schemas.Experiment.model_validate(experiment) for experiment in found[:limit]]
    return schemas.Page(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)


@router.get("/{experiment_id}")
def show(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """One experiment."""
    with reading(database) as session:
        return schemas.Experiment.model_validate(experiments.get(session, experiment_id))


@router.get("/{experiment_id}/metrics")
def metrics(experiment_id: ExperimentId, database: Database) -> schemas.Metrics:
    """The epochs that are finished."""
    with reading(database) as session:
        found = experiments.metrics(session, experiment_id)
        return schemas.Metrics(items=[schemas.EpochMetrics.model_validate(row) for row in found])


@router.get("/{experiment_id}/evaluation")
def evaluation(experiment_id: ExperimentId, database: Database) -> schemas.Evaluation:
    """What the exported model does with the test set."""
    with reading(database) as session:
        return schemas.Evaluation.model_validate(experiments.evaluation(session, experiment_id))


@router.post("/{experiment_id}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel(experiment_id: ExperimentId, database: Database) -> schemas.Experiment:
    """Cancel: a queued experiment at once, a running one as soon as its worker sees it."""
    with writing(database) as session:
        return schemas.Experiment.model_validate(queue.cancel(session, experiment_id))


def _check_dataset(spec: ExperimentSpec) -> None:
    """What only the catalogue knows about a spec."""
    dataset = CATALOGUE.get(spec.dataset)
    if dataset is None:
        raise _refusal("dataset", f"there is no such dataset; there are: {', '.join(CATALOGUE)}")
    if spec.train_limit is not None and spec.train_limit > dataset.train_images:
        raise _refusal("train_limit", f"{dataset.name} has only {dataset.train_images:,} training images")


def _refusal(field: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("body", field), "msg": message, "type": "value_error"}])
