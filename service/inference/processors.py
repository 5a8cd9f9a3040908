"""How many processors this process may use: more threads than that would only take them from each other."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available(cgroup: Path = CGROUP) -> int:
    """Those it may run on, or the whole ones that the container's CPU limit leaves of them; at least 1.

    Args:
        cgroup: where the kernel shows the container's limits, version 2 (`cpu.max`) or 1 (`cpu/cpu.cfs_quota_us`).
    """
    # Windows and macOS have no affinity.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, int(_limit(cgroup))))


def _limit(cgroup: Path) -> float:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return float(os.cpu_count() or 1)
    # "max", or -1 in version 1: no limit.
    return int(quota) / int(period) if quota.strip().isdecimal() else float(os.cpu_count() or 1)
