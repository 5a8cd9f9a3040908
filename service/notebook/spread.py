"""A figure over several seeds."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """What several runs came to that differ by their seed, and how many of them there should be."""

    values: tuple[float, ...]
    expected: int

    @property
    def mean(self) -> float | None:
        """None without a value."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample; None for fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def said(self, digits: int = 4, sign: str = "") -> str:
        """`0.9903 ± 0.0004`; with how many there are where some are missing, and `missing` where all are.

        Args:
            digits: after the point.
            sign: `+` to have one before positive figures, too.
        """
        if self.mean is None:
            return "missing" if self.expected else "not planned"
        text = f"{self.mean:{sign}.{digits}f}"
        if self.deviation is not None:
            text += f" ± {self.deviation:.{digits}f}"
        if len(self.values) < self.expected:
            text += f" ({len(self.values)} of {self.expected} seeds)"
        return text


def paired(first: Sequence[float | None], second: Sequence[float | None]) -> Spread:
    """The second's differences to the first, seed by seed; a seed with only one of them is missing."""
    pairs = [(one, other) for one, other in zip(first, second, strict=True) if one is not None and other is not None]
    return Spread(tuple(other - one for one, other in pairs), len(first))
