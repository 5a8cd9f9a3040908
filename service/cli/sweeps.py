"""`numeral sweep …`: begin sweeps, follow them, and end them."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.documents import assign, parsed, read
from service.cli.options import Json, Server, connect
from service.states import SweepState

if TYPE_CHECKING:
    from rich.table import Table

    from service import schemas
    from service.client import Client

app = typer.Typer(help="Train an experiment in many variants, and see which is the best.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(help="The sweep's id.", show_default=False)]

LOOK_SECONDS = 0.5


@app.command()
def create(
    file: Annotated[
        Path | None, typer.Argument(help="A sweep's spec as JSON; `-` reads standard input.", show_default=False)
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Fill in what is not given from this sweep preset.")] = None,
    name: Annotated[str | None, typer.Option(help="The sweep's name.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Set a field, for example sampler=tpe or base.epochs=2."),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=JSON",
            help='Vary a field: a list, or a range as {"low": 0.001, "high": 0.1, "log": true}.',
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until it has ended.")] = False,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Begin a sweep."""
    spec = read(file)
    spec |= {field: value for field, value in (("preset", preset), ("name", name)) if value}
    for assignment in set_ or []:
        assign(spec, assignment)
    if vary:
        spec["space"] = dict(spec.get("space", {})) | dict(parsed("--vary", each) for each in vary)
    with connect(server) as client:
        sweep = client.create_sweep(spec)
    if watch:
        _watch(sweep.id, json_, server)
    elif json_:
        typer.echo(sweep.model_dump_json(indent=2))
    else:
        typer.echo(f"Sweep {sweep.id} has begun: {_counted(sweep)}. Follow it: numeral sweep watch {sweep.id}")


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Sweeps, newest first."""
    from service.cli import render

    with connect(server) as client:
        items = list(client.sweeps(limit=limit))
    if json_:
        typer.echo(json.dumps([item.model_dump(mode="json") for item in items], indent=2))
    elif items:
        render.console.print(_list(items))
    else:
        typer.echo("No sweeps. Begin one: numeral sweep create --preset grid")


@app.command()
def show(
    sweep_id: Id,
    csv: Annotated[bool, typer.Option("--csv", help="Print the trials as CSV.")] = False,
    json_: Json = False,
    server: Server = None,
) -> None:
    """One sweep: its trials, the best first."""
    with connect(server) as client:
        if csv:
            typer.echo(client.sweep_table(sweep_id), nl=False)
            return
        _print(client.sweep(sweep_id), json_)


@app.command()
def watch(sweep_id: Id, json_: Json = False, server: Server = None) -> None:
    """Follow a sweep until it has ended; exit status 0 only if one of its trials succeeded."""
    _watch(sweep_id, json_, server)


@app.command()
def cancel(sweep_id: Id, json_: Json = False, server: Server = None) -> None:
    """End a sweep, and all of its trials."""
    with connect(server) as client:
        sweep = client.cancel_sweep(sweep_id)
    typer.echo(sweep.model_dump_json(indent=2) if json_ else f"Sweep {sweep.id} is cancelled, and its trials with it.")


def _watch(sweep_id: int, json_: bool, server: str | None) -> None:
    with connect(server) as client:
        sweep = client.sweep(sweep_id) if json_ else _follow(client, sweep_id)
        while sweep.state == SweepState.RUNNING:
            time.sleep(LOOK_SECONDS)
            sweep = client.sweep(sweep_id)
    _print(sweep, json_)
    if sweep.state != SweepState.SUCCEEDED:
        raise typer.Exit(1)


def _follow(client: "Client", sweep_id: int) -> "schemas.SweepDetails":
    """Show a progress bar until the sweep has ended, and a line for each trial that does."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from service.cli import render
    from service.states import OPEN_TRIALS

    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    told: set[int] = set()
    with Progress(*columns, console=render.console, transient=True) as bar:
        task = bar.add_task("trials", total=None)
        while True:
            sweep = client.sweep(sweep_id)
            bar.update(task, total=sweep.progress.trials, completed=sweep.progress.ended)
            for trial in sorted(sweep.trials, key=lambda trial: trial.number):
                if trial.state not in OPEN_TRIALS and trial.number not in told:
                    told.add(trial.number)
                    bar.console.print(_line(trial), soft_wrap=True)
            if sweep.state != SweepState.RUNNING:
                return sweep
            time.sleep(LOOK_SECONDS)


def _print(sweep: "schemas.SweepDetails", json_: bool) -> None:
    from service.cli import render

    if json_:
        typer.echo(sweep.model_dump_json(indent=2))
        return
    why = f": {render.plain(sweep.error)}" if sweep.error else ""
    render.console.print(f"Sweep {sweep.id} ({render.plain(sweep.name)}) {sweep.state}{why}, {_counted(sweep)}")
    if sweep.trials:
        render.console.print(_trials(sweep))


def _list(items: "Iterable[schemas.Sweep]") -> "Table":
    from rich.table import Table

    from service.cli import render

    table = Table("id", "name", "state", "trials", "sampler", "best", "point", box=None, pad_edge=False)
    for item in items:
        best = item.best
        table.add_row(
            str(item.id),
            render.plain(item.name),
            item.state,
            f"{item.progress.ended} of {item.progress.trials}",
            item.spec["sampler"],
            _figure(best.value) if best else "",
            render.plain(_point(best)) if best else "",
        )
    return table


def _trials(sweep: "schemas.SweepDetails") -> "Table":
    from rich.table import Table

    from service.cli import render

    paths = list(sweep.spec["space"])
    objective = sweep.spec["objective"].replace("_", " ")
    table = Table(box=None, pad_edge=False)
    table.add_column("trial")
    table.add_column("state", no_wrap=True)
    for path in paths:
        # Between its parts a path may be broken.
        table.add_column(render.plain(path.replace(".", " ").replace("_", " ")))
    for name in (objective, "test accuracy", "epochs", "ids"):
        table.add_column(name)
    for trial in sweep.trials:
        table.add_row(
            str(trial.number),
            trial.state,
            *(render.plain(_text(trial.params[path])) for path in paths),
            _with_deviation(trial.value, trial.value_std),
            _with_deviation(trial.test_accuracy, trial.test_accuracy_std),
            str(trial.epochs),
            ", ".join(str(experiment.id) for experiment in trial.experiments) or render.plain(trial.error or ""),
        )
    return table


def _line(trial: "schemas.Trial") -> str:
    from service.cli import render

    value = _with_deviation(trial.value, trial.value_std)
    return f"trial {trial.number:>3}  {trial.state:9}  {value:8}  {render.plain(_point(trial))}"


def _point(trial: "schemas.Trial") -> str:
    return ", ".join(f"{path}={_text(value)}" for path, value in trial.params.items())


def _counted(sweep: "schemas.Sweep") -> str:
    return f"{sweep.progress.ended} of {sweep.progress.trials} trials done"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _with_deviation(mean: float | None, deviation: float | None) -> str:
    return _figure(mean) if deviation is None else f"{_figure(mean)} ± {deviation:.4f}"
