"""`numeral predict`: which digits are these?"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from service.cli import pictures
from service.cli.options import Json, Server, connect
from service.errors import ImageTooLarge, InvalidImage, InvalidInput, ServiceError

if TYPE_CHECKING:
    from service import schemas
    from service.cli.pictures import Picture
    from service.client import Client, PredictOptions

REFUSALS = frozenset({InvalidImage.code, ImageTooLarge.code, "body_too_large"})
"""Codes of problems that are one picture's, or may be."""


class Row(NamedTuple):
    """What the service said about a file: a prediction, or why there is none."""

    file: str
    model: "schemas.ServedModel | None"
    said: "schemas.Prediction | str"


def predict(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Pictures of one digit each, folders of them, or `-` for one on standard input.", show_default=False
        ),
    ],
    model: Annotated[str | None, typer.Option(help="A model's alias or id; `production` by default.")] = None,
    preprocess: Annotated[
        Literal["auto", "mnist", "none"] | None,
        typer.Option(help="What is done to pictures: brought into MNIST's form (auto, mnist), or nothing."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Confidence under which nothing is taken for a digit; else the model's own."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what the model saw.")] = False,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Classify pictures with a model of the service. One that is refused does not keep the others from being read."""
    from service.schemas import Preprocess

    found = pictures.find(files)
    options: PredictOptions = {
        "preprocess": Preprocess(preprocess) if preprocess else None,
        "threshold": threshold,
        "explain": explain or None,
    }
    rows: list[Row] = []
    try:
        with connect(server) as client:
            for piece in pictures.pieces(found):
                rows += _classify(client, piece, model, options)
        if len(rows) == 1 and isinstance(rows[0].said, str):
            [alone] = rows
            rows = []
            raise InvalidInput(f"{alone.file}: {alone.said}")
    finally:
        # If the service goes away in the middle of a folder, what it has said until then is not lost.
        if rows:
            _show(rows, json_)
    if any(isinstance(row.said, str) for row in rows):
        raise typer.Exit(1)


def _classify(client: "Client", piece: "list[Picture]", model: str | None, options: "PredictOptions") -> list[Row]:
    unread = {picture.name: picture.problem for picture in piece if picture.problem}
    if unread:
        rest = iter(_classify(client, [picture for picture in piece if not picture.problem], model, options))
        return [Row(name, None, unread[name]) if name in unread else next(rest) for name, _, _ in piece]
    if not piece:
        return []
    try:
        answer = client.predict_files([(Path(name).name, content) for name, content, _ in piece], model, **options)
    except ServiceError as error:
        if error.problem.get("code") not in REFUSALS:
            raise
        if len(piece) == 1:
            return [Row(piece[0].name, None, str(error))]
        middle = len(piece) // 2
        halves = (piece[:middle], piece[middle:])
        return [row for half in halves for row in _classify(client, half, model, options)]
    return [
        Row(name, answer.model, prediction) for (name, _, _), prediction in zip(piece, answer.predictions, strict=True)
    ]


def _show(rows: list[Row], json_: bool) -> None:
    from service.cli import render

    if json_:
        model = next((row.model for row in rows if row.model), None)
        answer = {
            "model": model and model.model_dump(mode="json"),
            "predictions": [_as_json(row) for row in rows],
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    for row in rows:
        if not isinstance(row.said, str) and row.said.explanation:
            render.console.print(f"{render.plain(row.file)}\n{render.explanation(row.said)}\n", soft_wrap=True)
    render.console.print(render.predictions((row.file, row.said) for row in rows))


def _as_json(row: Row) -> dict[str, Any]:
    if isinstance(row.said, str):
        return {"file": row.file, "problem": row.said}
    assert row.model is not None
    said = row.said.model_dump(mode="json", exclude=None if row.said.explanation else {"explanation"})
    # Each with its model's id: between two requests, an alias may be let mean another one.
    return {"file": row.file, "model_id": row.model.id, **said}
