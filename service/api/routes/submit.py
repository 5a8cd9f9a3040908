"""Submitting: once per idempotency key, and not at all where an identical experiment has succeeded. Or only a check."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service import schemas
from service.api.checks import check_dataset
from service.api.deps import Database
from service.data.catalogue import CATALOGUE
from service.specs.experiment import Submission
from service.specs.fingerprint import digest, fingerprint
from service.specs.shapes import sizes
from service.states import State
from service.store import idempotency, queue, reuse, tables
from service.store.database import writing
from service.store.idempotency import Claim

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[ -~]*$",  # printable ASCII
        description="a request that comes again with its key is answered with the experiment that it came to",
    ),
]


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses={HTTPStatus.OK.value: {"model": schemas.Experiment, "description": "`reuse`: it has succeeded already"}},
)
def submit(
    submission: Submission, database: Database, response: Response, idempotency_key: IdempotencyKey = None
) -> schemas.Experiment:
    """Put an experiment into the queue."""
    check_dataset(submission)
    if idempotency_key is None:
        with writing(database) as session:
            experiment = schemas.Experiment.model_validate(_find_or_enqueue(session, submission))
    else:
        experiment = _submit_once(database, submission, idempotency_key)
    if submission.reuse and experiment.state == State.SUCCEEDED:
        response.status_code = HTTPStatus.OK
    response.headers["Location"] = f"/v1/experiments/{experiment.id}"
    return experiment


@router.post("/validate")
def validate(submission: Submission) -> schemas.Validated:
    """Check a submission and store nothing: what would be stored, or the problem that submitting it would be."""
    check_dataset(submission)
    spec = submission.spec
    layers = [schemas.LayerSize(shape=list(shape), parameters=count) for shape, count in sizes(spec.model.layers)]
    return schemas.Validated(spec=spec.model_dump(mode="json"), parameters=spec.model.parameters, layers=layers)


def _submit_once(database: Engine, submission: Submission, key: str) -> schemas.Experiment:
    with writing(database) as session:
        claim = idempotency.claim(session, key, digest(submission.model_dump(mode="json")))
        if not isinstance(claim, Claim):
            return schemas.Experiment.model_validate(claim)
    try:
        with writing(database) as session:
            experiment = _find_or_enqueue(session, submission)
            idempotency.complete(session, claim, experiment.id)
            return schemas.Experiment.model_validate(experiment)
    except Exception:
        with writing(database) as session:
            idempotency.release(session, claim)
        raise


def _find_or_enqueue(session: Session, submission: Submission) -> tables.Experiment:
    spec = submission.spec
    if submission.reuse:
        found = reuse.find(session, fingerprint(spec, CATALOGUE[spec.dataset].sha256))
        if found is not None:
            return found
    return queue.enqueue(session, spec)
