"""Models that can be served, and the aliases that name them."""

from fastapi import APIRouter

from service import schemas
from service.api.deps import Database
from service.store import registry
from service.store.database import reading, writing

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def index(database: Database) -> schemas.Models:
    """Every succeeded experiment is a model."""
    with reading(database) as session:
        return schemas.Models(items=registry.models(session))


@router.put("/aliases/{alias}")
def set_alias(alias: str, target: schemas.AliasTarget, database: Database) -> schemas.Alias:
    """Let an alias mean a model from now on. `production` is what `POST /v1/predict` asks."""
    with writing(database) as session:
        return schemas.Alias.model_validate(registry.set_alias(session, alias, target.experiment_id))
