"""Draw: a digit that models say their mind about while it is drawn."""

from typing import Annotated

from fastapi import Query, Request, Response

from service import schemas
from service.api.deps import Database
from service.api.pages.base import pages
from service.store import aliases, registry
from service.store.database import reading
from service.web import draw
from service.web.rendering import render

router = pages()


@router.get("/draw")
def index(request: Request, database: Database, model: Annotated[list[str] | None, Query()] = None) -> Response:
    """The canvas, and what the chosen models see on it; the first is the one that `model` names first."""
    with reading(database) as session:
        models = registry.models(session)
        names = [schemas.Alias.model_validate(row) for row in aliases.of(session)]
    offered = draw.offer(models, names)
    return render(
        "draw.html",
        section="draw",
        offered=offered,
        choice=draw.choose(offered, model or []),
        most=draw.MOST_MODELS,
        base=str(request.base_url),
    )
