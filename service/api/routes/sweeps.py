"""Sweeps: begin one, look at it, end it."""

import csv
import io
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from service import schemas
from service.api.checks import check_dataset, refusal
from service.api.deps import Database, SweepId
from service.specs.sweep import SweepSpec
from service.states import SweepState
from service.store import sweeps
from service.store.database import reading, writing
from service.store.experiments import MAX_ID
from service.sweeps.lead import lacks_optuna

router = APIRouter(prefix="/v1/sweeps", tags=["sweeps"])


@router.post("", status_code=HTTPStatus.ACCEPTED)
def create(spec: SweepSpec, database: Database, response: Response) -> schemas.SweepDetails:
    """Begin a sweep. Each of its trials is one experiment, or one for each seed."""
    if lacks_optuna(spec):
        raise refusal(["sampler"], "tpe needs Optuna, which is not installed here: install numeral[sweep]")
    for params in spec.probes():
        check_dataset(spec.experiments(params, 0)[0], "base")
    with writing(database) as session:
        sweep = sweeps.create(session, spec)
        response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
        return sweeps.details(session, sweep)


@router.get("")
def index(
    database: Database,
    state: SweepState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 20,
    cursor: Annotated[int | None, Query(ge=1, le=MAX_ID, description="a page's `next_cursor`")] = None,
) -> schemas.Sweeps:
    """Sweeps, newest first."""
    with reading(database) as session:
        # One more than asked for tells whether a page follows.
        found = sweeps.page(session, state=state, before=cursor, limit=limit + 1)
        items = [sweeps.summary(session, sweep) for sweep in found[:limit]]
    return schemas.Sweeps(items=items, next_cursor=str(items[-1].id) if len(found) > limit else None)


@router.get("/{sweep_id}")
def show(sweep_id: SweepId, database: Database) -> schemas.SweepDetails:
    """One sweep with its trials, the best first."""
    with reading(database) as session:
        return sweeps.details(session, sweeps.get(session, sweep_id))


@router.get("/{sweep_id}/trials.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
def table(sweep_id: SweepId, database: Database) -> Response:
    """The trials as a table, the best first."""
    with reading(database) as session:
        found = sweeps.details(session, sweeps.get(session, sweep_id))
    headers = {"Content-Disposition": f'attachment; filename="sweep-{sweep_id}.csv"'}
    return Response(_csv(found), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/{sweep_id}/cancel", status_code=HTTPStatus.ACCEPTED)
def cancel(sweep_id: SweepId, database: Database) -> schemas.SweepDetails:
    """End a sweep and all of its trials: those that wait at once, those that run as soon as their workers see it."""
    with writing(database) as session:
        return sweeps.details(session, sweeps.cancel(session, sweep_id))


def _csv(sweep: schemas.SweepDetails) -> str:
    names = ("value", "value_std", "test_accuracy", "test_accuracy_std", "epochs", "train_seconds", "pruned_epoch")
    paths = list(sweep.spec["space"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *paths, *names, "experiments"])
    for trial in sweep.trials:
        values = [trial.params[path] for path in paths] + [getattr(trial, name) for name in names]
        experiments = " ".join(str(experiment.id) for experiment in trial.experiments)
        writer.writerow([trial.number, trial.state, *values, experiments])
    return text.getvalue()
