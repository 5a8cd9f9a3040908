"""What a model does with the test set."""

from pydantic import Field

from service.schemas.base import Schema


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
