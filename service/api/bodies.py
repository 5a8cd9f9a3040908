"""Request bodies in memory: each of them limited, and all of them together; and clients that leave."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope

from service.errors import InvalidInput, Overloaded

HELD = 8
"""How many of the largest bodies may be in memory at once."""

GONE = "The client has gone."

Result = TypeVar("Result")


class Bodies:
    """Reads bodies of at most `largest` bytes, as long as there is memory for them."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._held = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """A request's body; it counts as held until it is released, which is when its images are classified.

        Raises:
            HTTPException: 413, it is too large.
            Overloaded: too much is held already.
            InvalidInput: the client has gone.
        """
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._largest:
                raise HTTPException(413)
        parts: list[bytes] = []
        size = 0
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise InvalidInput(GONE)
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._held += len(part)
                if size > self._largest:
                    raise HTTPException(413)
                if self._held > HELD * self._largest:
                    raise Overloaded(1)
                more = message.get("more_body", False)
        except BaseException:
            self._held -= size
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self, body: bytes) -> None:
        """A body that was read is not needed any more."""
        self._held -= len(body)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """What the work comes to, given up when the client goes; to be used when its body has been read.

    Raises:
        InvalidInput: the client has gone.
    """
    done, gone = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise InvalidInput(GONE)
        return done.result()
    finally:
        done.cancel()
        gone.cancel()
