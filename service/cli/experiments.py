"""`numeral experiment …`: submit experiments, follow them, and say what becomes of them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.documents import assign, read
from service.cli.options import Json, Server, connect
from service.errors import InvalidInput
from service.states import TERMINAL, State

if TYPE_CHECKING:
    from service import schemas

app = typer.Typer(help="Submit experiments, follow them, pause, resume, retry and delete them.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="The experiment's id.", show_default=False)]


@app.command()
def submit(
    file: Annotated[
        Path | None, typer.Argument(help="A spec as JSON; `-` reads standard input.", show_default=False)
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Fill in what is not given from this preset.")] = None,
    name: Annotated[str | None, typer.Option(help="The experiment's name.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given several times.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Set a field, for example optimizer.learning_rate=0.01."),
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option("--reuse", help="Queue nothing if an experiment with the same spec, data and code succeeded."),
    ] = False,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Sent again with the same spec, it gives the same experiment, not a second."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Put an experiment into the queue."""
    spec = read(file)
    spec |= {field: value for field, value in (("preset", preset), ("name", name), ("tags", tag)) if value}
    for assignment in set_ or []:
        assign(spec, assignment)
    with connect(server) as client:
        experiment = client.submit(spec, idempotency_key=idempotency_key, reuse=reuse)
    if watch:
        _watch(experiment.id, json_, server)
    elif json_:
        typer.echo(experiment.model_dump_json(indent=2))
    elif experiment.state in TERMINAL:
        typer.echo(
            f"Experiment {experiment.id} {experiment.state} before. See: numeral experiment show {experiment.id}"
        )
    else:
        typer.echo(
            f"Experiment {experiment.id} is {experiment.state}. Follow it: numeral experiment watch {experiment.id}"
        )


@app.command("list")
def list_(
    state: Annotated[State | None, typer.Option(help="Only experiments in this state.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only experiments with this tag.")] = None,
    sweep: Annotated[int | None, typer.Option(min=1, help="Only a sweep's trials.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Experiments, newest first."""
    from service.cli import render

    with connect(server) as client:
        items = list(client.experiments(state=state, tag=tag, sweep=sweep, limit=limit))
    if json_:
        typer.echo(json.dumps([item.model_dump(mode="json") for item in items], indent=2))
    elif items:
        render.console.print(render.experiments(items))
    else:
        typer.echo("No experiments. Submit one: numeral experiment submit --preset baseline")


@app.command()
def show(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """One experiment: its result, its attempts if there were several, its epochs, its confusions."""
    from service.cli import render

    with connect(server) as client:
        item = client.experiment(experiment_id)
        if json_:
            typer.echo(item.model_dump_json(indent=2))
            return
        render.console.print(render.summary(item))
        if len(attempts := client.attempts(experiment_id)) > 1:
            render.console.print(render.attempts(attempts))
        if epochs := client.metrics(experiment_id):
            render.console.print(render.metrics(epochs))
        if item.state == State.SUCCEEDED:
            evaluation = client.evaluation(experiment_id)
            render.console.print(render.confusion_matrix(evaluation))
            if told := render.confusions(evaluation):
                render.console.print(told)


@app.command()
def compare(
    ids: Annotated[list[int], typer.Argument(metavar="ID ID…", help="The experiments' ids.", show_default=False)],
    json_: Json = False,
    server: Server = None,
) -> None:
    """Experiments side by side: in which fields their specs differ, their figures, and whether each of the others is
    better than the first, or the difference may be chance (McNemar's test)."""
    if len(ids) < 2:
        raise InvalidInput("Name two experiments at least.")
    from service.cli import comparison, render

    with connect(server) as client:
        compared = comparison.look(client, ids)
    if json_:
        typer.echo(json.dumps(comparison.document(compared), indent=2))
        return
    for part in comparison.shown(compared):
        render.console.print(part)


@app.command()
def watch(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Follow an experiment until it has ended; exit status 0 only if it succeeded. --json prints an event a line."""
    _watch(experiment_id, json_, server)


@app.command()
def cancel(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Cancel an experiment: at once if it waits, within seconds if it is running."""
    with connect(server) as client:
        item = client.cancel(experiment_id)
    _say(item, "is cancelled" if item.state == State.CANCELLED else "will be stopped by its worker", json_)


@app.command()
def pause(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Let an experiment wait until it is resumed: at once if it is queued, after a checkpoint if it is running."""
    with connect(server) as client:
        item = client.pause(experiment_id)
    _say(item, "is paused" if item.state == State.PAUSED else "will be paused by its worker", json_)


@app.command()
def resume(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Let a paused experiment go on where it was; or a running one, if it was to be paused."""
    with connect(server) as client:
        item = client.resume(experiment_id)
    _say(item, "is queued again" if item.state == State.QUEUED else "goes on and will not be paused", json_)


@app.command()
def retry(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Begin a failed or cancelled experiment anew."""
    with connect(server) as client:
        item = client.retry(experiment_id)
    _say(item, "is queued again", json_)


@app.command()
def delete(experiment_id: Id, json_: Json = False, server: Server = None) -> None:
    """Forget an experiment with its metrics, events and files; not while it runs or an alias means its model."""
    with connect(server) as client:
        client.delete(experiment_id)
    if json_:
        typer.echo(json.dumps({"id": experiment_id, "deleted": True}))
    else:
        typer.echo(f"Experiment {experiment_id} is deleted.")


def _say(item: "schemas.Experiment", what: str, json_: bool) -> None:
    typer.echo(item.model_dump_json(indent=2) if json_ else f"Experiment {item.id} {what}.")


def _watch(experiment_id: int, json_: bool, server: str | None) -> None:
    from service.cli import render

    with connect(server) as client:
        if json_:
            for event in client.events(experiment_id):
                typer.echo(json.dumps({"event": event.type, "number": event.number, **event.data}))
            item = client.experiment(experiment_id)
        else:
            item = render.watch(client, experiment_id)
            render.console.print(render.summary(item))
    if item.state != State.SUCCEEDED:
        raise typer.Exit(1)
