"""Running the measurements in `benchmarks/` as their users do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def measured(report: Path, script: str, *options: object) -> dict[str, Any]:
    """What a script found on the one database that it was run on; it must have been content."""
    command = [sys.executable, str(BENCHMARKS / script), *map(str, options), "--json", str(report)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (figures,) = json.loads(report.read_text()).values()
    return dict(figures)
