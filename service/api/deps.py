"""What routes depend on.

Sessions are opened inside route functions, in the one thread that runs them: a session that a dependency kept open
would hold its connection, and on SQLite the write lock, while the answer waits for another thread of the same pool.
"""

from threading import Event
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlalchemy import Engine

from service.api.telemetry import Telemetry
from service.errors import UnknownExperiment, UnknownSweep
from service.inference.models import Models
from service.inference.serving import Serving
from service.settings import Settings

# async, though nothing here waits: each plain function would cost a hop to a thread and back.


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _database(request: Request) -> Engine:
    database: Engine = request.app.state.database
    return database


async def _models(request: Request) -> Models:
    serving: Serving = request.app.state.serving
    return serving.models


async def _telemetry(request: Request) -> Telemetry:
    telemetry: Telemetry = request.app.state.telemetry
    return telemetry


async def _closing(request: Request) -> Event:
    closing: Event = request.app.state.closing
    return closing


async def _experiment_id(experiment_id: Annotated[str, Path(description="an experiment's id")]) -> int:
    return _number(experiment_id, UnknownExperiment)


async def _sweep_id(sweep_id: Annotated[str, Path(description="a sweep's id")]) -> int:
    return _number(sweep_id, UnknownSweep)


def _number(text: str, unknown: type[UnknownExperiment | UnknownSweep]) -> int:
    # Ids are numbers, but that is no caller's business: what is none is an id that does not exist.
    if not text.isascii() or not text.isdecimal() or len(text) > 10:
        raise unknown(text)
    return int(text)


AppSettings = Annotated[Settings, Depends(_settings)]
Database = Annotated[Engine, Depends(_database)]
ServedModels = Annotated[Models, Depends(_models)]
AppTelemetry = Annotated[Telemetry, Depends(_telemetry)]
Closing = Annotated[Event, Depends(_closing)]
ExperimentId = Annotated[int, Depends(_experiment_id)]
SweepId = Annotated[int, Depends(_sweep_id)]
