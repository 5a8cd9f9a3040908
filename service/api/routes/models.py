"""Models that can be served, and the aliases that name them."""

from http import HTTPStatus

from fastapi import APIRouter

from service import schemas
from service.api.deps import Database, ServedModels
from service.card import Variant
from service.promotion import AliasTarget
from service.store import aliases, registry
from service.store.database import reading, writing

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def index(database: Database) -> schemas.Models:
    """Every succeeded experiment is a model."""
    with reading(database) as session:
        return schemas.Models(items=registry.models(session))


@router.get("/aliases")
def alias_index(database: Database) -> schemas.Aliases:
    """The names that models are served under."""
    with reading(database) as session:
        return schemas.Aliases(items=[schemas.Alias.model_validate(row) for row in aliases.of(session)])


@router.get("/aliases/{alias}")
def alias(alias: str, database: Database) -> schemas.Alias:
    """What an alias means, and what it found out as a shadow."""
    with reading(database) as session:
        return schemas.Alias.model_validate(aliases.get(session, alias))


@router.get("/aliases/{alias}/history")
def alias_history(alias: str, database: Database) -> schemas.AliasHistory:
    """What an alias has meant, newest first."""
    with reading(database) as session:
        items = [schemas.AliasChange.model_validate(row) for row in aliases.history(session, alias)]
    return schemas.AliasHistory(items=items)


@router.put("/aliases/{alias}")
def promote(alias: str, target: AliasTarget, database: Database, models: ServedModels) -> schemas.Alias:
    """Let an alias mean a model from now on. `production` is what `POST /v1/predict` asks.

    The model is loaded and verified first; what cannot be served, or does not pass a gate, is refused, and the alias
    stays as it is.
    """
    with reading(database) as session:
        aliases.check(session, alias, target)
    models.verify(target.experiment_id, target.variant)
    with writing(database) as session:
        return schemas.Alias.model_validate(aliases.promote(session, alias, target))


@router.post("/aliases/{alias}/rollback")
def rollback(alias: str, database: Database, models: ServedModels) -> schemas.Alias:
    """Let an alias mean what it meant before it was set last. A second time leads back."""
    with reading(database) as session:
        earlier = aliases.earlier(session, alias)
    models.verify(earlier.experiment_id, Variant(earlier.variant))
    with writing(database) as session:
        return schemas.Alias.model_validate(aliases.rollback(session, alias, earlier.number))


@router.delete("/aliases/{alias}", status_code=HTTPStatus.NO_CONTENT)
def delete(alias: str, database: Database) -> None:
    """Let an alias mean nothing. Its history stays."""
    with writing(database) as session:
        aliases.delete(session, alias)


@router.get("/{reference}")
def show(reference: str, database: Database) -> schemas.ModelDetails:
    """One model, by an alias or its experiment's id, with its files."""
    with reading(database) as session:
        return registry.details(session, reference)
