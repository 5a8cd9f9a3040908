"""Random changes to training images, as layers that are only in the model that is trained.

Their random generators are variables of that model, so a checkpoint holds where each of them stands.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from service.specs.augmentation import Augmentation
from service.specs.shapes import INPUT_SHAPE

BLACK = 0.0
"""The ground of a digit: what is moved in from outside."""


def augmentations(spec: Augmentation | None, seed: int) -> list[keras.layers.Layer]:
    """The layers for a spec's augmentation, in the order in which they change an image."""
    if spec is None:
        return []
    ground = {"fill_mode": "constant", "fill_value": BLACK}
    # From the same seed all of them would draw the same numbers: who is moved down most would be turned most.
    seeds = np.random.default_rng(seed).integers(2**31, size=4).tolist()
    layers: list[keras.layers.Layer] = []
    if spec.shift:
        layers.append(keras.layers.RandomTranslation(spec.shift, spec.shift, seed=seeds[0], **ground))
    if spec.rotation:
        layers.append(keras.layers.RandomRotation(spec.rotation / 360, seed=seeds[1], **ground))
    if spec.zoom:
        layers.append(keras.layers.RandomZoom(spec.zoom, seed=seeds[2], **ground))
    if spec.elastic:
        layers.append(ElasticDistortion(spec.elastic.alpha, spec.elastic.sigma, seed=seeds[3]))
    return layers


class ElasticDistortion(keras.layers.Layer):  # type: ignore[misc]
    """Moves every pixel a little, its neighbours alike: see `service.specs.augmentation.Elastic`.

    Not Keras's RandomElasticTransform: where the batch size is unknown, as it is in `fit` on TensorFlow, that one turns
    all images of a batch into bent copies of the first.
    """

    def __init__(self, alpha: float, sigma: float, seed: int) -> None:
        super().__init__(dtype="float32")
        self.seeds = keras.random.SeedGenerator(seed)
        self._alpha = alpha
        height, width, _ = INPUT_SHAPE
        self._down, self._across = _gaussian(height, sigma), _gaussian(width, sigma)

    def call(self, images: Any, training: bool = False) -> Any:
        """`(n, 28, 28, 1)` images of any type become float32 ones."""
        images = ops.cast(images, "float32")
        if not training:
            return images
        height, width, _ = INPUT_SHAPE
        noise = keras.random.uniform((ops.shape(images)[0], 2, height, width), -1.0, 1.0, seed=self.seeds)
        moves = self._alpha * ops.matmul(ops.matmul(self._down, noise), self._across.T)
        rows = moves[:, 0] + np.arange(height, dtype=np.float32)[:, np.newaxis]
        columns = moves[:, 1] + np.arange(width, dtype=np.float32)
        return _sampled(images, rows, columns)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """What comes in goes out."""
        return input_shape


def _gaussian(extent: int, sigma: float) -> NDArray[np.float32]:
    """`(extent, extent)`: the matrix that smooths a column of so many pixels; outside there are zeros."""
    distance = np.subtract.outer(np.arange(extent), np.arange(extent))
    weights = np.exp(-(distance**2) / (2 * sigma**2)) / _sum_of_weights(sigma)
    smoothing: NDArray[np.float32] = weights.astype(np.float32)
    return smoothing


def _sum_of_weights(sigma: float) -> float:
    """Of a Gaussian of `sigma` pixels at all whole pixels that count."""
    reach = np.arange(-math.ceil(6 * sigma), math.ceil(6 * sigma) + 1)
    return float(np.exp(-(reach**2) / (2 * sigma**2)).sum())


def _sampled(images: Any, rows: Any, columns: Any) -> Any:
    """The images where the new pixels are to come from, between pixels mixed from the four around (bilinear).

    Args:
        images: `(n, height, width, 1)` float32.
        rows: `(n, height, width)` float32, for each new pixel the row that it comes from; outside it is black.
        columns: likewise.
    """
    height, width, _ = INPUT_SHAPE
    flat = ops.reshape(
        ops.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=BLACK), (-1, (height + 2) * (width + 2))
    )
    # Pixel 0 is at 1 in the padded image.
    rows, columns = ops.clip(rows + 1, 0, height + 1), ops.clip(columns + 1, 0, width + 1)
    top, left = ops.minimum(ops.floor(rows), height), ops.minimum(ops.floor(columns), width)
    down, right = rows - top, columns - left
    corner = ops.reshape(ops.cast(top * (width + 2) + left, "int32"), (-1, height * width))

    def at(offset: int) -> Any:
        return ops.reshape(ops.take_along_axis(flat, corner + offset, axis=1), (-1, height, width))

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(width + 2) * (1 - right) + at(width + 3) * right
    return (upper * (1 - down) + lower * down)[..., np.newaxis]
