"""The report's part on what the notebook misled about, each with the experiments that prove it."""

from collections.abc import Iterable

from service.notebook.blocks import Block, Section, Table, Text
from service.notebook.figures import COLLAPSED, Figures
from service.notebook.plan import FOLLOWING, MODELS, OPTIMIZERS, SCALINGS, selection_images
from service.notebook.spread import Spread

FEWEST_SEEDS = 3
"""Of fewer, a standard deviation says little."""


def sections(figures: Figures) -> list[Section]:
    """A section for each."""
    return [
        Section("Misled: the score of batch normalisation", list(_batch_norm(figures))),
        Section("Misled: what was called normalising was dividing twice", list(_scaling(figures))),
        Section("Misled: trained on other pixels than it was asked about", list(_skew(figures))),
        Section("Misled: one seed, chosen by the test set", list(_selection(figures))),
    ]


def _batch_norm(figures: Figures) -> Iterable[Block]:
    [ours] = [each for each in figures.presets if each.name == "batch-norm"]
    yield Text(
        "The line that should have printed the score of batch-norm printed the baseline's again, 0.9903. "
        f"Its true test accuracy is {ours.accuracy.said()}."
        if ours.ids
        else "The line that should have printed the score of batch-norm printed the baseline's again, 0.9903. Its true "
        "test accuracy is missing here, too: it has not been trained yet."
    )
    rows = []
    for pair in figures.pairs:
        test = pair.comparison
        if isinstance(test, str):
            rows.append((str(pair.seed), test, "", "", ""))
            continue
        better = {test.first: "baseline", test.second: "batch-norm", None: "neither"}[test.better]
        counts = (str(test.only_first_right), str(test.only_second_right))
        rows.append((str(pair.seed), f"{test.accuracy_difference:+.4f}", *counts, f"{test.p_value:.2g} ({better})"))
    header = ("seed", "difference to baseline", "only baseline right", "only batch-norm right", "p (which is better)")
    yield Table(header, rows, "McNemar's test on the same test images, a seed each")
    difference = figures.difference
    if len(difference.values) >= FEWEST_SEEDS:
        yield Text(f"Over the seeds, seed by seed, batch-norm's accuracy differs by {difference.said(4, '+')}.")
    else:
        yield Text(
            f"How it differs over the seeds takes {FEWEST_SEEDS} of them; there are {len(difference.values)} with both."
        )


def _scaling(figures: Figures) -> Iterable[Block]:
    yield Text(
        "In the notebook, networks on normalised images came out worse: 0.954, and 0.889 together with batch "
        "normalisation. But these images were divided by 255 twice, by hand and by the generator. Here is image-norm, "
        "divided once, twice and in between."
    )
    header = ("pixels divided by", "largest pixel", "test accuracy")
    rows = [(f"255^{dose:g}", f"{255 * 255**-dose:.4f}", spread.said()) for dose, spread in figures.doses]
    yield Table(header, rows)
    by_key = {(cell.optimizer, cell.model, cell.scaling): cell.accuracy for cell in figures.cells}
    for optimizer in OPTIMIZERS:
        cells = [
            (f"{model} batch normalisation", *(by_key[optimizer, model, scaling].said() for scaling in SCALINGS))
            for model in MODELS
        ]
        yield Table(("", *(f"pixels {scaling}" for scaling in SCALINGS)), cells, f"Test accuracy with {optimizer}")
    once, twice = SCALINGS
    told = [
        f"{optimizer}, {model} batch normalisation: {_change(by_key[optimizer, model, once], second)}"
        for optimizer in OPTIMIZERS
        for model in MODELS
        if (second := by_key[optimizer, model, twice]).values and by_key[optimizer, model, once].values
    ]
    if told:
        yield Text(f"What the second division changes, by these means: {'; '.join(told)}.")
    yield from _following(figures)


def _following(figures: Figures) -> Iterable[Block]:
    if not figures.courses:
        return
    yield Text(
        "Batch normalisation trains on the mean and variance of each batch, and predicts with moving averages of them. "
        "Keras's follow slowly (momentum 0.99). Divided twice, pixels vary less than the layers' epsilon of 0.001: "
        "what comes out is not normalised, and averages that lag a little behind weights that still move mislead the "
        "layers after them. So the networks below learn, but what they score depends on the step that they stop at. "
        f"With a momentum of {FOLLOWING:g} the averages follow at once."
    )
    epochs = max(len(course.training) for course in figures.courses)
    rows = []
    for course in figures.courses:
        for what, values in (("training", course.training), ("test", course.test)):
            cells = (*(f"{value:.4f}" for value in values), *[""] * (epochs - len(values)))
            rows.append((f"{course.title}: {what}", *cells))
    header = ("accuracy after epoch", *(str(epoch) for epoch in range(1, epochs + 1)))
    yield Table(header, rows)


