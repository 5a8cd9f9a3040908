"""What a report's sections are made of. `kind` is what templates tell them apart by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from service.notebook.charts import Line

Row = Sequence[str]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; a row's first cell says what it is about."""

    kind: ClassVar[str] = "table"
    header: Row
    rows: Sequence[Row]
    title: str = ""


@dataclass(frozen=True)
class Chart:
    """Lines over the epochs, and the same figures as a table."""

    kind: ClassVar[str] = "chart"
    title: str
    lines: Sequence[Line]
    header: Row
    rows: Sequence[Row]


Block = Text | Table | Chart


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    title: str
    blocks: Sequence[Block]
