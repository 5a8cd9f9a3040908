"""What tells whether two experiments would come to the same: a hash of spec, data and code. Keras's version and backend
are the workers' and not part of it: whoever submits does not know them."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import service
from service.specs.experiment import ExperimentSpec

UNDECISIVE = frozenset({"name", "tags", "priority", "preset", "max_attempts"})
"""Fields of a spec that decide nothing about the model that is trained."""

DECISIVE_PACKAGES = ("specs", "data", "train", "inference")
"""Where the code lies that decides what a spec comes to; preprocessing decides what a model learns to refuse."""


def fingerprint(spec: ExperimentSpec, dataset_sha256: str) -> str:
    """The same for two experiments if, and only if, spec, data and code are the same."""
    return digest({"spec": decisive(spec), "dataset": dataset_sha256, "code": code_version()})


def decisive(spec: ExperimentSpec) -> dict[str, Any]:
    """The fields of a spec that decide its outcome, as JSON."""
    return spec.model_dump(mode="json", exclude=set(UNDECISIVE))


def digest(document: Any) -> str:
    """SHA-256 of a JSON document, the same in whatever order its fields are."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def code_version() -> str:
    """The package's version, and a hash of the source files that decide an outcome."""
    root = Path(service.__file__).parent
    sources = [path for package in DECISIVE_PACKAGES for path in (root / package).rglob("*.py")]
    hashes = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}
    return f"{service.__version__}+{digest(hashes)}"
