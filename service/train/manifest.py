"""`manifest.json`: all that is needed to run an experiment again, and to know what it ran on.

Its `spec` is complete, presets and defaults resolved: POST it as it is and the same training runs.
"""

import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras

from service.data.dataset import Dataset
from service.specs.experiment import ExperimentSpec
from service.train.export import Exported

FORMAT = 2
PACKAGES = ("numeral", "keras", "tensorflow", "jax", "numpy", "scikit-learn", "onnx", "onnxruntime")


def manifest(spec: ExperimentSpec, dataset: Dataset, dataset_sha256: str, exported: Exported) -> bytes:
    """The manifest as indented JSON. `dataset` is what was trained on; the hash is of the whole, unlimited dataset."""
    content = {
        "format": FORMAT,
        "spec": spec.model_dump(mode="json"),
        "seed": spec.seed,
        "dataset": {
            "name": dataset.name,
            "sha256": dataset_sha256,
            "train_images": len(dataset.train),
            "test_images": len(dataset.test),
        },
        "backend": keras.backend.backend(),
        "device": device(),
        "machine": {"system": platform.system(), "architecture": platform.machine()},
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(),
        "weights_sha256": exported.weights_sha256,
        "onnx_largest_difference": exported.largest_difference,
    }
    return json.dumps(content, indent=2).encode() + b"\n"


def device() -> str:
    """The device that Keras trains on: `gpu:0`, `cpu:0` and so on."""
    devices: list[str] = keras.distribution.list_devices()
    return next((name for name in devices if not name.startswith("cpu")), devices[0])


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """The commit of the checkout that this code lies in, `+` behind it if files were changed; None when installed."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(checkout)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed.strip() else "")