def _skew(figures: Figures) -> Iterable[Block]:
    yield Text(
        "After training on pixels that were divided twice, the notebook had image-norm predict images that were "
        "divided once. In Numeral scaling is a layer of the model, so that it serves what it was trained on; here the "
        "pixels are wrong on purpose."
    )
    skew = figures.skew
    if isinstance(skew, str):
        yield Text(f"Missing: {skew}")
        return
    yield Table(
        ("pixels", f"accuracy on {skew.images:,} test images"),
        [
            ("divided twice, as trained", f"{skew.as_trained:.4f}"),
            ("divided once, as the notebook predicted", f"{skew.divided_once:.4f}"),
        ],
        f"The file that is served of experiment {skew.experiment_id}, in onnxruntime",
    )


def _selection(figures: Figures) -> Iterable[Block]:
    yield Text("The notebook trained everything once, and chose its best row by the test set that it reports.")
    rows = [
        (
            each.name,
            *(_range(each.accuracy)),
            "" if each.accuracy.deviation is None else f"{each.accuracy.deviation:.4f}",
        )
        for each in figures.presets
    ]
    yield Table(("network", "lowest", "highest", "standard deviation"), rows, "Test accuracy over the seeds alone")
    yield from _collapse(figures.collapses)
    if figures.winners:
        won = [(str(each.seed), each.label, f"{each.test:.4f}") for each in figures.winners]
        yield Table(("seed", "best row by the test set", "test accuracy"), won, "Which row of the grid is the best")
        if len({each.label for each in figures.winners}) > 1:
            yield Text("Which row is the best depends on the seed.")
    yield from _choice(figures)


def _collapse(collapses: Spread) -> Iterable[Block]:
    if not collapses.values:
        yield Text("Whether Adam at 0.01 with batches of 64 collapses (the notebook: 0.1032) is missing.")
        return
    collapsed = sum(value < COLLAPSED for value in collapses.values)
    each = ", ".join(f"{value:.4f}" for value in collapses.values)
    yield Text(
        f"Adam at 0.01 with batches of 64, which the notebook printed 0.1032 for, collapsed in {collapsed} of "
        f"{len(collapses.values)} runs (test accuracy below {COLLAPSED:g}): {each}."
        + (f" {missing} of its runs are missing." if (missing := collapses.expected - len(collapses.values)) else "")
    )


def _choice(figures: Figures) -> Iterable[Block]:
    if not figures.rows:
        return
    if len(figures.choices) < figures.rows:
        yield Text(
            "The grid that holds out a tenth of the training images and chooses by them is missing: "
            f"{len(figures.choices)} of {figures.rows} rows."
        )
        return
    ranked = sorted(figures.choices, key=lambda choice: -choice.held_out)
    rows = [(each.label, f"{each.held_out:.4f}", f"{each.test:.4f}") for each in ranked]
    header = ("row", "accuracy on held-out images", "test accuracy")
    images = selection_images(figures.look)
    title = f"The grid once more on {images:,} training images, a tenth of them held out to choose by"
    yield Table(header, rows, title)
    chosen, flattered = ranked[0], max(ranked, key=lambda choice: choice.test)
    told = f"Chosen by the held-out images, the best row is {chosen.label}, with a test accuracy of {chosen.test:.4f}. "
    if chosen.test == flattered.test:
        yield Text(f"{told}The test set would have chosen none that is better.")
    else:
        yield Text(
            f"{told}Chosen by the test set it is {flattered.label}, with {flattered.test:.4f}: looking at the test set "
            f"adds {flattered.test - chosen.test:.4f} that the choice, not the model, is the reason for."
        )


def _range(spread: Spread) -> tuple[str, str]:
    if not spread.values:
        return "missing", "missing"
    return f"{min(spread.values):.4f}", f"{max(spread.values):.4f}"


def _change(once: Spread, twice: Spread) -> str:
    return f"{(twice.mean or 0.0) - (once.mean or 0.0):+.4f}"
