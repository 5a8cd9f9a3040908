"""The `numeral` command. Heavy imports happen inside the commands, so that `numeral --help` stays quick."""

import sys

import typer

from service.cli import demo, doctor, experiments, models, notebook, predict, serving, sweeps, workers
from service.errors import NumeralError

app = typer.Typer(
    name="numeral",
    help="Train handwritten-digit experiments over REST and serve what they learnt.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(serving.up)
app.command()(serving.api)
app.command()(serving.worker)
app.command()(demo.demo)
app.command()(doctor.doctor)
app.command()(predict.predict)
app.command()(workers.workers)
app.add_typer(serving.db, name="db")
app.add_typer(experiments.app, name="experiment")
app.add_typer(sweeps.app, name="sweep")
app.add_typer(models.app, name="model")
app.add_typer(notebook.app, name="notebook")


def main() -> None:
    """Run the command line; errors that are expected become one line and exit status 1."""
    try:
        app()
    except NumeralError as error:
        print(f"numeral: {error}", file=sys.stderr)
        sys.exit(1)
