"""Sweeps: all of them, and one."""

from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from service import schemas
from service.api.deps import Database, SweepId
from service.api.pages.base import pages
from service.store import experiments, sweeps
from service.store.database import reading
from service.store.experiments import MAX_ID
from service.web import sweep as page
from service.web import sweep_grid
from service.web.rendering import render

router = pages()

PAGE = 20
MOST_RUNNING = 12

Path = Annotated[str | None, Query(max_length=200)]


@router.get("/sweeps")
def index(
    request: Request, database: Database, cursor: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None
) -> Response:
    """Sweeps, newest first."""
    with reading(database) as session:
        # One more than is shown tells whether a page follows.
        found = sweeps.page(session, before=cursor, limit=PAGE + 1)
        items = [sweeps.summary(session, sweep) for sweep in found[:PAGE]]
    return render(
        "sweeps.html",
        section="sweeps",
        sweeps=items,
        cursor=cursor,
        following=items[-1].id if len(found) > PAGE else None,
        objective_text=page.objective_text,
        base=str(request.base_url),
    )


@router.get("/sweeps/{sweep_id}")
def show(sweep_id: SweepId, database: Database, rows: Path = None, columns: Path = None) -> Response:
    """A sweep with its trials.

    Args:
        rows: the path whose values are the rows of the table of two parameters.
        columns: the path whose values are its columns.
    """
    with reading(database) as session:
        sweep = sweeps.details(session, sweeps.get(session, sweep_id))
        training = [_record(session, found) for found in page.running(sweep)[:MOST_RUNNING]]
    return render(
        "sweep.html",
        section="sweeps",
        charts=True,
        sweep=sweep,
        training=training,
        axes=page.axes(sweep),
        data=page.data(sweep),
        promoted=page.best_experiment(sweep),
        compared=page.best_experiments(sweep),
        grid=sweep_grid.grid(sweep, rows, columns),
        objective_text=page.objective_text,
        objective_title=page.objective_title(sweep.spec["objective"]),
        spread_text=page.spread_text,
    )


def _record(session: Session, experiment_id: int) -> schemas.Experiment:
    return schemas.Experiment.model_validate(experiments.get(session, experiment_id))
