"""The 8×8 digits that come with scikit-learn, scaled to 28×28: small, and there without a network.

Source: UCI "Optical Recognition of Handwritten Digits" (its test part, 1,797 images), through
`sklearn.datasets.load_digits`. A stand-in to try things with; its accuracies say nothing about MNIST.
"""

import numpy as np
from PIL import Image

from service.data.dataset import Dataset, Split

TRAIN_IMAGES = 1437
TEST_IMAGES = 360


def load() -> Dataset:
    """All images; which of them are the test part is fixed, stratified by digit."""
    # Imported here: scikit-learn is only installed where trainings run.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    images = np.stack([_scaled(image) for image in source.images])
    labels = source.target.astype(np.uint8)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_IMAGES, random_state=0, stratify=labels)
    return Dataset("optdigits", Split(images[train], labels[train]), Split(images[test], labels[test]))


def _scaled(image: np.ndarray) -> np.ndarray:
    """8×8 in 0–16 to 28×28 in 0–255: 20×20 in the middle, as MNIST's digits lie."""
    small = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
    canvas = np.zeros((28, 28), np.uint8)
    canvas[4:24, 4:24] = np.asarray(small.resize((20, 20), Image.Resampling.BICUBIC))
    return canvas
