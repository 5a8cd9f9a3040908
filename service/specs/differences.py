"""In which fields specs differ."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any


def differences(specs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The fields in which specs differ, by dotted path: the value in each, None where there is no such field.

    Names are left out: they tell experiments apart, not what is done.
    """
    flat = [dict(_fields(spec)) for spec in specs]
    rows = {path: [fields.get(path) for fields in flat] for path in _merged(flat) if path != "name"}
    return {path: row for path, row in rows.items() if any(value != row[0] for value in row)}


def _fields(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each field with its dotted path, as problem documents name them: `model.layers[0].filters`."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _fields(inner, f"{path}[{index}]")
    else:
        yield path, value


def _merged(specs: Iterable[Collection[str]]) -> list[str]:
    """All paths; one that only a later spec has comes after the one that it follows there."""
    merged: list[str] = []
    known: set[str] = set()
    for paths in specs:
        place = 0
        # Most specs have the fields of those before them.
        for path in () if known.issuperset(paths) else paths:
            if path in known:
                place = merged.index(path) + 1
            else:
                merged.insert(place, path)
                known.add(path)
                place += 1
    return merged
