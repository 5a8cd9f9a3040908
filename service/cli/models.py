"""`numeral model …`: which models there are, and which of them the aliases mean."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.card import ONNX_ARTIFACTS, Variant
from service.cli.files import write
from service.cli.options import Json, Server, connect
from service.errors import InvalidInput, ServiceError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from service import schemas
    from service.client import Client

app = typer.Typer(help="List, promote, roll back and export models.", no_args_is_help=True)

KERAS = "model.keras"

Reference = Annotated[str, typer.Argument(metavar="REF", help="A model's alias or id.", show_default=False)]
AliasName = Annotated[str, typer.Option(help="The alias that is meant.")]


@app.command("list")
def list_(json_: Json = False, server: Server = None) -> None:
    """Models, newest first."""
    from service.cli import render

    with connect(server) as client:
        items = client.models()
    if json_:
        _echo(items)
    elif items:
        render.console.print(render.models(items))
    else:
        typer.echo("No models. Train one: numeral experiment submit --preset baseline")


@app.command()
def show(reference: Reference, json_: Json = False, server: Server = None) -> None:
    """One model: its files, their accuracy, the aliases that mean it."""
    from service.cli import render

    with connect(server) as client:
        item = client.model(reference)
        aliases = [alias for alias in client.aliases() if alias.experiment_id == item.id]
    if json_:
        typer.echo(item.model_dump_json(indent=2))
        return
    render.console.print(
        f"Model {item.id} ({render.plain(item.name)}): test accuracy [bold]{item.test_accuracy:.4f}[/] on "
        f"{item.dataset}, {item.parameters:,} parameters"
    )
    render.console.print(render.model_files(item.files))
    if aliases:
        render.console.print(render.aliases(aliases))


@app.command()
def aliases(json_: Json = False, server: Server = None) -> None:
    """What each alias means, and how often a shadow disagreed with what it shadows."""
    from service.cli import render

    with connect(server) as client:
        items = client.aliases()
    if json_:
        _echo(items)
    elif items:
        render.console.print(render.aliases(items))
    else:
        typer.echo("No aliases: the first experiment that succeeds becomes `production`.")


@app.command()
def promote(
    reference: Reference,
    alias: AliasName = "production",
    variant: Annotated[
        Variant | None, typer.Option(help="Precision to serve it in; else what REF means, fp32 for an id.")
    ] = None,
    minimum_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Refuse it if its test accuracy is less.")
    ] = None,
    not_worse: Annotated[
        bool,
        typer.Option("--not-worse", help="Refuse it if the alias means a more accurate one, on the same test set."),
    ] = False,
    shadows: Annotated[
        str | None,
        typer.Option(metavar="ALIAS", help="Let it answer, too, what this alias is asked, and count disagreements."),
    ] = None,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Let an alias mean a model from now on. The service verifies that it can be served first."""
    with connect(server) as client:
        item = client.promote(
            client.model(reference).id,
            alias,
            variant=variant or _variant(client, reference),
            shadows=shadows,
            minimum_accuracy=minimum_accuracy,
            not_worse=not_worse,
        )
    _say(item, json_)


@app.command()
def rollback(alias: AliasName = "production", json_: Json = False, server: Server = None) -> None:
    """Let an alias mean what it meant before it was set last. A second time leads back."""
    with connect(server) as client:
        item = client.rollback(alias)
    _say(item, json_)


@app.command()
def history(alias: AliasName = "production", json_: Json = False, server: Server = None) -> None:
    """What an alias has meant, newest first."""
    from service.cli import render

    with connect(server) as client:
        items = client.history(alias)
    if json_:
        _echo(items)
    else:
        render.console.print(render.alias_changes(items))


@app.command("delete-alias")
def delete_alias(
    alias: Annotated[str, typer.Argument(help="The alias.", show_default=False)],
    json_: Json = False,
    server: Server = None,
) -> None:
    """Let an alias mean nothing. Model and history stay."""
    with connect(server) as client:
        client.delete_alias(alias)
    typer.echo(json.dumps({"alias": alias, "deleted": True}) if json_ else f"{alias} means nothing any more.")


@app.command()
def export(
    reference: Reference,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File or folder to write to; a name with .keras asks for the Keras model.",
            show_default="model-ID.onnx",
        ),
    ] = None,
    variant: Annotated[Variant | None, typer.Option(help="Precision; else what REF means, fp32 for an id.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Download a model's file."""
    with connect(server) as client:
        model_id = client.model(reference).id
        if output is not None and output.suffix == ".keras":
            if variant == Variant.INT8:
                raise InvalidInput("There is no int8 model for Keras: leave out --variant, or write to a .onnx file.")
            name = KERAS
        else:
            variant = variant or _variant(client, reference)
            name = ONNX_ARTIFACTS[variant]
        default = name.replace("model", f"model-{model_id}", 1)
        target = Path(default) if output is None else output / default if output.is_dir() else output
        if target.exists() and not force:
            raise InvalidInput(f"{target} is there already: --force overwrites it.")
        content = _download(client, model_id, name)
    write(target, content, force)
    if json_:
        typer.echo(json.dumps({"id": model_id, "file": str(target), "artifact": name, "size": len(content)}))
    else:
        typer.echo(f"Model {model_id}: {name} is in {target} ({len(content):,} bytes).")


def _variant(client: "Client", reference: str) -> Variant:
    return Variant.FP32 if reference.isdecimal() else client.alias(reference).variant


def _download(client: "Client", model_id: int, name: str) -> bytes:
    listed = next((item for item in client.artifacts(model_id) if item.name == name), None)
    if listed is None:
        raise InvalidInput(f"Model {model_id} has no {name}.")
    content = client.download(model_id, name)
    if hashlib.sha256(content).hexdigest() != listed.sha256:
        raise ServiceError(f"{name} of model {model_id} did not arrive whole: try again.")
    return content


def _say(item: "schemas.Alias", json_: bool) -> None:
    shadows = f" and shadows {item.shadows}" if item.shadows else ""
    text = f"{item.alias} means model {item.experiment_id} ({item.variant}){shadows}."
    typer.echo(item.model_dump_json(indent=2) if json_ else text)


def _echo(items: "Sequence[BaseModel]") -> None:
    typer.echo(json.dumps([item.model_dump(mode="json") for item in items], indent=2))
