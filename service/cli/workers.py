"""`numeral workers`: who trains."""

import json

import typer

from service.cli.options import Json, Server, connect


def workers(json_: Json = False, server: Server = None) -> None:
    """The workers, the newest first, and what each trains at the moment."""
    from service.cli import render

    with connect(server) as client:
        items = client.workers()
    if json_:
        typer.echo(json.dumps([item.model_dump(mode="json") for item in items], indent=2))
    elif items:
        render.console.print(render.workers(items))
    else:
        typer.echo("No workers. Start one: numeral worker")
