"""The p-value of McNemar's test."""

import pytest
from scipy.stats import binomtest

from service.store.predictions import mcnemar


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 0), (1, 0), (5, 5), (5, 6), (12, 31), (31, 12), (101, 43), (1000, 900)]
)
def test_it_is_the_exact_binomial_tests(only_first: int, only_second: int) -> None:
    thrown = only_first + only_second
    expected = binomtest(only_first, thrown, 0.5).pvalue if thrown else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(only_first, only_second) == mcnemar(only_second, only_first)


def test_whole_test_sets_can_be_given() -> None:
    assert mcnemar(5000, 5000) == 1.0
    assert mcnemar(10_000, 0) == 0.0
    assert mcnemar(0, 1000) == 2.0**-999
