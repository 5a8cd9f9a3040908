"""The application: nothing is connected at import, all is put together here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import anyio.to_thread
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from service import __version__
from service.api import pages, problems
from service.api.bodies import Bodies
from service.api.leader import Leader
from service.api.openapi import document_predictions
from service.api.predictions import Predictions
from service.api.routes import (
    catalogue,
    changes,
    control,
    evaluation,
    experiments,
    files,
    health,
    inference_protocol,
    mlflow,
    models,
    stream,
    submit,
    sweeps,
    workers,
)
from service.api.telemetry import Telemetry, TelemetryMiddleware
from service.inference.processors import available
from service.inference.serving import Serving
from service.settings import Settings
from service.store.database import check_schema, open_engine

DESCRIPTION = """Train handwritten-digit experiments and classify images with what they learnt.

Every error is a problem document (RFC 9457) with a stable `code`."""


class Application(FastAPI):
    """FastAPI for everything but predictions, which do not pass through its middleware and routing."""

    predictions: Predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (reference := Predictions.reference(scope["path"])) is not None:
            await self.predictions(scope, receive, send, reference)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, closing: Event | None = None) -> FastAPI:
    """The API over the database that the settings name. Its schema is checked when the app starts.

    Whoever serves it sets `closing` when the server is told to end, so that event streams end, too.
    """
    database = open_engine(settings.resolved_database_url)
    telemetry = Telemetry(database, shared=settings.api_processes > 1)
    threads = settings.inference_threads or max(1, available() // settings.api_processes)
    serving = Serving(database, settings, threads, telemetry.batch)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(check_schema, database)
        leader = Leader(database)
        leader.start()
        yield
        await anyio.to_thread.run_sync(leader.close)
        await anyio.to_thread.run_sync(serving.close)
        database.dispose()

    app = Application(
        title="Numeral",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.telemetry = telemetry
    app.state.closing = closing or Event()
    app.state.serving = serving
    app.state.bodies = bodies = Bodies(settings.max_body_bytes)
    app.predictions = Predictions(serving, bodies, settings, telemetry)
    problems.install(app, settings.max_body_bytes)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry)
    for module in (
        submit,
        experiments,
        evaluation,
        control,
        sweeps,
        stream,
        changes,
        files,
        catalogue,
        workers,
        models,
        health,
        inference_protocol,
        mlflow,
    ):
        app.include_router(module.router)
    pages.install(app)
    document_predictions(app)
    return app
