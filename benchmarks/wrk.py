"""wrk, the load generator: closed loop, one thread, as many connections as asked for."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

TIMEOUT_SECONDS = 30
MARK = "numbers:"

# The body is read from a file, because it may be binary.
SCRIPT = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "{content_type}"
local file = assert(io.open("{body}", "rb"))
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
  local errors = summary.errors
  local broken = errors.connect + errors.read + errors.write + errors.timeout
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  print("{mark}", summary.requests, summary.duration, errors.status, broken, p50, p99)
end
"""


class Load(NamedTuple):
    """What one run found. Milliseconds are from sending to the answer, whatever it was."""

    requests_per_second: float
    """Those answered well."""

    p50_ms: float
    p99_ms: float
    refused: int
    """Answers with another status."""

    broken: int
    """What never came to an answer."""

    @property
    def failed(self) -> int:
        """All that was not answered well."""
        return self.refused + self.broken


def is_missing() -> bool:
    """Whether wrk is not installed here."""
    return shutil.which("wrk") is None


def run(url: str, content_type: str, body: bytes, connections: int, seconds: int) -> Load:
    """Send this body on so many connections, each time as soon as the last answer has come."""
    with tempfile.TemporaryDirectory(prefix="numeral-wrk-") as folder:
        content, script = Path(folder, "body"), Path(folder, "load.lua")
        content.write_bytes(body)
        script.write_text(SCRIPT.format(content_type=content_type, body=content, mark=MARK))
        load = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
        command = ["wrk", *load, "--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(script), url]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _parsed(printed)


def _parsed(printed: str) -> Load:
    line = next(line for line in printed.splitlines() if line.startswith(MARK))
    requests, microseconds, refused, broken, p50, p99 = map(float, line.split()[1:])
    return Load((requests - refused) / (microseconds / 1e6), p50 / 1000, p99 / 1000, int(refused), int(broken))
