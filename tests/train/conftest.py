"""Small trainings that need no network: scikit-learn's digits and a model of a few thousand parameters."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.data import catalogue
from service.data.dataset import Dataset
from service.specs.experiment import ExperimentSpec

SMALL = {
    "name": "small",
    "dataset": "optdigits",
    "model": {
        "layers": [
            {"type": "conv2d", "filters": 4, "kernel_size": [5, 5], "strides": [2, 2], "activation": "relu"},
            {"type": "max_pooling2d"},
            {"type": "dropout", "rate": 0.1},
            {"type": "flatten"},
        ]
    },
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "batch_size": 32,
    "epochs": 2,
}


@pytest.fixture(scope="session")
def optdigits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return catalogue.load("optdigits", None, Path(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ExperimentSpec]:
    """Builds the small spec with some fields changed."""
    return lambda **changes: ExperimentSpec.model_validate(SMALL | changes)
