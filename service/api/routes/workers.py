"""Who trains."""

from fastapi import APIRouter

from service import schemas
from service.api.deps import AppSettings, Database
from service.store import workers
from service.store.database import reading

router = APIRouter(prefix="/v1", tags=["workers"])


@router.get("/workers")
def index(database: Database, settings: AppSettings) -> schemas.Workers:
    """The workers that have not said goodbye, and what each trains at the moment."""
    with reading(database) as session:
        return schemas.Workers(items=workers.listing(session, settings.lease_seconds))
