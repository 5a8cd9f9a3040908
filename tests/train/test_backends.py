"""The same specs train on Keras's JAX backend, as they do where a GPU has only JAX."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.specs.experiment import ExperimentSpec

SCRIPT = """
import json, sys
from pathlib import Path
from service.data import catalogue
from service.specs.experiment import ExperimentSpec
from service.train import task
from service.train.events import Finished

spec = ExperimentSpec.model_validate_json(sys.stdin.read())
last = list(task.run(spec, catalogue.load("optdigits", None, Path(sys.argv[1]))))[-1]
assert isinstance(last, Finished), last
manifest = json.loads(last.files["manifest.json"])
print(json.dumps({
    "backend": manifest["backend"],
    "difference": manifest["onnx_largest_difference"],
    "accuracy": last.result.test_accuracy,
    "onnx": len(last.files["model.onnx"]),
}))
"""

RESUME = """
import json, sys
from pathlib import Path
from service.data import catalogue
from service.specs.experiment import ExperimentSpec
from service.train import task
from service.train.events import Checkpoint, EpochEnd, Finished, Interrupted

spec = ExperimentSpec.model_validate_json(sys.stdin.read())
optdigits = catalogue.load("optdigits", None, Path(sys.argv[1]))

def outcome(events):
    assert isinstance(events[-1], Finished), events[-1]
    manifest = json.loads(events[-1].files["manifest.json"])
    epochs = [event.metrics.model_dump(exclude={"seconds"}) for event in events if isinstance(event, EpochEnd)]
    return epochs, manifest["weights_sha256"]

emitted = []
whole = list(task.run(spec, optdigits, checkpoint_seconds=0, emit=emitted.append))

# Killed after the third step, then interrupted again and again.
killed = [event for event in emitted if isinstance(event, Checkpoint)][2]
events, checkpoint, attempts = [], killed.content, 0
while not events or isinstance(events[-1], Interrupted):
    step = iter(range(1, 100))
    events += task.run(spec, optdigits, checkpoint, interrupted=lambda: next(step) == 3)
    checkpoint, attempts = getattr(events[-2], "content", None), attempts + 1
assert outcome(events) == outcome(whole)
print(attempts)
"""


def test_jax_trains_and_exports(make_spec, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    done = run_on_jax(SCRIPT, make_spec(epochs=6), tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["backend"] == "jax"
    assert result["accuracy"] > 0.85
    assert result["difference"] < 1e-4
    assert result["onnx"] > 1000


def test_jax_goes_on_exactly_from_a_checkpoint(make_spec, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    layers = [
        {"type": "conv2d", "filters": 4, "kernel_size": [5, 5], "strides": [2, 2], "activation": "relu"},
        {"type": "batch_normalization"},
        {"type": "dropout", "rate": 0.1},
        {"type": "flatten"},
    ]
    spec = make_spec(
        model={"layers": layers},
        augmentation={"shift": 0.1, "rotation": 10, "zoom": 0.1, "elastic": {}},
        schedule={"name": "cosine", "warmup_epochs": 1},
        train_limit=150,
        # A demand that no epoch after the first can meet.
        early_stopping={"patience": 1, "min_delta": 1000.0},
        epochs=3,
    )
    done = run_on_jax(RESUME, spec, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "3"


def run_on_jax(script: str, spec: ExperimentSpec, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, str(cache)],
        input=spec.model_dump_json(),
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
