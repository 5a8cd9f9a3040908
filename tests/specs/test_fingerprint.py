"""Fingerprints: the same for what comes to the same, different for all else."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import service
from service import __version__
from service.specs.experiment import ExperimentSpec, Submission
from service.specs.fingerprint import DECISIVE_PACKAGES, UNDECISIVE, code_version, digest, fingerprint

DATASET = "0" * 64
BASELINE = {"preset": "baseline"}


def of(**given: Any) -> str:
    return fingerprint(ExperimentSpec.model_validate(BASELINE | given), DATASET)


def test_it_is_a_sha256() -> None:
    assert re.fullmatch("[0-9a-f]{64}", of())


def test_it_is_the_same_for_what_is_stored_and_read_again() -> None:
    spec = ExperimentSpec.model_validate(BASELINE | {"rescale": 0.1 + 0.2, "seed": 7})
    again = ExperimentSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert fingerprint(again, DATASET) == fingerprint(spec, DATASET)


def test_it_is_the_same_however_the_spec_was_written() -> None:
    written_out = ExperimentSpec.model_validate(BASELINE).model_dump(mode="json", exclude={"preset"})
    backwards = dict(reversed(written_out.items()))
    assert fingerprint(ExperimentSpec.model_validate(backwards), DATASET) == of()
    assert of(optimizer={"learning_rate": 1}) == of(optimizer={"learning_rate": 1.0})


@pytest.mark.parametrize(
    "given", [{"name": "other"}, {"tags": ["x"]}, {"priority": 5}, {"max_attempts": 1}, {"preset": "baseline"}], ids=str
)
def test_what_decides_nothing_does_not_change_it(given: dict[str, Any]) -> None:
    assert of(**given) == of()


DECISIVE: dict[str, Any] = {
    "dataset": "optdigits",
    "train_limit": 100,
    "rescale": 1.0,
    "model": {"layers": [{"type": "flatten"}]},
    "optimizer": {"learning_rate": 0.5},
    "schedule": {"name": "cosine"},
    "loss": "mse",
    "label_smoothing": 0.1,
    "batch_size": 64,
    "epochs": 7,
    "seed": 1,
    "validation": {"on": "none"},
    "early_stopping": {},
    "augmentation": {},
    "precision": "mixed_bfloat16",
    "int8": True,
}


@pytest.mark.parametrize("field", sorted(ExperimentSpec.model_fields.keys() - UNDECISIVE))
def test_every_other_field_changes_it(field: str) -> None:
    assert of(**{field: DECISIVE[field]}) != of()


def test_another_dataset_changes_it() -> None:
    spec = ExperimentSpec.model_validate(BASELINE)
    assert fingerprint(spec, "1" * 64) != fingerprint(spec, DATASET)


def test_a_submission_is_the_spec_and_nothing_else() -> None:
    given = BASELINE | {"name": "one", "tags": ["x"], "epochs": 2}
    submission = Submission.model_validate(given | {"reuse": True})
    assert submission.reuse
    assert type(submission.spec) is ExperimentSpec
    assert submission.spec == ExperimentSpec.model_validate(given)
    assert "reuse" not in submission.spec.model_dump()


def test_a_digest_does_not_depend_on_the_order_of_fields() -> None:
    assert digest({"a": [1, 2], "b": {"c": None}}) == digest({"b": {"c": None}, "a": [1, 2]})
    assert digest([1, 2]) != digest([2, 1])


SCRIPT = "from service.specs.fingerprint import code_version; print(code_version())"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package somewhere else, as in an installation."""
    package = tmp_path / "service"
    shutil.copytree(Path(service.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def version_of(package: Path) -> str:
    command = [sys.executable, "-B", "-c", SCRIPT]
    done = subprocess.run(command, cwd=package.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_code_version_is_the_same_wherever_the_package_lies(copy: Path) -> None:
    assert code_version().startswith(f"{__version__}+")
    assert version_of(copy) == code_version()


@pytest.mark.parametrize("part", DECISIVE_PACKAGES)
def test_the_code_version_changes_with_the_code_that_decides(copy: Path, part: str) -> None:
    with (copy / part / "__init__.py").open("a") as file:
        file.write("# changed\n")
    assert version_of(copy) != code_version()


def test_the_code_version_does_not_change_with_other_code(copy: Path) -> None:
    with (copy / "cli" / "__init__.py").open("a") as file:
        file.write("# changed\n")
    assert version_of(copy) == code_version()
