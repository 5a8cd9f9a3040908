"""How the command line shows things."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from service import schemas
from service.client import Client, StreamEvent
from service.states import State

console = Console(highlight=False)

SHADES = " ░▒▓█"


def experiments(items: Iterable[schemas.Experiment]) -> Table:
    """A row per experiment."""
    table = Table("id", "name", "state", "epoch", "test accuracy", "tags", "created", box=None, pad_edge=False)
    for item in items:
        accuracy = f"{item.result.test_accuracy:.4f}" if item.result else item.error.code if item.error else ""
        table.add_row(
            str(item.id),
            plain(item.name),
            item.state,
            f"{item.progress.epoch}/{item.progress.epochs}",
            accuracy,
            plain(", ".join(item.tags)),
            f"{item.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def metrics(items: Iterable[schemas.EpochMetrics]) -> Table:
    """A row per epoch."""
    names = ("epoch", "train loss", "train accuracy", "val loss", "val accuracy", "seconds")
    table = Table(*names, box=None, pad_edge=False)
    for item in items:
        figures = (item.train_loss, item.train_accuracy, item.val_loss, item.val_accuracy)
        table.add_row(str(item.epoch), *(_figure(figure) for figure in figures), f"{item.seconds:.1f}")
    return table


def attempts(items: Iterable[schemas.Attempt]) -> Table:
    """A row per attempt."""
    table = Table("attempt", "worker", "started", "ended", "outcome", "message", box=None, pad_edge=False)
    for item in items:
        table.add_row(
            str(item.number),
            plain(item.worker),
            _time(item.started_at),
            _time(item.ended_at) if item.ended_at else "",
            item.outcome,
            plain(item.message or ""),
        )
    return table


def workers(items: Iterable[schemas.Worker]) -> Table:
    """A row per worker."""
    names = ("worker", "device", "slots", "version", "started", "last heard of", "trains")
    table = Table(*names, box=None, pad_edge=False)
    for item in items:
        table.add_row(
            plain(item.name),
            plain(item.device),
            str(item.slots),
            plain(item.version),
            _time(item.started_at),
            _time(item.last_beat_at) + ("" if item.alive else " [red](silent)[/]"),
            ", ".join(str(experiment_id) for experiment_id in item.experiments),
        )
    return table


def confusion_matrix(evaluation: schemas.Evaluation) -> Table:
    """Actual digits down, predicted ones across."""
    labels = [str(label) for label in evaluation.labels]
    table = Table("actual", *labels, title="Confusion matrix (columns: predicted)", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, row in zip(labels, evaluation.confusion_matrix, strict=True):
        cells = [
            f"[bold]{count}[/]" if predicted == label else str(count)
            for predicted, count in zip(labels, row, strict=True)
        ]
        table.add_row(label, *cells)
    return table


def confusions(evaluation: schemas.Evaluation) -> str:
    """What the model gets wrong most often, and how far its confidence can be believed."""
    told = []
    if evaluation.expected_calibration_error is not None:
        told.append(f"Expected calibration error: {evaluation.expected_calibration_error:.4f}")
    if pairs := evaluation.top_confusions:
        named = (f"{pair.actual} as {pair.predicted} ({pair.count}×)" for pair in pairs)
        told.append(f"Most confused: {', '.join(named)}")
    return "\n".join(told)


def models(items: Iterable[schemas.Model]) -> Table:
    """A row per model."""
    names = ("id", "name", "dataset", "test accuracy", "parameters", "int8", "aliases", "finished")
    table = Table(*names, box=None, pad_edge=False)
    for item in items:
        table.add_row(
            str(item.id),
            plain(item.name),
            item.dataset,
            f"{item.test_accuracy:.4f}",
            f"{item.parameters:,}",
            "yes" if item.int8 else "",
            ", ".join(item.aliases),
            f"{item.finished_at.astimezone():%Y-%m-%d %H:%M}",
        )
    return table


def model_files(items: Iterable[schemas.ModelFile]) -> Table:
    """A row per variant."""
    table = Table("variant", "file", "test accuracy", "bytes", "sha256", box=None, pad_edge=False)
    for item in items:
        table.add_row(item.variant, item.name, _figure(item.test_accuracy), f"{item.size:,}", item.sha256[:16])
    return table


def aliases(items: Iterable[schemas.Alias]) -> Table:
    """A row per alias."""
    table = Table("alias", "model", "variant", "set", "since", "shadows", "disagrees", box=None, pad_edge=False)
    for item in items:
        disagrees = f"{item.shadow_disagreements:,} of {item.shadow_images:,}" if item.shadows else ""
        times = f"{item.number}×"
        since = _time(item.updated_at)
        table.add_row(item.alias, str(item.experiment_id), item.variant, times, since, item.shadows or "", disagrees)
    return table


def alias_changes(items: Iterable[schemas.AliasChange]) -> Table:
    """A row per change of an alias."""
    table = Table("number", "model", "variant", "shadows", "action", "time", box=None, pad_edge=False)
    for item in items:
        table.add_row(
            str(item.number),
            str(item.experiment_id),
            item.variant,
            item.shadows or "",
            item.action,
            _time(item.changed_at),
        )
    return table


def predictions(items: Iterable[tuple[str, schemas.Prediction | str]]) -> Table:
    """A row per picture: what the model sees in it, or why it was refused."""
    table = Table("file", "digit", "confidence", "reason", box=None, pad_edge=False)
    for column in table.columns:
        # A path is cut nowhere.
        column.overflow = "fold"
    for name, said in items:
        if isinstance(said, str):
            table.add_row(plain(name), "–", "", f"[red]{plain(said)}[/]")
        else:
            seen = "–" if said.digit is None else f"[bold]{said.digit}[/]"
            table.add_row(plain(name), seen, f"{said.confidence:.1%}", said.reason or "")
    return table


def explanation(prediction: schemas.Prediction) -> str:
    """What the model saw, and what it takes that for."""
    seen = prediction.explanation
    if seen is None:
        return ""
    told = [f"preprocess {seen.preprocess}"]
    if seen.box:
        told.append(f"box {seen.box.width}×{seen.box.height} at ({seen.box.left}, {seen.box.top})")
    if seen.polarity:
        told.append(seen.polarity.replace("_", " "))
    likely = sorted(enumerate(prediction.probabilities), key=lambda item: -item[1])[:3]
    told += [f"{label}: {probability:.1%}" for label, probability in likely]
    return f"{digit(seen.pixels)}\n{', '.join(told)}"


def digit(pixels: Sequence[Sequence[float]]) -> str:
    """A 28×28 image in characters, two columns a pixel; empty rows are left out."""
    return "\n".join(
        "".join(SHADES[min(int(value) * len(SHADES) // 256, len(SHADES) - 1)] * 2 for value in row).rstrip()
        for row in pixels
        if any(row)
    )


def watch(client: Client, experiment_id: int) -> schemas.Experiment:
    """Follow an experiment with a progress bar until it has ended."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(State.QUEUED, total=1.0, note="waiting for a worker")
        for event in client.events(experiment_id):
            if line := _line(event):
                bar.console.print(line)
            if event.type == "progress":
                bar.update(task, completed=event.data["fraction"])
            else:
                bar.update(task, **_status(event))
    return client.experiment(experiment_id)


