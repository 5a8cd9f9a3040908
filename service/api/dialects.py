"""Errors in the words of other protocols: problem documents with the members that their clients look for."""

import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.api import problems

Document = dict[str, Any]


class DialectRoute(APIRoute):
    """A route whose problem documents have further members."""

    @staticmethod
    def members(document: Document) -> Document:
        """What to add to a problem document."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's place to wrap all that a route does."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as error:
                response = problems.response(error, request.method, request.url.path)
                document = json.loads(bytes(response.body))
                headers = {name: value for name, value in response.headers.items() if name != "content-length"}
                content = json.dumps(document | self.members(document)).encode()
                return Response(content, response.status_code, headers)

        return handle


class OpenInferenceRoute(DialectRoute):
    """Of the Open Inference Protocol."""

    @staticmethod
    def members(document: Document) -> Document:
        """`error`, a text."""
        return {"error": document["detail"]}


class MlflowRoute(DialectRoute):
    """Of MLflow's scoring server."""

    @staticmethod
    def members(document: Document) -> Document:
        """`error_code`, one of MLflow's, and `message`."""
        match document["status"]:
            case HTTPStatus.NOT_FOUND:
                code = "RESOURCE_DOES_NOT_EXIST"
            case HTTPStatus.TOO_MANY_REQUESTS:
                code = "REQUEST_LIMIT_EXCEEDED"
            case HTTPStatus.SERVICE_UNAVAILABLE:
                code = "TEMPORARILY_UNAVAILABLE"
            case status if status >= 500:
                code = "INTERNAL_ERROR"
            case _:
                code = "INVALID_PARAMETER_VALUE"
        return {"error_code": code, "message": document["detail"]}
