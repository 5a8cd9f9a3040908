"""How the cells of tables of figures are shaded: each gets a class of the style sheet, so that pages need no styles of
their own. `s0` to `s5` is for what is good or neutral, `w1` to `w5` for what is bad; the higher, the stronger."""

from collections.abc import Sequence
from dataclasses import dataclass

STEPS = 5

Matrix = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Cell:
    """A count and the class that shades it."""

    count: int
    shade: str


def cells(matrix: Matrix) -> list[list[Cell]]:
    """A confusion matrix. What is right is shaded by its share of the row; mistakes by the root of their share of the
    most frequent one, because a single frequent one would hide all others."""
    worst = max(
        (count for actual, row in enumerate(matrix) for given, count in enumerate(row) if given != actual), default=0
    )

    def cell(count: int, is_right: bool, of: int) -> Cell:
        share = _share(count, of) if is_right else _share(count, worst) ** 0.5
        return Cell(count, shade(share, is_bad=not is_right))

    return [
        [cell(count, given == actual, sum(row)) for given, count in enumerate(row)] for actual, row in enumerate(matrix)
    ]


def difference(first: Matrix, other: Matrix) -> list[list[Cell]]:
    """What a confusion matrix has more than another of the same test set: more that is right is good, more mistakes are
    bad."""
    rows = [[ours - theirs for theirs, ours in zip(*pair, strict=True)] for pair in zip(first, other, strict=True)]
    most = max((abs(count) for row in rows for count in row), default=0)

    def cell(count: int, is_right: bool) -> Cell:
        return Cell(count, shade(_share(abs(count), most) ** 0.5, is_bad=(count > 0) != is_right))

    return [[cell(count, given == actual) for given, count in enumerate(row)] for actual, row in enumerate(rows)]


def shade(share: float, is_bad: bool = False) -> str:
    """The class for a share of 1: whatever is more than nothing can be seen."""
    return f"{'w' if is_bad else 's'}{min(STEPS, int(share * STEPS) + 1)}" if share > 0 else "s0"


def _share(count: int, of: int) -> float:
    return count / of if of else 0.0
