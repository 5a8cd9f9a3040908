"""An experiment: its record, its attempts, its epochs and its files."""

from datetime import datetime
from typing import Any

from pydantic import Field

from service.schemas.base import Schema
from service.states import State


class Progress(Schema):
    """How far a training is; `fraction` of all its steps, between 0 and 1."""

    epoch: int = Field(description="epochs that are finished")
    epochs: int
    fraction: float


class Result(Schema):
    """What an experiment came to, measured with the exported model on the whole test set."""

    test_loss: float
    test_accuracy: float
    parameters: int
    train_seconds: float = Field(description="time spent training and validating, start-up and export left out")
    images_per_second: float = Field(description="training images per second of `train_seconds`")


class ErrorInfo(Schema):
    """Why an experiment failed."""

    code: str
    message: str


class TrialOf(Schema):
    """Where an experiment belongs in a sweep."""

    sweep_id: int
    trial: int
    pruned_epoch: int | None = Field(description="after how many epochs the sweep ended it early, if it did")


class Experiment(Schema):
    """An experiment's record."""

    id: int
    name: str
    tags: list[str]
    state: State
    spec: dict[str, Any] = Field(
        description="the spec with all presets and defaults resolved; can be submitted again as it is"
    )
    priority: int
    attempt: int
    max_attempts: int = Field(description="it fails when so many attempts have lost their worker or process")
    not_before: datetime | None = Field(description="it waits until then before another attempt")
    worker: str | None = Field(description="who trains or has trained it")
    cancel_requested: bool
    pause_requested: bool
    progress: Progress
    result: Result | None
    error: ErrorInfo | None
    sweep: TrialOf | None = Field(default=None, description="the sweep that it is a trial of")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Page(Schema):
    """Part of a list, newest first. `next_cursor` asks for what follows; it is null on the last page."""

    items: list[Experiment]
    next_cursor: str | None


class Attempt(Schema):
    """One time that a worker held the experiment."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(description="what ended it: a state, or why there was none; null while it runs")
    message: str | None


class Attempts(Schema):
    """An experiment's attempts, in order; also those that did not count towards `max_attempts`."""

    items: list[Attempt]


class EpochMetrics(Schema):
    """One epoch."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    learning_rate: float


class Metrics(Schema):
    """The epochs that are finished, in order."""

    items: list[EpochMetrics]


class Artifact(Schema):
    """A file that an experiment produced."""

    name: str
    media_type: str
    size: int = Field(description="bytes")
    sha256: str
    created_at: datetime


class Artifacts(Schema):
    """An experiment's files."""

    items: list[Artifact]


class LayerSize(Schema):
    """What a layer puts out for one image, and how many parameters it has."""

    shape: list[int] = Field(description="height, width and channels of a map, or the length of a vector")
    parameters: int


class Validated(Schema):
    """A submission that would be accepted."""

    spec: dict[str, Any] = Field(description="as it would be stored: all presets and defaults resolved")
    parameters: int = Field(description="of the model, the softmax layer over the classes included")
    layers: list[LayerSize] = Field(description="of each of the spec's layers, in order")
