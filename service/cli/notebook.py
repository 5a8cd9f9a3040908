"""`numeral notebook …`: the notebook that the service grew out of, run as a whole, and reported on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import Json, Server, connect
from service.errors import DatasetUnavailable, InvalidInput
from service.settings import load_settings

if TYPE_CHECKING:
    from service.client import Client
    from service.notebook.found import Found
    from service.notebook.plan import Look, Plan
    from service.notebook.skew import Labelled

app = typer.Typer(
    help="Run every experiment of the notebook that the service grew out of, and report what they come to.",
    no_args_is_help=True,
)

INTERRUPTED = 130

Limit = Annotated[
    int | None, typer.Option(min=10, help="Train on the first so many images only, for a quick look.", metavar="N")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the notebook's, for a quick look.", metavar="N")]
Dataset = Annotated[str | None, typer.Option(help="Another dataset than MNIST.", metavar="NAME")]
Proofs = Annotated[
    bool, typer.Option("--proofs/--no-proofs", help="With the runs that show what the notebook misled about.")
]


@app.command()
def run(
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Every experiment with so many seeds, from 0 on.")] = 3,
    limit: Limit = None,
    epochs: Epochs = None,
    dataset: Dataset = None,
    proofs: Proofs = True,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Submit what is missing of the notebook's experiments, and follow them until all have ended.

    Interrupted, it leaves them in the queue, where they go on; run again, it follows them, and submits only what is not
    there yet: after a failure, or with more seeds. Exit status 0 only if all have succeeded.
    """
    from service.cli.render import console, plain
    from service.notebook import plan as plans
    from service.notebook import run as runs
    from service.notebook.found import standing

    look = plans.Look(seeds, limit, epochs, dataset, proofs)
    with connect(server) as client:
        try:
            plan = _plan(look)
            submitted = runs.submit(client, plan)
            if not json_:
                there = len(plan.titles) - submitted
                count = "1 experiment is" if submitted == 1 else f"{submitted} experiments are"
                told = f"{count} submitted" if submitted else "Nothing is missing"
                console.print(f"{told}, {there} of {len(plan.titles)} were there before.")
            found = runs.follow(client, plan, None if json_ else console)
        except KeyboardInterrupt:
            again = f"numeral notebook run --seeds {seeds}{look.options}{'' if proofs else ' --no-proofs'}"
            typer.echo(f"What is submitted stays in the queue and goes on. Continue: {again}", err=json_)
            raise typer.Exit(INTERRUPTED) from None
    if json_:
        typer.echo(json.dumps(runs.document(plan, found), indent=2))
    failed = standing(plan, found).failed
    if failed:
        typer.echo(f"{len(failed)} of {len(plan.titles)} runs failed: {'; '.join(failed)}", err=True)
        raise typer.Exit(1)
    if not json_:
        console.print(f"All {len(plan.titles)} runs have succeeded. Read: numeral notebook report{plain(look.options)}")


@app.command()
def report(
    output: Annotated[Path, typer.Option(help="The folder to write into.", metavar="FOLDER")] = Path(),
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=100, help="How many there should be; by default those that were begun.", metavar="N"),
    ] = None,
    limit: Limit = None,
    epochs: Epochs = None,
    dataset: Dataset = None,
    json_: Json = False,
    server: Server = None,
) -> None:
    """Write notebook.md and notebook.html: what the notebook printed beside what its experiments come to.

    A quick look is found with the options that it was run with. What has not ended yet is said to be missing.
    """
    from service.notebook import figures
    from service.notebook import report as reports
    from service.notebook.plan import Look

    with connect(server) as client:
        look, found = _begun(client, Look(seeds or 0, limit, epochs, dataset))
        collected = figures.collect(client, _plan(look), found, _test_set(dataset or "mnist"))
    written = reports.write(collected, output)
    if json_:
        typer.echo(json.dumps([str(file) for file in written]))
    else:
        typer.echo(f"Written: {', '.join(str(file) for file in written)}")


def _plan(look: "Look") -> "Plan":
    from pydantic import ValidationError

    from service.notebook.plan import plan

    try:
        return plan(look)
    except ValidationError as error:
        raise InvalidInput(f"{error.errors()[0]['loc'][-1]}: {error.errors()[0]['msg']}.") from None


def _begun(client: "Client", look: "Look") -> "tuple[Look, Found]":
    """What there is, and the look with its number of seeds, if none was wished for."""
    from service.notebook.found import Finder
    from service.notebook.plan import begun_seeds

    found = Finder(client).look()
    seeds = begun_seeds(look, (int(each.spec["seed"]) for each in found.experiments.values()), found.experiments)
    if not seeds:
        options = " (a quick look is found with the options that it was run with)"
        raise InvalidInput(f"There is no run of the notebook yet: numeral notebook run{look.options}{options}.")
    return look._replace(seeds=look.seeds or seeds), found


def _test_set(name: str) -> "Labelled | str":
    """The test images, or why there are none on this machine. Nothing is downloaded for a report."""
    from service.data import catalogue, mnist
    from service.notebook.skew import Labelled

    settings = load_settings()
    if name == "mnist" and mnist.find(settings.datasets_dir, settings.cache_dir) is None:
        return f"{mnist.FILE} is not on this machine: put it into a folder and name it in NUMERAL_DATASETS_DIR."
    try:
        test = catalogue.load(name, settings.datasets_dir, settings.cache_dir).test
    except (DatasetUnavailable, ImportError) as error:
        return f"{name} cannot be read on this machine: {error}"
    return Labelled(test.images, test.labels)
