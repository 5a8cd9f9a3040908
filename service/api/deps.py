"""What routes depend on. A write transaction is committed here and nowhere else, before the answer is sent."""

from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.api.telemetry import Telemetry
from service.errors import UnknownExperiment
from service.inference.models import Models
from service.settings import Settings
from service.store.database import reading, writing


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _database(request: Request) -> Engine:
    database: Engine = request.app.state.database
    return database


def _models(request: Request) -> Models:
    models: Models = request.app.state.models
    return models


def _telemetry(request: Request) -> Telemetry:
    telemetry: Telemetry = request.app.state.telemetry
    return telemetry


def _is_closing(request: Request) -> Callable[[], bool]:
    is_closing: Callable[[], bool] = request.app.state.is_closing
    return is_closing


def _read_session(request: Request) -> Iterator[Session]:
    with reading(_database(request)) as session:
        yield session


def _write_session(request: Request) -> Iterator[Session]:
    with writing(_database(request)) as session:
        yield session


def _experiment_id(experiment_id: Annotated[str, Path(description="an experiment's id")]) -> int:
    # Ids are numbers, but that is no caller's business: what is none is an id that does not exist.
    if not experiment_id.isascii() or not experiment_id.isdecimal() or len(experiment_id) > 10:
        raise UnknownExperiment(experiment_id)
    return int(experiment_id)


AppSettings = Annotated[Settings, Depends(_settings)]
Database = Annotated[Engine, Depends(_database)]
ServedModels = Annotated[Models, Depends(_models)]
AppTelemetry = Annotated[Telemetry, Depends(_telemetry)]
IsClosing = Annotated[Callable[[], bool], Depends(_is_closing)]
# scope="function": over before the response begins, so that a client is never told of what was not committed.
ReadSession = Annotated[Session, Depends(_read_session, scope="function")]
WriteSession = Annotated[Session, Depends(_write_session, scope="function")]
ExperimentId = Annotated[int, Depends(_experiment_id)]
