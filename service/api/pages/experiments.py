"""Experiments: the table."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BeforeValidator, StringConstraints

from service import schemas
from service.api.deps import Database
from service.api.pages.base import pages
from service.specs.experiment import PRINTABLE
from service.states import State
from service.store import experiments, overview
from service.store.database import reading
from service.web import table
from service.web.rendering import render

router = pages()

# A form sends its empty fields, too.
_none_if_empty = BeforeValidator(lambda given: given or None)
OptionalState = Annotated[State | None, _none_if_empty]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=PRINTABLE)]
OptionalText = Annotated[Text | None, _none_if_empty]
Sort = Annotated[str, Query(pattern=f"^-?({'|'.join(overview.SORTS)})$")]


@router.get("/")
def index(
    request: Request,
    database: Database,
    state: OptionalState = None,
    tag: OptionalText = None,
    sweep: Annotated[int | None, Query(ge=1, le=experiments.MAX_ID)] = None,
    q: OptionalText = None,
    sort: Sort = table.View.sort,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    columns: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """The table of experiments."""
    view = table.View(state, tag, sweep, q, sort, page, tuple(columns) if columns else None)
    offset = (page - 1) * table.PAGE
    with reading(database) as session:
        found = overview.listing(
            session,
            state=state,
            tag=tag,
            sweep=sweep,
            text=q,
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            offset=offset,
            limit=table.PAGE,
        )
        records = [schemas.Experiment.model_validate(row.experiment) for row in found.rows]
        standing = overview.standing(session)
        tags = overview.tags(session)
    chosen = table.columns([record.spec for record in records], view.columns)
    rows = [_row(record, row, chosen.shown) for record, row in zip(records, found.rows, strict=True)]
    return render(
        "experiments.html",
        section="experiments",
        view=view,
        counts=standing.counts,
        tags=tags,
        columns=chosen,
        rows=rows,
        total=found.total,
        first=offset + 1,
        base=str(request.base_url),
    )


def _row(record: schemas.Experiment, row: overview.Row, shown: list[table.Column]) -> dict[str, Any]:
    keys = [column.key for column in shown if column.key.startswith(table.PARAMETER)]
    return {
        "experiment": record,
        "best": row.best,
        "last": row.last,
        "seconds": table.duration(record, row.seconds),
        "device": row.device,
        "parameters": {key: table.parameter(record.spec, key) for key in keys},
    }
