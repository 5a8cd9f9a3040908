"""Models, and the names that they are served under."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from service.card import Variant
from service.schemas.base import Schema


class Model(Schema):
    """A model that can be served: a succeeded experiment."""

    id: int = Field(description="the experiment's id")
    name: str
    dataset: str = Field(description="what it was trained and tested on")
    test_accuracy: float
    parameters: int
    int8: bool = Field(description="whether it can be served in int8")
    aliases: list[str]
    finished_at: datetime


class Models(Schema):
    """All models, newest first."""

    items: list[Model]


class ModelFile(Schema):
    """A model's file in one variant."""

    variant: Variant
    name: str = Field(description="among the experiment's artifacts")
    size: int = Field(description="bytes")
    sha256: str
    test_accuracy: float | None = Field(description="null where it was not measured")


class ModelDetails(Model):
    """A model with its files."""

    files: list[ModelFile] = Field(description="a file a variant that it can be served in")


DEFAULT_ALIAS = "production"
"""What is asked where no model is named. The first experiment that succeeds takes it."""


class Alias(Schema):
    """A name that a model is served under."""

    alias: str
    experiment_id: int
    variant: Variant
    number: int = Field(description="how often it was set")
    shadows: str | None = Field(description="the alias whose images its model answers, too")
    shadow_images: int = Field(description="how many these were since it, or what it shadows, was set")
    shadow_disagreements: int = Field(description="on how many of them the two models saw different digits")
    updated_at: datetime


class Aliases(Schema):
    """All aliases, by name."""

    items: list[Alias]


class AliasAction(StrEnum):
    """Why an alias's meaning changed."""

    FIRST = "first"
    """The first experiment that succeeded took the default alias."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"

    DELETE = "delete"
    """From then on it meant nothing; the row says what it had meant."""


class AliasChange(Schema):
    """What an alias has meant since a moment. The experiment may be deleted by now."""

    alias: str
    number: int
    experiment_id: int
    variant: Variant
    shadows: str | None
    action: AliasAction
    changed_at: datetime


class AliasHistory(Schema):
    """What an alias has meant, newest first."""

    items: list[AliasChange]
