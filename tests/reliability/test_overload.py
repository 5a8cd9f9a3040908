"""The short version of `benchmarks/overload.py`."""

from pathlib import Path

from tests.reliability.support import measured


def test_who_comes_too_many_is_told_so_and_nobody_else_suffers(tmp_path: Path) -> None:
    options = ["--seconds", 3, "--maximum-seconds", 1, "--images", 16, "--max-waiting-requests", 16]
    found = measured(tmp_path / "overload", "overload.py", *options)
    assert found["refused"] > 0
    assert found["server_errors"] == []
    assert found["broken_connections"] == []
    assert found["recovered_too_late"] == []
