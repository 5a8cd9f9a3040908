"""The client's way to the service: requests, answers read as schemas, and refusals as errors."""

import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import httpx_sse
from pydantic import BaseModel, ValidationError

from service import schemas
from service.errors import InvalidInput, ServiceError, Unreachable

Answer = TypeVar("Answer", bound=BaseModel)
AnyPage = TypeVar("AnyPage", schemas.Page, schemas.MisclassifiedPage, schemas.Sweeps)

PAGE_LIMIT = 500
"""Most items of a page, as the service has it."""

SILENCE_SECONDS = 30.0
"""The service sends a comment at least every 15 s: a longer silence is a broken connection."""


class Transport:
    """Connections to one service. Every method raises what `service.client.Client` says."""

    def __init__(self, server: str, api_key: str | None, timeout: float) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self.server = server
        try:
            self._http = httpx.Client(base_url=server.rstrip("/"), headers=headers, timeout=timeout)
        except httpx.InvalidURL as error:
            raise Unreachable(f"{server!r} is not a usable address: {error}.") from None
        except UnicodeEncodeError:
            raise InvalidInput("The API key has characters that no HTTP header can carry.") from None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, kind: type[Answer], path: str, **request: Any) -> Answer:
        """What there is under a path."""
        return self.ask(kind, "GET", path, **request)

    def ask(self, kind: type[Answer], method: str, path: str, **request: Any) -> Answer:
        """Send a request, and read its answer."""
        answer = self.send(method, path, **request)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            raise _strange(answer) from None

    def pages(self, kind: type[AnyPage], path: str, limit: int, **filters: Any) -> Iterator[AnyPage]:
        """The pages of a list, until they have `limit` items together or there are no more. Filters may be None."""
        known = {name: value for name, value in filters.items() if value is not None}
        cursor, left = None, limit
        while left > 0:
            place: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            page = self.get(kind, path, params=known | place | {"limit": min(left, PAGE_LIMIT)})
            yield page
            cursor, left = page.next_cursor, left - len(page.items)
            if cursor is None:
                return

    def delete(self, path: str) -> None:
        """Let there be nothing under a path."""
        answer = self.send("DELETE", path)
        if answer.status_code != HTTPStatus.NO_CONTENT:
            raise _strange(answer)

    def events(self, path: str, after: int) -> Iterator[httpx_sse.ServerSentEvent]:
        """Server-sent events from number `after` on, until the stream ends."""
        with httpx_sse.connect_sse(
            self._http, "GET", path, headers={"Last-Event-ID": str(after)}, timeout=httpx.Timeout(SILENCE_SECONDS)
        ) as source:
            if not source.response.is_success:
                source.response.read()
                raise _refused(source.response)
            # Keep-alive comments come out as events without data.
            yield from (event for event in source.iter_sse() if event.data)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request; only answers of success come back."""
        try:
            answer = self._http.request(method, path, **request)
        except httpx.UnsupportedProtocol:
            raise Unreachable(f"{self.server!r} is not a usable address: write http://host:port.") from None
        except (httpx.LocalProtocolError, httpx.InvalidURL, ValueError) as error:
            raise InvalidInput(f"The request cannot be sent: {error}.") from None
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"No answer from {self.server} ({reason}). Is the service running?") from None
        if not answer.is_success:
            raise _refused(answer)
        return answer


def segment(text: str) -> str:
    """One segment of a path, whatever characters it has."""
    return urllib.parse.quote(text, safe="")


def _strange(answer: httpx.Response) -> ServiceError:
    return ServiceError(f"{answer.url} does not answer as Numeral does.", answer.status_code)


def _refused(answer: httpx.Response) -> ServiceError:
    try:
        problem = answer.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        problem, detail = {}, f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}."
    return ServiceError(detail, answer.status_code, problem)
