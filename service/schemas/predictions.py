"""What a model sees in images."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.card import Variant
from service.schemas.base import Schema

Probability = Annotated[float, Field(ge=0, le=1)]


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
