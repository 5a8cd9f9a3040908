"""What an experiment's model does with the test set: figures, the images that it gets wrong, and who does better."""

import hashlib
import io
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image

from service import schemas
from service.api.deps import Database, ExperimentId
from service.api.etags import has_already
from service.errors import NotFound
from service.store import experiments, predictions
from service.store.database import reading

router = APIRouter(prefix="/v1/experiments", tags=["evaluation"])

PNG = "image/png"
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {PNG: {}}, "description": "28×28 grey pixels, 8 bits each"}
}

Digit = Annotated[int | None, Query(ge=0, le=9)]


@router.get("/{experiment_id}/evaluation")
def evaluation(experiment_id: ExperimentId, database: Database) -> schemas.Evaluation:
    """What the exported model does with the test set."""
    with reading(database) as session:
        return schemas.Evaluation.model_validate(experiments.evaluation(session, experiment_id))


@router.get("/{experiment_id}/misclassified")
def misclassified(
    experiment_id: ExperimentId,
    database: Database,
    actual: Digit = None,
    predicted: Digit = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[int, Query(ge=0, le=experiments.MAX_ID, description="a page's `next_cursor`")] = 0,
) -> schemas.MisclassifiedPage:
    """The test images that the model takes for another digit, most confident first; of these digits only, if given."""
    with reading(database) as session:
        # One more than asked for tells whether a page follows. What was evaluated never changes: a place is stable.
        found = predictions.misclassified(
            session, experiment_id, actual=actual, predicted=predicted, offset=cursor, limit=limit + 1
        )
    items = [
        schemas.Misclassified(
            **asdict(mistake), image=f"/v1/experiments/{experiment_id}/misclassified/{mistake.index}.png"
        )
        for mistake in found[:limit]
    ]
    return schemas.MisclassifiedPage(items=items, next_cursor=str(cursor + limit) if len(found) > limit else None)


@router.get("/{experiment_id}/misclassified/{index}.png", response_class=Response, responses=PICTURE)
@router.head("/{experiment_id}/misclassified/{index}.png", response_class=Response, include_in_schema=False)
def thumbnail(experiment_id: ExperimentId, index: str, database: Database, request: Request) -> Response:
    """A misclassified test image, by its place in the test set. Its ETag is the SHA-256 of its content."""
    with reading(database) as session:
        # Places are numbers, but that is no caller's business: what is none is a place that does not exist.
        if not index.isascii() or not index.isdecimal() or len(index) > 10:
            experiments.get(session, experiment_id)
            raise NotFound(f"Experiment {experiment_id} has misclassified no test image {index!r}.")
        content = _png(predictions.image(session, experiment_id, int(index)))
    etag = f'"{hashlib.sha256(content).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if has_already(request.headers, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=PNG)


@router.get("/{experiment_id}/comparison")
def comparison(
    experiment_id: ExperimentId,
    database: Database,
    other: Annotated[int, Query(alias="with", ge=1, le=experiments.MAX_ID, description="another experiment's id")],
) -> schemas.Comparison:
    """Whether one of two experiments is better on the same test images, or the difference may be chance."""
    with reading(database) as session:
        return predictions.compare(session, experiment_id, other)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
