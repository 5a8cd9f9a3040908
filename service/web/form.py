"""The form that submits an experiment: how the fields of a spec are grouped, and what it starts from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from service import schemas
from service.specs.experiment import ExperimentSpec, Submission


class Group(NamedTuple):
    """Fields that belong together.

    Attributes:
        title: what they are about.
        fields: their names, in order.
        rare: those of them that are seldom changed.
    """

    title: str
    fields: tuple[str, ...]
    rare: tuple[str, ...] = ()


GROUPS = (
    Group("What", ("name", "tags", "dataset", "train_limit")),
    Group("Training", ("epochs", "batch_size", "seed", "loss", "label_smoothing", "precision", "int8")),
    Group("Optimizer and schedule", ("optimizer", "schedule")),
    Group("Model", ("model", "rescale"), rare=("rescale",)),
    Group("Validation and early stopping", ("validation", "early_stopping")),
    Group("Augmentation", ("augmentation",)),
    Group("Queue", ("reuse", "priority", "max_attempts"), rare=("max_attempts",)),
)
"""All fields of a submission but the preset, which is chosen above them."""

SCRATCH = {"model": {"layers": [{"type": "flatten"}, {"type": "dense", "units": 64, "activation": "relu"}]}}
"""What a form without a preset starts with: a model is all that has no default."""

STARTS = {"filters": 32, "units": 64, "rate": 0.25, "activation": "relu"}
"""What fields of a new layer start with that have no default."""

DEFAULT_PRESET = "fast"


class Start(NamedTuple):
    """What the form shows at first.

    Attributes:
        preset: the name of the preset that it differs from, or an empty text.
        spec: all fields.
        source: the experiment that they are taken from, if they are.
    """

    preset: str
    spec: dict[str, Any]
    source: schemas.Experiment | None = None


def scratch() -> dict[str, Any]:
    """A spec of no preset's, with all fields."""
    return ExperimentSpec.model_validate(SCRATCH).model_dump(mode="json")


def start_of(experiment: schemas.Experiment, presets: Sequence[schemas.Preset]) -> Start:
    """The form that submits an experiment again. Its preset may be gone by now; its fields say the same without."""
    named = experiment.spec.get("preset") or ""
    is_known = any(preset.name == named for preset in presets)
    return Start(named if is_known else "", experiment.spec, experiment)


def data(start: Start, presets: Sequence[schemas.Preset], datasets: Sequence[str]) -> dict[str, Any]:
    """What the form's script needs to know. The order of fields is the form's."""
    return {
        "schema": Submission.model_json_schema(),
        "groups": [group._asdict() for group in GROUPS],
        "presets": {preset.name: preset.spec.model_dump(mode="json") for preset in presets} | {"": scratch()},
        "preset": start.preset,
        "spec": start.spec,
        "starts": STARTS,
        "suggestions": {"dataset": list(datasets)},
    }
