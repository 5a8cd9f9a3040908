"""Experiments: list them, look at one."""

from typing import Annotated

from fastapi import APIRouter, Query

from service import schemas
from service.api.deps import Database, ExperimentId
from service.specs.experiment import Tag
from service.states import State
from service.store import attempts as history
from service.store import experiments
from service.store.database import reading

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


@router.get("")
def index(
    database: Database,
    state: State | None = None,
    tag: Tag | None = None,
    sweep: Annotated[int | None, Query(ge=1, le=experiments.MAX_ID, description="a sweep's id")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=experiments.MAX_ID, description="a page's `next_cursor`")] = None,
) -> schemas.Page:
    """Experiments, newest first."""
    with reading(database) as session:
        # One more than asked for tells whether a page follows.
        found = experiments.page(session, state=state, tag=tag, sweep=sweep, before=cursor, limit=limit + 1)
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


@router.get("/{experiment_id}/attempts")
def attempts(experiment_id: ExperimentId, database: Database) -> schemas.Attempts:
    """Which worker held it from when until when, and what ended that."""
    with reading(database) as session:
        found = history.of(session, experiment_id)
        return schemas.Attempts(items=[schemas.Attempt.model_validate(row) for row in found])
