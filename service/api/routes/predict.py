"""Images in, digits out. Four kinds of body; what each means is told by the content type."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from service import schemas
from service.api.deps import AppSettings, AppTelemetry, ServedModels
from service.errors import InvalidInput, UnsupportedMedia
from service.inference import decode
from service.inference.decode import Pixels
from service.store.registry import DEFAULT_ALIAS

router = APIRouter(prefix="/v1", tags=["predictions"])

MAX_PARTS = 1000

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "description": "28×28 or 784 numbers from 0 to 255, or base64 of an encoded picture",
                            "items": {},
                        }
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary", "description": "N × 784 unsigned bytes"}
            },
        },
    }
}


@router.post("/predict", openapi_extra=BODY)
async def predict(
    request: Request, models: ServedModels, settings: AppSettings, telemetry: AppTelemetry
) -> schemas.Predictions:
    """Classify images with the model that `production` means."""
    return await _predict(DEFAULT_ALIAS, request, models, settings, telemetry)


@router.post("/models/{reference}/predict", openapi_extra=BODY)
async def predict_with(
    reference: str, request: Request, models: ServedModels, settings: AppSettings, telemetry: AppTelemetry
) -> schemas.Predictions:
    """Classify images with the model that an alias or an experiment's id means."""
    return await _predict(reference, request, models, settings, telemetry)


async def _predict(
    reference: str, request: Request, models: ServedModels, settings: AppSettings, telemetry: AppTelemetry
) -> schemas.Predictions:
    pixels = await _pixels(request, settings.max_image_pixels)

    def classify() -> schemas.Predictions:
        model, session = models.get(reference)
        return schemas.Predictions(model=model, predictions=_digits(session.probabilities(pixels)))

    # Loading, running and the database block: none of it belongs on the event loop.
    answer = await run_in_threadpool(classify)
    telemetry.images.labels(answer.model.id).inc(len(pixels))
    return answer


async def _pixels(request: Request, max_pixels: int) -> Pixels:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=MAX_PARTS, max_fields=MAX_PARTS) as form:
            parts = [await part.read() for part in form.getlist("file") if isinstance(part, UploadFile)]
        if not parts:
            raise InvalidInput("The form has no part named 'file' with a picture in it.")
        return await run_in_threadpool(decode.pictures, parts, max_pixels)
    body = await request.body()
    if not body:
        raise InvalidInput("The body is empty: send JSON, a picture, a form with 'file' parts, or N × 784 bytes.")
    if kind == "application/json":
        return await run_in_threadpool(decode.json_images, body, max_pixels)
    if kind == "application/octet-stream":
        return decode.octets(body)
    if kind.startswith("image/"):
        return await run_in_threadpool(decode.picture, body, max_pixels)
    given = f"Content-Type {kind!r} is not understood" if kind else "There is no Content-Type"
    raise UnsupportedMedia(f"{given}: use application/json, image/*, multipart/form-data or application/octet-stream.")


def _digits(probabilities: np.ndarray) -> list[schemas.Prediction]:
    digits = probabilities.argmax(axis=1)
    return [
        # Validation would cost more than the model: these numbers come from a softmax.
        schemas.Prediction.model_construct(digit=digit, confidence=row[digit], probabilities=row)
        for digit, row in zip(digits.tolist(), probabilities.tolist(), strict=True)
    ]
