"""Submit: a form with every field of an experiment."""

from typing import Annotated

from fastapi import Query, Request, Response

from service import schemas
from service.api.deps import Database
from service.api.pages.base import pages
from service.api.routes import catalogue
from service.data.catalogue import CATALOGUE
from service.errors import NotFound
from service.store import experiments
from service.store.database import reading
from service.web import form
from service.web.rendering import render

router = pages()

Source = Annotated[int | None, Query(alias="from", ge=1, description="an experiment's id")]


@router.get("/submit")
def submit(request: Request, database: Database, source: Source = None, preset: str = form.DEFAULT_PRESET) -> Response:
    """The form, filled from a preset or an experiment."""
    presets = catalogue.presets().items
    if source is not None:
        with reading(database) as session:
            experiment = schemas.Experiment.model_validate(experiments.get(session, source))
        start = form.start_of(experiment, presets)
    else:
        start = _start(presets, preset)
    return render(
        "submit.html",
        section="submit",
        presets=presets,
        start=start,
        data=form.data(start, presets, list(CATALOGUE)),
        base=str(request.base_url),
    )


def _start(presets: list[schemas.Preset], name: str) -> form.Start:
    if not name:
        return form.Start("", form.scratch())
    for preset in presets:
        if preset.name == name:
            return form.Start(name, preset.spec.model_dump(mode="json"))
    raise NotFound(f"There is no preset {name!r}; there are: {', '.join(preset.name for preset in presets)}.")
