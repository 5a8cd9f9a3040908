"""The application: nothing is connected at import, all is put together here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import anyio.to_thread
from fastapi import FastAPI

from service import __version__
from service.api import problems
from service.api.routes import (
    catalogue,
    control,
    experiments,
    files,
    health,
    models,
    predict,
    stream,
    submit,
    workers,
)
from service.api.telemetry import Telemetry, TelemetryMiddleware
from service.inference.models import Models
from service.settings import Settings
from service.store.database import check_schema, open_engine

DESCRIPTION = """Train handwritten-digit experiments and classify images with what they learnt.

Every error is a problem document (RFC 9457) with a stable `code`."""


def create_app(settings: Settings, closing: Event | None = None) -> FastAPI:
    """The API over the database that the settings name. Its schema is checked when the app starts.

    Whoever serves it sets `closing` when the server is told to end, so that event streams end, too.
    """
    database = open_engine(settings.resolved_database_url)
    telemetry = Telemetry(database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(check_schema, database)
        yield
        database.dispose()

    app = FastAPI(
        title="Numeral",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=problems.RESPONSES,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.telemetry = telemetry
    app.state.closing = closing or Event()
    app.state.models = Models(database, settings.model_cache_size, settings.inference_threads)
    problems.install(app, settings.max_body_bytes)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    for module in (submit, experiments, control, stream, files, catalogue, workers, models, predict, health):
        app.include_router(module.router)
    return app