def summary(item: schemas.Experiment) -> str:
    """One experiment's end in one line."""
    head = f"Experiment {item.id} ({plain(item.name)}) {item.state}"
    if item.result:
        result = item.result
        return (
            f"{head}: test accuracy [bold]{result.test_accuracy:.4f}[/], test loss {result.test_loss:.4f}, "
            f"{result.parameters:,} parameters, {result.train_seconds:.1f} s of training "
            f"({result.images_per_second:,.0f} images/s)"
        )
    return f"{head}: {plain(item.error.message)} ({item.error.code})" if item.error else head


def plain(text: str) -> str:
    """User-given text, safe to print with markup on."""
    return escape(text)


def _line(event: StreamEvent) -> str | None:
    """What stays on the screen of an event, if anything does."""
    data = event.data
    match event.type:
        case "epoch":
            validation = f"  val accuracy {data['val_accuracy']:.4f}" if data["val_accuracy"] is not None else ""
            return (
                f"epoch {data['epoch']:>3}  train loss {data['train_loss']:.4f}  "
                f"train accuracy {data['train_accuracy']:.4f}{validation}  {data['seconds']:.1f} s"
            )
        case "started":
            # An event of the first schema does not say where the training began.
            onwards = f", after epoch {data['epoch']}" if data.get("epoch") else ""
            return f"training {data['parameters']:,} parameters on {data['device']}{onwards}"
        case State.QUEUED if "reason" in data:
            return f"queued again: {plain(data['reason'].replace('_', ' '))}"
        case State.PAUSED:
            return "paused until it is resumed"
    return None


def _status(event: StreamEvent) -> dict[str, Any]:
    """What the progress bar says after an event."""
    match event.type:
        case "started" | "pause_withdrawn":
            return {"description": "training", "note": ""}
        case "epoch":
            return {"description": "training"}
        case "cancel_requested":
            return {"note": "its worker will stop it"}
        case "pause_requested":
            return {"note": "its worker will pause it"}
        case State.QUEUED:
            return {"description": event.type, "note": "waiting for a worker"}
        case State.RUNNING:
            return {"description": event.type, "note": "loading Keras and the dataset"}
        case _:
            return {"description": event.type, "note": ""}


def _time(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
