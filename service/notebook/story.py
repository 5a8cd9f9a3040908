"""What the report says, part by part, whatever it is written as. Every figure comes from `figures`."""

from collections.abc import Iterable, Sequence

from service.notebook import misled
from service.notebook.blocks import Block, Chart, Section, Table, Text
from service.notebook.charts import Line
from service.notebook.figures import Figures
from service.notebook.plan import PUBLISHED_CONFUSION, SCALINGS

TITLE = "The notebook, whole"

MOST_FAILURES = 20
"""Runs that failed, named one by one."""


def opening(figures: Figures) -> list[str]:
    """What this is, and how complete."""
    look, now = figures.look, figures.standing
    seeds = "1 seed" if look.seeds == 1 else f"{look.seeds} seeds"
    told = [
        (
            "Numeral grew out of one Keras notebook: five networks and a grid of hyper-parameters on MNIST, on Keras "
            "2.3. Here is what it printed, beside what the same experiments come to in Numeral "
            f"{figures.version}, each with {seeds}. Figures are means over the seeds ± the standard deviation of the "
            "sample; one without ± is of one seed."
        ),
        f"{len(now.succeeded)} of {now.total} runs have succeeded"
        + "".join(f", {len(runs)} {state}" for state, runs in _open(figures) if runs)
        + (f"; the last one ended on {figures.ended:%Y-%m-%d}" if figures.ended else "")
        + (f"; trained on {figures.device}" if figures.device else "")
        + (f", {figures.minutes:,.0f} minutes of training added up" if figures.minutes >= 1 else "")
        + ".",
    ]
    if look.fields:
        changed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in look.fields.items())
        told.append(f"A quick look only ({changed}): its figures cannot be compared with the notebook's.")
    return told


def sections(figures: Figures) -> list[Section]:
    """All of the report."""
    found = [
        Section("The networks", list(_networks(figures))),
        Section("Learning curves", list(_curves(figures))),
        Section("The grid", list(_grid(figures))),
        Section("The baseline's confusion matrix", list(_confusion(figures))),
        *misled.sections(figures),
    ]
    if figures.failures:
        found.append(Section("What failed", list(_failures(figures))))
    return found


def _open(figures: Figures) -> Iterable[tuple[str, Sequence[object]]]:
    now = figures.standing
    return (("failed", now.failed), ("running", now.running), ("paused", now.paused), ("missing", now.waiting))


def _networks(figures: Figures) -> Iterable[Block]:
    rows = []
    for each in figures.presets:
        published = each.published.get("test_accuracy")
        loss = each.published.get("test_loss")
        rows.append(
            (
                each.name,
                "never shown" if published is None else f"{published:g}",
                each.accuracy.said(),
                "" if loss is None else f"{loss:g}",
                each.loss.said(),
                each.seconds.said(1),
                ", ".join(str(experiment) for experiment in each.ids),
            )
        )
    header = ("network", "notebook's test accuracy", "test accuracy", "notebook's loss", "loss", "seconds", "ids")
    yield Table(header, rows)
    yield Text(
        "Seconds are those of training and validating. The notebook printed one figure a network, of one seed; its "
        "header says 99.25 % after 12 epochs, and 16 s an epoch on a GRID K520 GPU."
    )


def _curves(figures: Figures) -> Iterable[Block]:
    if not figures.curves:
        yield Text("Missing: no network has been trained yet.")
        return
    # One axis for all would leave nothing to be seen of those that differ little.
    for scaling in SCALINGS:
        if curves := [each for each in figures.curves if each.scaling == scaling]:
            after = f"on the test set after each epoch, pixels {scaling}"
            yield _chart(f"Accuracy {after}", [Line(each.name, each.accuracy) for each in curves])
            yield _chart(f"Loss {after}", [Line(each.name, each.loss) for each in curves])
    yield Text("Means over the seeds. As in the notebook, what is watched while training is the test set.")


def _chart(title: str, lines: list[Line]) -> Chart:
    epochs = max(len(line.values) for line in lines)
    rows = [
        (line.name, *(f"{value:.4f}" for value in line.values), *[""] * (epochs - len(line.values))) for line in lines
    ]
    return Chart(title, lines, ("epoch", *(str(epoch) for epoch in range(1, epochs + 1))), rows)


def _grid(figures: Figures) -> Iterable[Block]:
    rows = [(row.label, f"{row.published:.4f}", row.accuracy.said()) for row in figures.grid]
    yield Table(("row", "notebook's test accuracy", "test accuracy"), rows)
    yield Text("The baseline with mean squared error as its loss.")


def _confusion(figures: Figures) -> Iterable[Block]:
    header = ("actual", *(str(digit) for digit in range(10)))
    yield Table(header, _matrix(PUBLISHED_CONFUSION), "The notebook's; columns are predicted digits")
    if figures.confusion is None:
        yield Text("Ours is missing: the baseline with seed 0 has not been trained yet.")
    else:
        yield Table(header, _matrix(figures.confusion), "Ours, with seed 0")


def _matrix(counts: Sequence[Sequence[int]]) -> list[tuple[str, ...]]:
    return [(str(actual), *(str(count) for count in row)) for actual, row in enumerate(counts)]


def _failures(figures: Figures) -> Iterable[Block]:
    rows = [(each.title, each.name, each.message) for each in figures.failures[:MOST_FAILURES]]
    yield Table(("run", "experiment", "why"), rows)
    if more := len(figures.failures) - len(rows):
        yield Text(f"And {more} more.")
