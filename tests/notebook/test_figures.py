"""Figures over several seeds, and lines over several epochs."""

import pytest

from service.notebook.charts import Line, line_chart
from service.notebook.spread import Spread, paired


@pytest.mark.parametrize(
    ("spread", "said"),
    [
        (Spread((0.5, 0.7), 2), "0.6000 ± 0.1414"),
        (Spread((0.5, 0.7), 5), "0.6000 ± 0.1414 (2 of 5 seeds)"),
        (Spread((0.5,), 1), "0.5000"),
        (Spread((), 3), "missing"),
        (Spread((), 0), "not planned"),
    ],
)
def test_a_spread_says_what_there_is_and_what_is_missing(spread: Spread, said: str) -> None:
    assert spread.said() == said


def test_differences_are_those_of_the_same_seed() -> None:
    difference = paired([0.5, None, 0.75, 0.5], [0.75, 0.9, None, 0.25])
    assert difference == Spread((0.25, -0.25), 4)
    assert difference.said(2, "+") == "+0.00 ± 0.35 (2 of 4 seeds)"


def test_a_chart_has_a_line_of_each_and_a_point_for_each_epoch() -> None:
    chart = line_chart("a < b", [Line("first", [0.5, 0.75, 1.0]), Line("second", [0.25])])
    assert chart.count("<polyline") == 2
    assert chart.count("<circle") == 4
    assert 'aria-label="a &lt; b"' in chart


def test_a_chart_of_next_to_nothing() -> None:
    assert line_chart("flat", [Line("one", [0.5])]).count("<circle") == 1
    assert line_chart("none", []) == ""
    assert line_chart("empty", [Line("one", [])]) == ""
