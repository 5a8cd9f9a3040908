"""Models: what can be served, and the names that it is served under."""

from fastapi import Response

from service import schemas
from service.api.deps import Database
from service.api.pages.base import pages
from service.store import aliases, registry
from service.store.database import reading
from service.web import models as page
from service.web.rendering import render

router = pages()


@router.get("/models")
def index(database: Database) -> Response:
    """All models and aliases."""
    with reading(database) as session:
        models = registry.models(session)
        names = [schemas.Alias.model_validate(row) for row in aliases.of(session)]
        histories = {
            name.alias: [schemas.AliasChange.model_validate(row) for row in aliases.history(session, name.alias)]
            for name in names
        }
    return render(
        "models.html",
        section="models",
        rows=page.rows(models, names),
        aliases=page.named(names, models, histories),
        actions=page.ACTIONS,
        default=schemas.DEFAULT_ALIAS,
    )
