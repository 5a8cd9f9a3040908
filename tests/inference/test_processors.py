"""A container's CPU limit counts, however the kernel writes it."""

import os
from pathlib import Path

import pytest

from service.inference.processors import available

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limited(folder: Path, **files: str) -> int:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content + "\n")
    return available(folder)


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000", ALLOWED),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", 1),
        ("999900000 100000", ALLOWED),
    ],
)
def test_version_2(tmp_path: Path, quota: str, processors: int) -> None:
    assert limited(tmp_path, cpu_DOT_max=quota) == processors


@pytest.mark.parametrize(("quota", "processors"), [("-1", ALLOWED), ("100000", 1), ("20000", 1)])
def test_version_1(tmp_path: Path, quota: str, processors: int) -> None:
    files = {"cpu__cpu_DOT_cfs_quota_us": quota, "cpu__cpu_DOT_cfs_period_us": "100000"}
    assert limited(tmp_path, **files) == processors


def test_no_limits_at_all(tmp_path: Path) -> None:
    assert available(tmp_path / "nothing") == ALLOWED
