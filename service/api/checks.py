"""What is checked of a request that its model cannot know."""

from collections.abc import Sequence

from fastapi.exceptions import RequestValidationError

from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec


def check_dataset(spec: ExperimentSpec, *parents: str) -> None:
    """Whether there is the dataset that an experiment names, and as much of it as it asks for.

    Raises:
        RequestValidationError: no; it names the field, below `parents`.
    """
    dataset = CATALOGUE.get(spec.dataset)
    if dataset is None:
        raise refusal([*parents, "dataset"], f"there is no such dataset; there are: {', '.join(CATALOGUE)}")
    if spec.train_limit is not None and spec.train_limit > dataset.train_images:
        raise refusal([*parents, "train_limit"], f"{dataset.name} has only {dataset.train_images:,} training images")


def refusal(field: Sequence[str], message: str) -> RequestValidationError:
    """A field of the body cannot be what it is."""
    return RequestValidationError([{"loc": ("body", *field), "msg": message, "type": "value_error"}])
