"""Errors as problem documents (RFC 9457). The only place that knows which error is which HTTP status."""

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.schemas import FieldError, Problem
from service.store.database import AWAY

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# The first class that an error is an instance of counts. 413 and 422 by number: Python 3.13 renamed them.
STATUSES: tuple[tuple[type[errors.NumeralError], HTTPStatus], ...] = (
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.ImageTooLarge, HTTPStatus(413)),
    (errors.InvalidInput, HTTPStatus(422)),
    (errors.UnsupportedMedia, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
)

RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "What was wrong with the request",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}
"""For the OpenAPI document of every route."""


def install(app: FastAPI, max_body_bytes: int) -> None:
    """Let every error of the app be answered with a problem document, a body over the limit included."""
    # Not FastAPI's max_body_size: that limiter stands outside all middleware, where nothing could shape its answer.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=max_body_bytes)
    app.add_middleware(BodyLimitProblems)
    for kind in (RequestValidationError, errors.NumeralError, HTTPException, *AWAY, Exception):
        app.add_exception_handler(kind, answer)


async def answer(request: Request, error: Exception) -> Response:
    """The answer to a request that one of the app's routes could not answer."""
    if isinstance(error, RequestValidationError):
        return _invalid_request(request, error)
    return response(error, request.method, request.url.path)


def response(error: Exception, method: str, path: str) -> Response:
    """The answer to a request that ended with an error."""
    match error:
        case errors.NumeralError():
            return _numeral_error(error, method, path)
        case HTTPException():
            return _http_error(error, method, path)
        case _ if isinstance(error, AWAY):
            return _database_away(error, method, path)
        case _:
            return _unexpected(error, method, path)


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    fields: list[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer that is a problem document; `code` also makes its type, a URN."""
    document = Problem(
        type=f"urn:numeral:problem:{code}", title=status.phrase, status=status, detail=detail, code=code, errors=fields
    )
    content = document.model_dump(mode="json", exclude_none=True)
    return JSONResponse(content, status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


class BodyLimitProblems:
    """Gives the limiter's answer, which is plain text, the shape of a problem document."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        replaced = False

        async def replace(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 413:
                replaced = MEDIA_TYPE not in Headers(raw=message["headers"]).get("Content-Type", "")
            if not replaced:
                await send(message)

        await self.app(scope, receive, replace)
        if replaced:
            await _body_too_large()(scope, receive, send)


@lru_cache
def _overloaded(seconds: int) -> Response:
    # Made once: under an overload nearly all answers are this one.
    headers = {"Retry-After": str(seconds)}
    return problem(HTTPStatus.TOO_MANY_REQUESTS, errors.Overloaded.code, str(errors.Overloaded(seconds)), None, headers)


def _numeral_error(error: errors.NumeralError, method: str, path: str) -> Response:
    if isinstance(error, errors.Overloaded):
        return _overloaded(error.retry_seconds)
    for kind, status in STATUSES:
        if isinstance(error, kind):
            again = {"Retry-After": "1"} if isinstance(error, errors.RequestInFlight) else None
            return problem(status, error.code, str(error), headers=again)
    return _unexpected(error, method, path)


def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    kind = request.headers.get("Content-Type", "").lower()
    if error.body is not None and "json" not in kind:
        detail = f"Send the body as JSON, with Content-Type: application/json (it is {kind or 'missing'})."
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, errors.UnsupportedMedia.code, detail)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        detail = f"The body is not JSON: {first['ctx']['error']} (at character {first['loc'][-1]})."
        return problem(HTTPStatus(422), "invalid_json", detail)
    fields = [FieldError(field=_path(item["loc"], error.body), message=item["msg"]) for item in error.errors()]
    detail = "; ".join(f"{field.field}: {field.message}" for field in fields[:3])
    if len(fields) > 3:
        detail += f"; and {len(fields) - 3} more"
    return problem(HTTPStatus(422), "invalid_request", detail, fields)


def _http_error(error: HTTPException, method: str, path: str) -> Response:
    status = HTTPStatus(error.status_code)
    match error.status_code:
        case 400:
            # What parsers give up on: a broken form, invalid UTF-8, nesting without end, numbers of 5,000 digits.
            reason = str(error.detail).rstrip(".")
            code, detail = "unreadable_body", f"The body cannot be parsed: {reason}."
        case 404:
            code, detail = "no_such_route", f"There is nothing at {path}."
        case 405:
            code, detail = "method_not_allowed", f"{method} is not possible at {path}."
        case 413:
            return _body_too_large()
        case other:
            code, detail = f"http_{other}", str(error.detail)
    return problem(status, code, detail, headers=error.headers)


def _body_too_large() -> Response:
    # The rest of the body is not read, so the connection is of no further use.
    detail = "The body is larger than the service accepts."
    return problem(HTTPStatus(413), "body_too_large", detail, headers={"Connection": "close"})


def _database_away(error: Exception, method: str, path: str) -> Response:
    logger.error("%s %s: the database does not answer: %s", method, path, error)
    detail = "The database does not answer at the moment."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable", detail, headers={"Retry-After": "1"})


def _unexpected(error: Exception, method: str, path: str) -> Response:
    logger.error("%s %s failed", method, path, exc_info=error)
    detail = "The service failed to answer this request; its log says why."
    # The server closes the connection after an error that nobody foresaw: tell the client.
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail, headers={"Connection": "close"})


def _path(location: Sequence[str | int], body: Any) -> str:
    """`("body", "model", "layers", 0, "conv2d", "filters")` as `model.layers[0].filters`.

    Pydantic puts the tag of a discriminated union into the location; clients look for the field they sent.
    """
    parts = list(location[1:] if location and location[0] in ("body", "query", "path", "header") else location)
    text = ""
    for index, part in enumerate(parts):
        if isinstance(part, int):
            text += f"[{part}]"
            body = body[part] if isinstance(body, list) and part < len(body) else None
        elif isinstance(body, dict) and part not in body and index < len(parts) - 1:
            continue
        else:
            text += f".{part}" if text else part
            body = body.get(part) if isinstance(body, dict) else None
    return text or "body"
