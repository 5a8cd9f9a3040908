"""Whether the process lives, whether it can work, and Prometheus's metrics."""

from fastapi import APIRouter, Response
from sqlalchemy import text

from service import __version__
from service.api.deps import AppTelemetry, Database
from service.schemas import Health
from service.store.database import reading

router = APIRouter(tags=["health"])


@router.get("/livez")
def livez() -> Health:
    """The process answers."""
    return Health(status="ok", version=__version__)


@router.get("/readyz")
def readyz(database: Database) -> Health:
    """The database answers, too."""
    with reading(database) as session:
        session.execute(text("SELECT 1"))
    return Health(status="ok", version=__version__)


@router.get("/metrics", response_class=Response)
def metrics(telemetry: AppTelemetry) -> Response:
    """Prometheus's text format."""
    return Response(telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
