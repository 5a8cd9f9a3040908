"""Specs as they are given to commands: a JSON file, and single fields that are set."""

import json
import sys
from pathlib import Path
from typing import Any

from service.errors import InvalidInput


def read(file: Path | None) -> dict[str, Any]:
    """The JSON object in a file, or on standard input for `-`; an empty one without a file.

    Raises:
        InvalidInput: it cannot be read, or is no JSON object.
    """
    if file is None:
        return {}
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        spec = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(spec, dict):
        raise InvalidInput(f"{file} must hold a JSON object, a spec.")
    return spec


def assign(spec: dict[str, Any], assignment: str) -> None:
    """Set a field of a spec: `optimizer.learning_rate=0.01`.

    Raises:
        InvalidInput: it is no assignment, or leads into what is no object.
    """
    path, value = parsed("--set", assignment)
    *parents, field = path.split(".")
    for parent in parents:
        spec = spec.setdefault(parent, {})
        if not isinstance(spec, dict):
            raise InvalidInput(f"--set {assignment}: {parent} is not an object")
    spec[field] = value


def parsed(option: str, assignment: str) -> tuple[str, Any]:
    """The two sides of `FIELD=VALUE`; a value that is no JSON is a string.

    Raises:
        InvalidInput: there is no field, or no value.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path or path.endswith("."):
        raise InvalidInput(f"{option} {assignment}: write FIELD=VALUE, for example epochs=2")
    try:
        return path, json.loads(text)
    except ValueError:
        return path, text
