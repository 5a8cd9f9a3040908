"""Dotted paths into what a client may submit: `optimizer.learning_rate`, `model.layers.0.filters`."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

from service.specs.presets import PRESETS


def put(request: dict[str, Any], path: str, value: Any) -> None:
    """Put a value where a path leads to. What is not in the request on the way there is the preset's, or a new object.

    A path that leads nowhere becomes a field that `ExperimentSpec` refuses by its name.
    """
    steps = path.split(".")
    if steps[0] == "model" and "model" not in request and request.get("preset") in PRESETS:
        # A part of a list cannot be filled in later, as a part of an object can.
        request["model"] = copy.deepcopy(PRESETS[request["preset"]].spec["model"])
    at: Any = request
    for step, following in itertools.pairwise(steps):
        if isinstance(at, list):
            at = at[int(step)]
        elif isinstance(at.get(step), dict | list):
            at = at[step]
        else:
            at[step] = at = {}
        leads_on = _is_index(at, following) if isinstance(at, list) else isinstance(at, dict)
        if not leads_on:
            request[path] = value
            return
    at[int(steps[-1]) if isinstance(at, list) else steps[-1]] = value


def plain(location: Sequence[str | int], given: Any) -> list[str]:
    """A location of Pydantic's without the tags that it puts in for unions."""
    steps: list[str] = []
    for index, part in enumerate(location):
        try:
            given = given[part]
        except (KeyError, IndexError, TypeError):
            # A tag; or, at the end, a field that is missing.
            if index < len(location) - 1:
                continue
        steps.append(str(part))
    return steps


def _is_index(items: list[Any], step: str) -> bool:
    return step.isascii() and step.isdecimal() and int(step) < len(items)
