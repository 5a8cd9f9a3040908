"""What a measurement is held against: figures of one round divided by each other, and what must come out."""

import statistics
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

TIE = 0.2
"""Runs of the same thing differ by so much on a shared machine."""

Round = TypeVar("Round")


class Target(NamedTuple, Generic[Round]):
    """A ratio. `least` is None where it is only stated; `of` may fail where a figure was not measured, or is 0."""

    name: str
    least: float | None
    of: Callable[[Round], float]


class Found(NamedTuple):
    """A ratio's median over all rounds, its extremes, and what to say about it."""

    name: str
    least: float | None
    ratio: float
    lowest: float
    highest: float
    verdict: str


def judge(targets: Sequence[Target[Round]], rounds: Sequence[Round]) -> list[Found]:
    """Each target whose figures were measured."""
    found = []
    for target in targets:
        try:
            ratios = [target.of(each) for each in rounds]
        except (KeyError, ZeroDivisionError):
            continue
        ratio = statistics.median(ratios)
        found.append(Found(target.name, target.least, ratio, min(ratios), max(ratios), _verdict(ratio, target.least)))
    return found


def show(found: Sequence[Found]) -> None:
    """A line for each."""
    width = max((len(each.name) for each in found), default=0)
    print(f"\n{'ratio, median of the rounds':{width}}  {'ratio':>6}  {'lowest–highest':>15}  {'target':>7}")
    for each in found:
        extremes = f"{each.lowest:.2f}–{each.highest:.2f}"
        least = "" if each.least is None else f"≥ {each.least:.2f}"
        print(f"{each.name:{width}}  {each.ratio:6.2f}  {extremes:>15}  {least:>7}  {each.verdict}")


def _verdict(ratio: float, least: float | None) -> str:
    if least is None:
        return ""
    near = f" (within {TIE:.0%}: a tie)" if abs(ratio / least - 1) < TIE else ""
    return ("holds" if ratio >= least else "falls short") + near
