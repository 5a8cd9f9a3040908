"""`numeral experiment compare`: how experiments differ, what they came to, and whether that may be chance."""

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from rich.table import Table

from service import schemas
from service.cli.render import plain
from service.client import Client
from service.errors import ServiceError
from service.specs.differences import differences
from service.states import State

Figures = dict[str, float | int | None]

ABSENT = "–"

FORMATS = {
    "test_accuracy": "{:.4f}",
    "test_loss": "{:.4f}",
    "best_val_accuracy": "{:.4f}",
    "expected_calibration_error": "{:.4f}",
    "parameters": "{:,}",
    "train_seconds": "{:.1f}",
}
"""The figures that are compared, and how they are shown."""


class Compared(NamedTuple):
    """Experiments in the order in which they were named.

    Attributes:
        experiments: their records.
        figures: of each, those of `FORMATS`; None for what it has not come to.
        against_first: of each but the first, how it compares with the first, or why that cannot be said.
    """

    experiments: list[schemas.Experiment]
    figures: list[Figures]
    against_first: list[schemas.Comparison | str]


def look(client: Client, ids: Sequence[int]) -> Compared:
    """Ask the service for all that is compared."""
    experiments = [client.experiment(experiment_id) for experiment_id in ids]
    return Compared(
        experiments=experiments,
        figures=[_figures(client, experiment) for experiment in experiments],
        against_first=[_against(client, ids[0], other) for other in ids[1:]],
    )


def document(compared: Compared) -> dict[str, Any]:
    """All of it for JSON; lists are in the order of the ids."""
    return {
        "experiments": [
            {"id": item.id, "name": item.name, "state": item.state, "figures": figures}
            for item, figures in zip(compared.experiments, compared.figures, strict=True)
        ],
        "differences": differences([item.spec for item in compared.experiments]),
        "against_first": [
            {"problem": each} if isinstance(each, str) else each.model_dump(mode="json")
            for each in compared.against_first
        ],
    }


def shown(compared: Compared) -> Iterator[Table | str]:
    """All of it, part by part, to be printed."""
    first = compared.experiments[0].id
    names = [f"{item.id} {plain(item.name)}" for item in compared.experiments]
    differing = differences([item.spec for item in compared.experiments])
    if differing:
        yield _side_by_side(names, {path: [_text(value) for value in row] for path, row in differing.items()})
    else:
        yield "Their specs are the same."
    yield ""
    figures = {name.replace("_", " "): [_figure(name, each[name]) for each in compared.figures] for name in FORMATS}
    yield _side_by_side(names, {"state": [str(item.state) for item in compared.experiments]} | figures)
    yield ""
    tested = [each for each in compared.against_first if not isinstance(each, str)]
    if tested:
        yield _tests(first, tested)
    yield from (plain(each) for each in compared.against_first if isinstance(each, str))


def _figures(client: Client, experiment: schemas.Experiment) -> Figures:
    watched = [row.val_accuracy for row in client.metrics(experiment.id) if row.val_accuracy is not None]
    evaluation = client.evaluation(experiment.id) if experiment.state == State.SUCCEEDED else None
    figures: Figures = experiment.result.model_dump() if experiment.result else {}
    figures["best_val_accuracy"] = max(watched, default=None)
    figures["expected_calibration_error"] = evaluation.expected_calibration_error if evaluation else None
    return {name: figures.get(name) for name in FORMATS}


def _against(client: Client, first: int, other: int) -> schemas.Comparison | str:
    try:
        return client.comparison(first, other)
    except ServiceError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        return str(error)


def _side_by_side(names: Sequence[str], rows: dict[str, list[str]]) -> Table:
    table = Table("", *names, box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for title, cells in rows.items():
        table.add_row(plain(title), *cells)
    return table


def _tests(first: int, tested: Sequence[schemas.Comparison]) -> Table:
    title = f"McNemar's test against {first}, on {tested[0].test_images:,} test images"
    names = ("", "both right", f"only {first} right", "only this right", "both wrong", "accuracy", "p", "better")
    table = Table(*names, title=title, box=None, pad_edge=False)
    for each in tested:
        counts = (each.both_right, each.only_first_right, each.only_second_right, each.both_wrong)
        table.add_row(
            str(each.second),
            *(f"{count:,}" for count in counts),
            f"{each.accuracy_difference:+.4f}",
            f"{each.p_value:.2g}",
            "neither" if each.better is None else str(each.better),
        )
    return table


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    return plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _figure(name: str, value: float | None) -> str:
    return ABSENT if value is None else FORMATS[name].format(value)
