"""Which datasets there are, and how to get one."""

from pathlib import Path

from service.data import mnist, optdigits
from service.data.dataset import Dataset
from service.errors import DatasetUnavailable
from service.schemas import Dataset as Description

CATALOGUE: dict[str, Description] = {
    "mnist": Description(
        name="mnist",
        title="MNIST handwritten digits",
        train_images=60_000,
        test_images=10_000,
        classes=10,
        image_shape=(28, 28),
        sha256="06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16",
        source=mnist.URL,
    ),
    "optdigits": Description(
        name="optdigits",
        title="scikit-learn's 8×8 handwritten digits, scaled to 28×28",
        train_images=optdigits.TRAIN_IMAGES,
        test_images=optdigits.TEST_IMAGES,
        classes=10,
        image_shape=(28, 28),
        sha256="3ab46015aad60c7ddbc737420beca90acc5de8abd4f0dc571c4ff17911bd8e17",
        source="sklearn.datasets.load_digits",
    ),
}


def load(name: str, datasets_dir: Path | None, cache_dir: Path) -> Dataset:
    """Read a dataset, verified.

    Raises:
        DatasetUnavailable: there is no such dataset, or its files cannot be had; the message says what to do.
    """
    match name:
        case "mnist":
            return mnist.load(datasets_dir, cache_dir)
        case "optdigits":
            return optdigits.load()
        case _:
            raise DatasetUnavailable(f"There is no dataset {name!r}; there are: {', '.join(CATALOGUE)}.")
