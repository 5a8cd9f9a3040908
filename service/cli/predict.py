"""`numeral predict`: which digits are these?"""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import Json, Server, connect
from service.errors import InvalidInput


def predict(
    files: Annotated[list[Path], typer.Argument(help="Pictures of one digit each.", show_default=False)],
    model: Annotated[str | None, typer.Option(help="A model's alias or id; `production` by default.")] = None,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Classify pictures with a model of the service."""
    from service.cli import render

    pictures = [(file.name, _read(file)) for file in files]
    with connect(server) as client:
        answer = client.predict_files(pictures, model)
    if json_:
        typer.echo(answer.model_dump_json(indent=2))
        return
    for file, prediction in zip(files, answer.predictions, strict=True):
        render.console.print(f"{render.plain(str(file))}: [bold]{prediction.digit}[/]  ({prediction.confidence:.1%})")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
