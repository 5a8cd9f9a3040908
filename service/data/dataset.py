"""A dataset in memory, and how its training part is cut for an experiment."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""`(n, 28, 28)`, 0–255, light strokes on a dark ground."""

Labels = NDArray[np.uint8]
"""`(n,)`, 0–9."""


@dataclass(frozen=True)
class Split:
    """Images and their labels, in the same order."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> "Split":
        """The images at these indices, in this order."""
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Dataset:
    """A training and a test part."""

    name: str
    train: Split
    test: Split

    def sha256(self) -> str:
        """A hash of the arrays' content, whatever file they came from."""
        digest = hashlib.sha256()
        for array in (self.train.images, self.train.labels, self.test.images, self.test.labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def limited(self, train_limit: int | None) -> "Dataset":
        """The dataset with only its first `train_limit` training images."""
        if train_limit is None:
            return self
        return replace(self, train=Split(self.train.images[:train_limit], self.train.labels[:train_limit]))


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Cut a split in two, chosen by the seed: the part to train on, and the held-out `fraction` (at least one image of
    each)."""
    order = np.random.default_rng(seed).permutation(len(split))
    held = min(max(round(len(split) * fraction), 1), len(split) - 1)
    return split.take(np.sort(order[held:])), split.take(np.sort(order[:held]))
