"""What all pages have in common: their errors are pages, too."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from service.api import problems
from service.schemas import Problem
from service.web.rendering import render


class PageRoute(APIRoute):
    """Answers errors with a page that shows the problem document's text."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's hook."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                refusal = await problems.answer(request, error)
                problem = Problem.model_validate_json(bytes(refusal.body))
                return render("problem.html", status=HTTPStatus(refusal.status_code), section=None, problem=problem)

        return answer


def pages() -> APIRouter:
    """A router for pages; they are no part of the API's document."""
    return APIRouter(route_class=PageRoute, default_response_class=HTMLResponse, include_in_schema=False)
