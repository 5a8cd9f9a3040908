"""What an experiment can be made of."""

from typing import Any

from pydantic import Field

from service.schemas.base import Schema
from service.specs.experiment import ExperimentSpec


class Preset(Schema):
    """A named experiment with all its fields written out."""

    name: str
    summary: str
    spec: ExperimentSpec
    parameters: int
    published: dict[str, float] | None = Field(description="what the preset's source printed")


class PublishedPoint(Schema):
    """A row of a table that a sweep's source printed."""

    params: dict[str, Any]
    test_accuracy: float


class SweepPreset(Schema):
    """A named sweep with all its fields written out."""

    name: str
    summary: str
    spec: dict[str, Any]
    published: list[PublishedPoint]


class Presets(Schema):
    """All presets: of experiments, and of sweeps."""

    items: list[Preset]
    sweeps: list[SweepPreset]


class Dataset(Schema):
    """A dataset that experiments can name."""

    name: str
    title: str
    train_images: int
    test_images: int
    classes: int
    image_shape: tuple[int, int]
    sha256: str = Field(description="of its arrays' content, whatever file they came from")
    source: str


class Datasets(Schema):
    """All datasets."""

    items: list[Dataset]
