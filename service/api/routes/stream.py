"""An experiment's events as they happen: server-sent events."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from service import schemas
from service.api.deps import AppSettings, Closing, Database, ExperimentId
from service.errors import UnknownExperiment
from service.states import TERMINAL
from service.store import experiments
from service.store.database import reading
from service.store.tables import Event

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])


def _existing(experiment_id: ExperimentId, database: Database) -> int:
    """Refuse an unknown experiment while the answer can still be a 404."""
    with reading(database) as session:
        return experiments.get(session, experiment_id).id


@router.get("/{experiment_id}/events", response_class=EventSourceResponse)
async def events(
    experiment_id: Annotated[int, Depends(_existing)],
    database: Database,
    settings: AppSettings,
    closing: Closing,
    last_event_id: Annotated[int, Header(ge=0, le=experiments.MAX_ID)] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """All events so far and then each as it happens, until the experiment has ended.

    An event's `id` is its number: a client that reconnects with `Last-Event-ID` misses nothing. Between them come
    `progress` events without an id, which are only worth something at the moment.
    """

    def look(after: int) -> tuple[Sequence[Event], schemas.Progress, bool]:
        with reading(database) as session:
            # The state first: if the experiment has ended by now, what ended it is among the events read after.
            experiment = experiments.get(session, experiment_id)
            new = experiments.events(session, experiment_id, after)
            return new, schemas.Progress.model_validate(experiment.progress), experiment.state in TERMINAL

    seen, shown = last_event_id, None
    while True:
        try:
            new, progress, ended = await anyio.to_thread.run_sync(look, seen)
        except UnknownExperiment:
            # Deleted meanwhile: an answer that has begun can only end.
            return
        for event in new:
            data = event.data | {"created_at": event.created_at}
            yield ServerSentEvent(event=event.type, id=str(event.number), data=data)
            seen = event.number
        # At a shutdown, too: the client comes back with the number of its last event.
        if ended or closing.is_set():
            return
        if progress != shown:
            yield ServerSentEvent(event="progress", data=progress)
            shown = progress
        await anyio.sleep(settings.poll_seconds)
