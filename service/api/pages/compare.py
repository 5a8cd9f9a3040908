"""Compare: any number of experiments side by side."""

from typing import Annotated

from fastapi import Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from service import schemas
from service.api.deps import Database
from service.api.pages.base import pages
from service.errors import Conflict
from service.states import State
from service.store import experiments, predictions
from service.store.database import reading
from service.web import comparison
from service.web.rendering import render

router = pages()

Ids = Annotated[list[Annotated[int, Field(ge=1)]], Query(alias="id", max_length=comparison.MOST, default_factory=list)]


@router.get("/compare")
def compare(database: Database, ids: Ids) -> Response:
    """The comparison of the experiments that are named, in their order."""
    with reading(database) as session:
        runs = [_run(session, experiment_id) for experiment_id in dict.fromkeys(ids)]
        evaluated = [run.record.id for run in runs if run.record.state == State.SUCCEEDED]
        tested = [_test(session, evaluated[0], other) for other in evaluated[1 : comparison.MOST_TESTED]]
    records = [run.record for run in runs]
    differing = comparison.differing(records)
    return render(
        "compare.html",
        section="experiments",
        charts=bool(runs),
        columns=comparison.columns(records),
        figures=comparison.figures(runs),
        differing=differing,
        curves=comparison.curves(runs, differing),
        first=evaluated[0] if evaluated else None,
        evaluated=len(evaluated),
        tested=tested,
        most_tested=comparison.MOST_TESTED,
        matrices=comparison.matrices(runs),
        verdict=comparison.verdict,
    )


def _run(session: Session, experiment_id: int) -> comparison.Run:
    record = schemas.Experiment.model_validate(experiments.get(session, experiment_id))
    metrics = [schemas.EpochMetrics.model_validate(row) for row in experiments.metrics(session, experiment_id)]
    if record.state != State.SUCCEEDED:
        return comparison.Run(record, metrics, None)
    evaluation = schemas.Evaluation.model_validate(experiments.evaluation(session, experiment_id))
    return comparison.Run(record, metrics, evaluation)


def _test(session: Session, first: int, other: int) -> schemas.Comparison | str:
    try:
        return predictions.compare(session, first, other)
    except Conflict as error:
        return str(error)
