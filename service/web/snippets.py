"""Requests to the service as code to take along."""

import json
import pprint
import shlex
from typing import Any

from service.specs.experiment import ExperimentSpec


def shortest(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec without what it would have anyway: by its preset if it has one, and by default otherwise."""
    base = {"preset": spec["preset"]} if spec.get("preset") else {"model": spec["model"]}
    given = ExperimentSpec.model_validate(base).model_dump(mode="json")
    return base | {name: value for name, value in spec.items() if value != given.get(name)}


def curl(base: str, spec: dict[str, Any]) -> str:
    """A POST of an experiment, for a shell."""
    body = shlex.quote(json.dumps(spec, ensure_ascii=False))
    return f"curl -X POST {shlex.quote(base + 'v1/experiments')} -H 'Content-Type: application/json' \\\n  -d {body}"


def python(base: str, spec: dict[str, Any]) -> str:
    """A POST of an experiment, in Python with httpx."""
    literal = pprint.pformat(spec, sort_dicts=False, width=88, compact=True)
    return f"import httpx\n\nspec = {literal}\nhttpx.post({base + 'v1/experiments'!r}, json=spec).raise_for_status()"
