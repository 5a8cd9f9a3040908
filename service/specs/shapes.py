"""Shapes and parameter counts of a stack of layers, worked out without Keras.

They let the API refuse an impossible model when it is submitted, not minutes later in a worker.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from service.specs.layers import (
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    MaxPooling2D,
    Padding,
    Pair,
)

INPUT_SHAPE = (28, 28, 1)
"""Height, width and channels of every image, pixels in 0–255."""

CLASSES = 10

Shape = tuple[int, ...]
"""`(height, width, channels)` for a map or `(units,)` for a vector; the batch is left out."""


class ImpossibleLayer(ValueError):
    """A layer cannot follow what comes before it; `field` is the field of the layer at fault, or None for all of it."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Size(NamedTuple):
    """What a layer puts out, and how many numbers it keeps (as Keras counts them, trainable or not)."""

    shape: Shape
    parameters: int


def after(layer: Layer, shape: Shape) -> Size:
    """The size of one layer that gets `shape`.

    Raises:
        ImpossibleLayer: the layer cannot take this shape.
    """
    match layer:
        case Conv2D():
            height, width, channels = _map(layer.type, shape)
            spatial = _windows("kernel_size", (height, width), layer.kernel_size, layer.strides, layer.padding)
            kernel = layer.kernel_size[0] * layer.kernel_size[1] * channels * layer.filters
            return Size((*spatial, layer.filters), kernel + layer.filters * layer.use_bias)
        case MaxPooling2D() | AveragePooling2D():
            height, width, channels = _map(layer.type, shape)
            strides = layer.strides or layer.pool_size
            spatial = _windows("pool_size", (height, width), layer.pool_size, strides, layer.padding)
            return Size((*spatial, channels), 0)
        case GlobalAveragePooling2D():
            return Size((_map(layer.type, shape)[2],), 0)
        case BatchNormalization():
            return Size(shape, 4 * shape[-1])
        case Flatten():
            return Size((math.prod(shape),), 0)
        case Dense():
            if len(shape) != 1:
                raise ImpossibleLayer(
                    f"a dense layer takes a vector, but gets a {_text(shape)} map: "
                    "put a flatten or global_average_pooling2d layer before it"
                )
            return Size((layer.units,), layer.units * (shape[0] + layer.use_bias))
        case _:
            return Size(shape, 0)


def sizes(layers: Sequence[Layer], shape: Shape = INPUT_SHAPE) -> list[Size]:
    """The size of every layer of a stack, in order; all of them must fit."""
    result = []
    for layer in layers:
        size = after(layer, shape)
        result.append(size)
        shape = size.shape
    return result


def classifier(shape: Shape) -> Size:
    """The softmax layer over the classes that the service puts behind the stack."""
    return after(Dense(units=CLASSES), shape)


def _map(name: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ImpossibleLayer(f"a {name} layer takes a map of height × width × channels, but gets a vector")
    return shape[0], shape[1], shape[2]


def _windows(field: str, extent: tuple[int, int], window: Pair, strides: Pair, padding: Padding) -> tuple[int, int]:
    if padding == "same":
        return -(-extent[0] // strides[0]), -(-extent[1] // strides[1])
    if window[0] > extent[0] or window[1] > extent[1]:
        raise ImpossibleLayer(f"{_text(window)} is larger than the layer's {_text(extent)} input", field)
    return (extent[0] - window[0]) // strides[0] + 1, (extent[1] - window[1]) // strides[1] + 1


def _text(shape: Sequence[int]) -> str:
    return "×".join(str(extent) for extent in shape)
