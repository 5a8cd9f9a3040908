"""How the benchmarks show what they found: a table for people, JSON for programs."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Figures = dict[str, Any]
"""By name. A list holds what must not be: all is well where it is empty."""

SHOWN_OF_A_LIST = 5
SHOWN_OF_AN_ENTRY = 200


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")


def show(title: str, columns: dict[str, Figures]) -> None:
    """A table with a column for each database. Of a list its length is shown, and its beginning below."""
    rows = {column: dict(_rows(figures)) for column, figures in columns.items()}
    names = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    width = max(map(len, names))
    print(f"\n{title:{width}}" + "".join(f"{column:>12}" for column in columns))
    for name in names:
        print(f"{name:{width}}" + "".join(f"{cells.get(name, ''):>12}" for cells in rows.values()))
    for column, figures in columns.items():
        for name, value in figures.items():
            for entry in value[:SHOWN_OF_A_LIST] if isinstance(value, list) else ():
                print(f"  {column}, {name}: {str(entry)[:SHOWN_OF_AN_ENTRY]}")


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    for name, value in figures.items():
        match value:
            case dict():
                yield from ((f"{name}: {kind}", str(count)) for kind, count in value.items())
            case list():
                yield name, str(len(value))
            case float():
                yield name, f"{value:,.3f}"
            case _:
                yield name, str(value)


def save(path: Path | None, columns: dict[str, Figures]) -> None:
    """Write the figures as JSON, by database."""
    if path is not None:
        path.write_text(json.dumps(columns, indent=1))


def is_right(figures: Figures) -> bool:
    """Whether nothing was found that must not be."""
    return not any(value for value in figures.values() if isinstance(value, list))
