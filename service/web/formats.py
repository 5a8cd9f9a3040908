"""How figures are written on pages."""

import json
from typing import Any

ABSENT = "–"


def accuracy(value: float | None) -> str:
    """A share of 1 in percent: 0.9912 as `99.12 %`."""
    return ABSENT if value is None else f"{100 * value:.2f} %"


def figure(value: float | None, digits: int = 4) -> str:
    """A number with so many digits behind the point."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A large number, its thousands apart."""
    return ABSENT if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """A time in the two units that matter: `8.4 s`, `3 min 12 s`, `1 h 04 min`."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def size(amount: int) -> str:
    """Bytes: `812 B`, `3.1 KiB`, `4.6 MiB`."""
    if amount < 1024:
        return f"{amount} B"
    kibibytes = amount / 1024
    return f"{kibibytes:.1f} KiB" if kibibytes < 1024 else f"{kibibytes / 1024:.1f} MiB"


def value(given: Any) -> str:
    """A value of a spec: text as it is, floats to four figures, all else as in JSON."""
    if given is None:
        return ABSENT
    if isinstance(given, str):
        return given
    if isinstance(given, float):
        return f"{given:.4g}"
    return json.dumps(given, ensure_ascii=False)
