"""MNIST, from `mnist.npz` as Keras distributes it: LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/.

What is verified is the arrays, not the file: a re-packed `mnist.npz` is as good as the original.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from service.data.dataset import Dataset, Split
from service.errors import DatasetUnavailable

FILE = "mnist.npz"
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
FILE_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
ARRAY_SHA256 = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


def load(datasets_dir: Path | None, cache_dir: Path) -> Dataset:
    """MNIST from the datasets folder, else the cache, else downloaded into the cache with a progress bar.

    Raises:
        DatasetUnavailable: it is nowhere, or the file that was found is not MNIST.
    """
    return read(find(datasets_dir, cache_dir) or _download(cache_dir))


def read(path: Path) -> Dataset:
    """Read and verify an `mnist.npz`.

    Raises:
        DatasetUnavailable: it cannot be read, or holds something else than MNIST.
    """
    try:
        # allow_pickle=False: a dataset file cannot execute anything.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            arrays = {name: np.ascontiguousarray(archive[name]) for name in ARRAY_SHA256}
    except Exception as error:  # zipfile and NumPy raise whatever a broken file makes them run into
        raise DatasetUnavailable(
            f"{path} cannot be read as MNIST ({error}): remove it, or replace it by {URL}"
        ) from None
    for name, expected in ARRAY_SHA256.items():
        if arrays[name].dtype != np.uint8 or hashlib.sha256(arrays[name].tobytes()).hexdigest() != expected:
            raise DatasetUnavailable(f"{path} is not MNIST: its array {name} differs. Replace it by {URL}")
    return Dataset(
        name="mnist",
        train=Split(arrays["x_train"].reshape(-1, 28, 28), arrays["y_train"].reshape(-1)),
        test=Split(arrays["x_test"].reshape(-1, 28, 28), arrays["y_test"].reshape(-1)),
    )


def find(datasets_dir: Path | None, cache_dir: Path) -> Path | None:
    """Where `mnist.npz` lies on this machine, or None."""
    files = [folder / FILE for folder in (datasets_dir, cache_dir) if folder is not None]
    # os.path: a folder that may not be entered has no file for us, where pathlib would raise.
    return next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113


def _download(cache_dir: Path) -> Path:
    # Imported here: the API process lists datasets and never downloads one.
    import pooch

    try:
        # Writes to a temporary file first and checks the hash, so that no half file is ever found in the cache.
        fetched = pooch.retrieve(
            URL,
            known_hash=f"sha256:{FILE_SHA256}",
            fname=FILE,
            path=cache_dir,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
        )
    except (OSError, ValueError) as error:
        reason = type(error).__name__
        raise DatasetUnavailable(
            f"MNIST is not on this machine and could not be downloaded ({reason}): put the file {FILE} from {URL} "
            f"into {cache_dir}, or into a folder that NUMERAL_DATASETS_DIR names."
        ) from None
    return Path(fetched)
