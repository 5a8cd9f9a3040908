"""The same specs train on Keras's JAX backend, as they do where a GPU has only JAX."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_jax_trains_and_exports_through_a_tensorflow_process(make_spec, tmp_path: Path) -> None:
    pytest.importorskip("jax", reason="JAX is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        input=make_spec(epochs=6).model_dump_json(),
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["backend"] == "jax"
    assert result["accuracy"] > 0.85
    assert result["difference"] < 1e-4
    assert result["onnx"] > 1000
