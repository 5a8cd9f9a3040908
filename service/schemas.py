"""What the service answers: the models that the API writes and the client reads."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.card import Variant
from service.specs.experiment import ExperimentSpec
from service.states import State


class Schema(BaseModel):
    """Base of all answers; can be read off a table row's attributes."""

    model_config = ConfigDict(from_attributes=True)


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


class ClassReport(Schema):
    """How one digit fares. A ratio whose denominator is 0 is given as 0."""

    label: int
    precision: float
    recall: float
    f1: float
    support: int


class Evaluation(Schema):
    """The exported model on the test set."""

    loss: float
    accuracy: float
    labels: list[int]
    confusion_matrix: list[list[int]] = Field(description="rows are actual, columns predicted digits")
    per_class: list[ClassReport]


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


class Preset(Schema):
    """A named experiment with all its fields written out."""

    name: str
    summary: str
    spec: ExperimentSpec
    parameters: int
    published: dict[str, float] | None = Field(description="what the preset's source printed")


class Presets(Schema):
    """All presets."""

    items: list[Preset]


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


class Worker(Schema):
    """A process that trains."""

    name: str
    host: str
    pid: int
    device: str
    slots: int = Field(description="how many experiments it trains at a time")
    version: str
    started_at: datetime
    last_beat_at: datetime
    alive: bool = Field(description="whether it was heard of lately")
    experiments: list[int] = Field(description="what it trains at the moment")


class Workers(Schema):
    """All workers that have not said goodbye."""

    items: list[Worker]


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


Probability = Annotated[float, Field(ge=0, le=1)]


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


class Preprocess(StrEnum):
    """What happens to an image before the model sees it."""

    AUTO = "auto"
    """Pictures are brought into MNIST's form, 28×28 numbers are taken as they are."""

    MNIST = "mnist"
    """All is brought into MNIST's form, 28×28 numbers too."""

    NONE = "none"
    """Nothing: pictures must have 28×28 pixels, light on black."""


class Polarity(StrEnum):
    """Which of a picture's two sides is the digit."""

    DARK_ON_LIGHT = "dark_on_light"
    LIGHT_ON_DARK = "light_on_dark"


class Reason(StrEnum):
    """Why an image is not said to be a digit."""

    BLANK = "blank"
    UNCERTAIN = "uncertain"


class Box(Schema):
    """Where the digit was found, in pixels of the upright picture."""

    left: int
    top: int
    width: int
    height: int


class Explanation(Schema):
    """What the model saw."""

    pixels: list[list[float]] = Field(description="28 rows of 28 numbers from 0 to 255, light on black")
    preprocess: Literal[Preprocess.MNIST, Preprocess.NONE] = Field(description="what was done to the image")
    preprocess_version: int
    box: Box | None
    polarity: Polarity | None


class Prediction(Schema):
    """What the model sees in one image. `probabilities` has one number per digit, 0 to 9."""

    digit: int | None = Field(description="null for what is not taken for a digit; `reason` says why")
    reason: Reason | None = None
    confidence: Probability = Field(description="calibrated: of all answers with 0.9, nine in ten are right")
    probabilities: list[Probability]
    explanation: Explanation | None = Field(default=None, description="with `explain`")


class ServedModel(Schema):
    """The model that answered."""

    id: int
    name: str
    alias: str | None
    variant: Variant = Variant.FP32


class Predictions(Schema):
    """One prediction per image, in the order of the request."""

    model: ServedModel
    predictions: list[Prediction]


class Health(Schema):
    """Whether the service can do its work."""

    status: Literal["ok"]
    version: str


class FieldError(Schema):
    """One field of a request that was refused."""

    field: str
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457); `code` is stable and meant for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None
