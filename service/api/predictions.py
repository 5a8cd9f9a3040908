"""`POST /v1/predict` and `POST /v1/models/{reference}/predict`: images in, digits out.

An ASGI application of its own, in front of FastAPI's: its middleware, routing and dependencies would add some 0.1 ms to
a request, which is an image's share of a batch in int8. Whatever FastAPI's application does around a request, the body
limit, metrics and problem documents, is done here too.
"""

import time
import urllib.parse
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from service.api import problems
from service.api.bodies import Bodies, while_connected
from service.api.telemetry import Telemetry
from service.errors import InvalidInput, UnsupportedMedia
from service.inference import decode
from service.inference.batcher import Answer
from service.inference.decode import Images, Options
from service.inference.preprocess import VERSION, Normalised
from service.inference.serving import Serving
from service.inference.verdict import digits
from service.schemas import Explanation, Preprocess
from service.settings import Settings
from service.store.aliases import DEFAULT_ALIAS

PATH, MODEL_PATH = "/v1/predict", "/v1/models/{reference}/predict"

MAX_PARTS = 1000
INLINE_BYTES = 16 * 1024
"""Bodies up to this size are parsed on the event loop: handing them to a thread would take longer."""
INLINE_IMAGES = 128
"""Answers up to this length are written on the event loop; longer ones are worth being given up if the client goes."""


class Predictions:
    """Answers predictions."""

    def __init__(self, serving: Serving, bodies: Bodies, settings: Settings, telemetry: Telemetry) -> None:
        self._serving = serving
        self._bodies = bodies
        self._max_pixels = settings.max_image_pixels
        self._telemetry = telemetry

    @staticmethod
    def reference(path: str) -> str | None:
        """The alias or id that a path asks, None if it is no path of a prediction."""
        if path == PATH:
            return DEFAULT_ALIAS
        if path.startswith("/v1/models/") and path.endswith("/predict"):
            inner = path[len("/v1/models/") : -len("/predict")]
            return inner if inner and "/" not in inner else None
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send, reference: str) -> None:
        """ASGI; the path's reference has been found already."""
        began = time.perf_counter()
        status = 500
        try:
            status, content = 200, await self._answer(scope, receive, reference)
        except Exception as error:
            response = problems.response(error, scope["method"], scope["path"])
            status = response.status_code
            await response(scope, receive, send)
        else:
            await send(_start(len(content)))
            await send({"type": "http.response.body", "body": content})
        finally:
            route = PATH if scope["path"] == PATH else MODEL_PATH
            self._telemetry.answered(scope["method"], route, status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, reference: str) -> bytes:
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        # Before anything is read: under an overload most requests must cost next to nothing.
        self._serving.check_room()
        body = await self._bodies.read(scope, receive)
        try:
            # Once more: others have come while it was read.
            self._serving.check_room()
            images, options = await self._images(scope, body)
            few = len(images.pixels) <= INLINE_IMAGES
            work = self._serving.classify(reference, images.pixels)
            answer = await (work if few else while_connected(receive, work))
        finally:
            self._bodies.release(body)
        self._telemetry.classified(answer.target.resolved.id, len(images.pixels))
        if few:
            return _encoded(answer, images, options)
        return await self._serving.aside(lambda: _encoded(answer, images, options))

    async def _images(self, scope: Scope, body: bytes) -> tuple[Images, Options]:
        options = _options(scope["query_string"])
        kind = _kind(next((value for name, value in scope["headers"] if name == b"content-type"), b""))
        if not body:
            raise InvalidInput("The body is empty: send JSON, a picture, a form with 'file' parts, or N × 784 bytes.")
        small = len(body) <= INLINE_BYTES
        aside, most = self._serving.aside, self._max_pixels
        if kind == "application/json":
            document = decode.parse(body, options) if small else await aside(lambda: decode.parse(body, options))
            if small and document.is_numbers:
                return decode.json_images(document, most), document.options
            return await aside(lambda: decode.json_images(document, most)), document.options
        if kind == "application/octet-stream":
            if options.preprocess is not Preprocess.MNIST:
                return decode.octets(body, options.preprocess), options
            return await aside(lambda: decode.octets(body, options.preprocess)), options
        if kind == "multipart/form-data":
            parts, options = await _form(scope, body, options)
            return await aside(lambda: decode.encoded(parts, options.preprocess, most)), options
        if kind.startswith("image/"):
            if small and options.preprocess is Preprocess.NONE:
                return decode.encoded([body], options.preprocess, most), options
            return await aside(lambda: decode.encoded([body], options.preprocess, most)), options
        given = f"Content-Type {kind!r} is not understood" if kind else "There is no Content-Type"
        raise UnsupportedMedia(
            f"{given}: use application/json, image/*, multipart/form-data or application/octet-stream."
        )


def _start(length: int) -> Message:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


@lru_cache
def _kind(content_type: bytes) -> str:
    return content_type.decode("latin-1").partition(";")[0].strip().lower()


def _options(query: bytes) -> Options:
    if not query:
        return Options()
    try:
        pairs = urllib.parse.parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise InvalidInput("The query has more parameters than there are.") from None
    return decode.parameters(dict(pairs), Options())


async def _form(scope: Scope, body: bytes, options: Options) -> tuple[list[bytes], Options]:
    """The contents of a form's `file` parts, and its other fields as options."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    try:
        async with Request(scope, receive).form(max_files=MAX_PARTS, max_fields=MAX_PARTS) as form:
            parts = [await part.read() for part in form.getlist("file") if isinstance(part, UploadFile)]
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    if not parts:
        raise InvalidInput("The form has no part named 'file' with a picture in it.")
    return parts, decode.parameters(fields, options)


def _encoded(answer: Answer, images: Images, options: Options) -> bytes:
    """`schemas.Predictions` as JSON; pydantic would take longer for it than the model for the images."""
    resolved, card = answer.target.resolved, answer.target.servable.card
    count = len(images.pixels)
    normalised = images.normalised or [None] * count
    if options.threshold is not None:
        thresholds = [options.threshold] * count
    else:
        thresholds = [card.floor if each is None else card.threshold for each in normalised]
    predictions = [
        {"digit": digit, "reason": reason, "confidence": max(row), "probabilities": row}
        for (digit, reason), row in zip(
            digits(answer.beliefs, thresholds), answer.beliefs.probabilities.tolist(), strict=True
        )
    ]
    if options.explain:
        for prediction, pixels, how in zip(predictions, images.pixels, normalised, strict=True):
            prediction["explanation"] = _explanation(pixels, how)
    return msgspec.json.encode({"model": resolved._asdict(), "predictions": predictions})


def _explanation(pixels: np.ndarray, how: Normalised | None) -> dict[str, Any]:
    return Explanation(
        pixels=pixels.tolist(),
        preprocess=Preprocess.NONE if how is None else Preprocess.MNIST,
        preprocess_version=VERSION,
        box=how.box if how else None,
        polarity=how.polarity if how else None,
    ).model_dump(mode="json")
