"""What a worker trains on, for the people who look at the list of workers."""

import os
import subprocess
from collections import Counter

NVIDIA = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
ANSWER_SECONDS = 10


def describe() -> str:
    """The GPUs by name, `2 × NVIDIA H100`, or the number of CPU cores; a training's record says what it ran on."""
    try:
        answer = subprocess.run(NVIDIA, capture_output=True, text=True, check=True, timeout=ANSWER_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        answer = ""
    gpus = Counter(name.strip() for name in answer.splitlines() if name.strip())
    if not gpus:
        return f"CPU, {os.cpu_count()} cores"
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in gpus.items())[:200]
