"""What a model does with the test set, and how two models compare on it."""

from pydantic import Field, computed_field

from service.schemas.base import Schema

MOST_CONFUSIONS = 10


class ClassReport(Schema):
    """How one digit fares. A ratio whose denominator is 0 is given as 0."""

    label: int
    precision: float
    recall: float
    f1: float
    support: int


class Confusion(Schema):
    """A digit that is taken for another one."""

    actual: int
    predicted: int
    count: int = Field(description="test images")


class Evaluation(Schema):
    """The exported model on the test set."""

    loss: float
    accuracy: float
    labels: list[int]
    confusion_matrix: list[list[int]] = Field(description="rows are actual, columns predicted digits")
    per_class: list[ClassReport]
    expected_calibration_error: float | None = Field(
        default=None,
        description="how far confidence and accuracy are apart, 0 at best (Guo et al. 2017: 15 equal-width bins of the "
        "largest softmax output); null for what was evaluated before it was measured",
    )

    @computed_field(description=f"the most frequent confusions, largest first, at most {MOST_CONFUSIONS}")  # type: ignore[prop-decorator]
    @property
    def top_confusions(self) -> list[Confusion]:
        """Computed, so that evaluations of every age have them. Equal counts are in the order of the matrix."""
        found = [
            Confusion(actual=actual, predicted=predicted, count=count)
            for actual, row in zip(self.labels, self.confusion_matrix, strict=True)
            for predicted, count in zip(self.labels, row, strict=True)
            if predicted != actual and count > 0
        ]
        return sorted(found, key=lambda confusion: -confusion.count)[:MOST_CONFUSIONS]


class Misclassified(Schema):
    """A test image that was taken for another digit."""

    index: int = Field(description="its place in the test set, from 0")
    actual: int
    predicted: int
    confidence: float = Field(description="the softmax's largest output, that of the predicted digit")
    image: str = Field(description="the path of the image, a PNG of 28×28 grey pixels")


class MisclassifiedPage(Schema):
    """Part of the misclassified images, most confident first. `next_cursor` asks for what follows."""

    items: list[Misclassified]
    next_cursor: str | None


class Comparison(Schema):
    """Two experiments on the same test images: McNemar's test (1947), exact and two-sided."""

    first: int = Field(description="an experiment's id")
    second: int = Field(description="the id of the one that it is compared with")
    test_images: int
    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    accuracy_difference: float = Field(description="the second's accuracy minus the first's")
    p_value: float = Field(
        description="the chance of a difference at least as large if both were equally good: of the images that only "
        "one got right, each would then be one or the other's with the same probability"
    )
    better: int | None = Field(description="the id of the better one; null if the difference may be chance (p ≥ 0.05)")
