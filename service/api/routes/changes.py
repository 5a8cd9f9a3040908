"""What happens to all experiments, as it happens: server-sent events."""

from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.to_thread
from fastapi import APIRouter
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service.api.deps import AppSettings, Closing, Database
from service.store import overview
from service.store.database import reading
from service.store.overview import Standing, Step

router = APIRouter(prefix="/v1", tags=["experiments"])

POLLS = 4
"""This stream looks at all experiments, and is for people: it does so more seldom than that of a single one."""


@router.get("/events", response_class=EventSourceResponse)
async def events(database: Database, settings: AppSettings, closing: Closing) -> AsyncIterator[ServerSentEvent]:
    """`changed` when any experiment was submitted, moved on or deleted, with the number in each state; `progress` for
    each running one. The first `changed` comes at once. What is missed is not kept: look at the experiments instead.
    """

    def look() -> tuple[Standing, Sequence[Step]]:
        with reading(database) as session:
            return overview.standing(session), overview.steps(session)

    standing: Standing | None = None
    shown: dict[int, Step] = {}
    while not closing.is_set():
        now, steps = await anyio.to_thread.run_sync(look)
        if now != standing:
            yield ServerSentEvent(event="changed", data={"counts": now.counts})
            standing = now
        for step in steps:
            if shown.get(step.id) != step:
                yield ServerSentEvent(event="progress", data=step._asdict())
        shown = {step.id: step for step in steps}
        await anyio.sleep(POLLS * settings.poll_seconds)
