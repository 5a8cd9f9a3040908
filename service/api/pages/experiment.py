"""One experiment's page."""

from typing import Annotated

from fastapi import Query, Request, Response
from sqlalchemy.orm import Session

from service import schemas
from service.answers import ARTIFACT
from service.api.deps import Database, ExperimentId
from service.api.pages.base import pages
from service.errors import NotReached
from service.specs.experiment import ModelSpec
from service.store import aliases, artifacts, experiments, overview, predictions
from service.store import attempts as history
from service.store.database import reading
from service.store.results import LOG
from service.web import experiment as page
from service.web import heat, snippets
from service.web.rendering import render
from service.web.table import layers_line

router = pages()

MOST_MISTAKES = 60

Digit = Annotated[int | None, Query(ge=0, le=9)]


@router.get("/experiments/{experiment_id}")
def show(
    request: Request, experiment_id: ExperimentId, database: Database, actual: Digit = None, predicted: Digit = None
) -> Response:
    """One experiment: curves, evaluation, attempts, files."""
    with reading(database) as session:
        row = overview.row(session, experiment_id)
        record = schemas.Experiment.model_validate(row.experiment)
        metrics = [schemas.EpochMetrics.model_validate(each) for each in experiments.metrics(session, experiment_id)]
        attempts = [schemas.Attempt.model_validate(each) for each in history.of(session, experiment_id)]
        files = [schemas.Artifact.model_validate(each) for each in artifacts.of(session, experiment_id)]
        names = [alias.alias for alias in aliases.of(session) if alias.experiment_id == experiment_id]
        kept = {file.name for file in files}
        log = artifacts.get(session, experiment_id, LOG).content if LOG in kept else None
        evaluation = _evaluation(session, experiment_id)
        # One more than are shown tells whether there are more.
        mistakes = (
            predictions.misclassified(
                session, experiment_id, actual=actual, predicted=predicted, limit=MOST_MISTAKES + 1
            )
            if ARTIFACT in kept
            else None
        )
    base, again = str(request.base_url), snippets.shortest(record.spec)
    return render(
        "experiment.html",
        charts=True,
        section="experiments",
        item=record,
        moves=page.moves(record),
        aliases=names,
        best=page.best(metrics),
        metrics=metrics,
        points=[each.model_dump() for each in metrics],
        parameters=ModelSpec.model_validate(record.spec["model"]).parameters,
        seconds=record.result.train_seconds if record.result else row.seconds,
        device=row.device,
        evaluation=evaluation,
        heat=heat.cells(evaluation.confusion_matrix) if evaluation else [],
        shows_mistakes=mistakes is not None,
        chosen=None if actual is None or predicted is None else (actual, predicted),
        mistakes=(mistakes or [])[:MOST_MISTAKES],
        more=len(mistakes or []) > MOST_MISTAKES,
        attempts=[page.told(each) for each in attempts],
        files=files,
        log=page.tail(log),
        layers=layers_line(record.spec["model"]["layers"]),
        curl=snippets.curl(base, again),
        python=snippets.python(base, again),
    )


def _evaluation(session: Session, experiment_id: int) -> schemas.Evaluation | None:
    try:
        return schemas.Evaluation.model_validate(experiments.evaluation(session, experiment_id))
    except NotReached:
        return None
