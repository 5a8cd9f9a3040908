"""The table of experiments: its columns, and the address that stands for a view of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

from service import schemas
from service.specs.differences import differences
from service.states import State

PAGE = 100
"""Experiments on a page."""

MOST_PARAMETERS = 6
"""So many of the differing parameters are columns without being chosen."""

PARAMETER = "spec."
"""Begins the key of a column that shows a parameter."""

NO_PARAMETERS = ("name", "tags", "priority", "max_attempts", "preset")
"""Fields of a spec that do not decide what an experiment comes to."""


class Column(NamedTuple):
    """A column.

    Attributes:
        key: its name in an address.
        title: its head.
        sort: what it is sorted by, if it can be.
        is_number: whether its cells are set to the right.
    """

    key: str
    title: str
    sort: str | None = None
    is_number: bool = False


FIXED = (
    Column("state", "State", "state"),
    Column("progress", "Progress", "progress"),
    Column("best", "Best val.", "best", is_number=True),
    Column("last", "Last val.", "last", is_number=True),
    Column("test", "Test", "test", is_number=True),
    Column("seconds", "Trained", "seconds", is_number=True),
    Column("device", "Device"),
    Column("worker", "Worker"),
    Column("attempt", "Attempt", None, is_number=True),
    Column("created", "Submitted", "id"),
)
HIDDEN = frozenset({"worker", "attempt"})
"""Columns that are there only when they are chosen."""


@dataclass(frozen=True)
class View:
    """What of the table is shown; the page's address holds it.

    Attributes:
        state: experiments in this state only; so for `tag`, `sweep` and `text`.
        sort: what they are sorted by; a minus in front turns the order round.
        page: from 1 on.
        columns: their keys; None for those that are there by default.
    """

    state: State | None = None
    tag: str | None = None
    sweep: int | None = None
    text: str | None = None
    sort: str = "-id"
    page: int = 1
    columns: tuple[str, ...] | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether it leaves any experiment out."""
        return any(given is not None for given in (self.state, self.tag, self.sweep, self.text))

    def path(self, **changes: Any) -> str:
        """The address of this view, or of one that differs; but for the page, any difference leads to the first one."""
        view = replace(self, **({"page": 1} | changes))
        asked = {"state": view.state, "tag": view.tag, "sweep": view.sweep, "q": view.text}
        pairs = [(name, str(value)) for name, value in asked.items() if value]
        pairs += [("sort", view.sort)] if view.sort != View.sort else []
        pairs += [("columns", key) for key in view.columns or ()]
        pairs += [("page", str(view.page))] if view.page > 1 else []
        return "/?" + urlencode(pairs) if pairs else "/"

    def sorted_by(self, key: str) -> str:
        """The address of this view sorted by a column: largest first, and turned round the second time."""
        return self.path(sort=key if self.sort == f"-{key}" else f"-{key}")


class Columns(NamedTuple):
    """The columns that are shown, and all that could be."""

    shown: list[Column]
    possible: list[Column]


def columns(specs: Sequence[dict[str, Any]], chosen: Sequence[str] | None) -> Columns:
    """The columns of a table of experiments with these specs: the fixed ones, and the parameters that differ."""
    parameters = [
        Column(PARAMETER + path, path, is_number=any(_is_number(value) for value in values))
        for path, values in differences([_parameters(spec) for spec in specs]).items()
    ]
    possible = [*FIXED, *parameters]
    if chosen is None:
        shown = [column for column in FIXED if column.key not in HIDDEN]
        place = next(index for index, column in enumerate(shown) if column.key == "device")
        shown[place:place] = parameters[:MOST_PARAMETERS]
    else:
        shown = [column for column in possible if column.key in chosen]
    return Columns(shown, possible)


def parameter(spec: dict[str, Any], key: str) -> Any:
    """What a spec has in a parameter's column; None if it has no such field."""
    value: Any = _parameters(spec)
    for step in key.removeprefix(PARAMETER).split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _parameters(spec: dict[str, Any]) -> dict[str, Any]:
    """The fields that decide, the layers as one of them: a column for each field of each layer says nothing."""
    kept = {name: value for name, value in spec.items() if name not in NO_PARAMETERS}
    return kept | {"model": layers_line(spec["model"]["layers"])}


def layers_line(layers: Iterable[dict[str, Any]]) -> str:
    """Layers in one line: `conv2d 32 · conv2d 64 · dropout 0.25 · flatten · dense 128`."""
    telling = ("filters", "units", "rate")
    return " · ".join(
        " ".join([layer["type"].removesuffix("2d"), *(f"{layer[name]:g}" for name in telling if name in layer)])
        for layer in layers
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def duration(experiment: schemas.Experiment, trained: float | None) -> float | None:
    """Seconds trained: as it was told at the end, until then as the epochs say."""
    return experiment.result.train_seconds if experiment.result else trained
