"""The layers that a model may consist of: a closed, discriminated union.

A client names layers and numbers. It cannot send code, a lambda or a serialised Keras object, so nothing that a worker
builds from a spec can execute something that is not in this file. Defaults are those of Keras 3, written out.
"""

from typing import Annotated, Literal

from pydantic import Field

from service.specs.base import Spec

Activation = Literal["linear", "relu", "elu", "gelu", "silu", "leaky_relu", "tanh", "sigmoid"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal"]
Padding = Literal["valid", "same"]
Extent = Annotated[int, Field(ge=1, le=512)]
# JSON has no tuples: a list of two is one.
Pair = Annotated[tuple[Extent, Extent], Field(strict=False)]
"""Height and width, in pixels."""


class Conv2D(Spec):
    """Convolution over height and width."""

    type: Literal["conv2d"] = "conv2d"
    filters: int = Field(ge=1, le=8192)
    kernel_size: Pair = (3, 3)
    strides: Pair = (1, 1)
    padding: Padding = "valid"
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = "glorot_uniform"


class MaxPooling2D(Spec):
    """Largest value of each window."""

    type: Literal["max_pooling2d"] = "max_pooling2d"
    pool_size: Pair = (2, 2)
    strides: Pair | None = Field(default=None, description="the pool size where it is null")
    padding: Padding = "valid"


class AveragePooling2D(Spec):
    """Mean of each window."""

    type: Literal["average_pooling2d"] = "average_pooling2d"
    pool_size: Pair = (2, 2)
    strides: Pair | None = Field(default=None, description="the pool size where it is null")
    padding: Padding = "valid"


class GlobalAveragePooling2D(Spec):
    """Mean over height and width: a map becomes a vector."""

    type: Literal["global_average_pooling2d"] = "global_average_pooling2d"


class BatchNormalization(Spec):
    """Normalisation over the batch, per channel."""

    type: Literal["batch_normalization"] = "batch_normalization"
    momentum: float = Field(default=0.99, ge=0, lt=1)
    epsilon: float = Field(default=1e-3, gt=0)


class ActivationLayer(Spec):
    """An activation by itself, where it does not directly follow the layer's own sum."""

    type: Literal["activation"] = "activation"
    activation: Activation


class Dropout(Spec):
    """Sets a fraction `rate` of its inputs to 0 in training."""

    type: Literal["dropout"] = "dropout"
    rate: float = Field(ge=0, lt=1)


class Flatten(Spec):
    """A map becomes a vector."""

    type: Literal["flatten"] = "flatten"


class Dense(Spec):
    """A fully connected layer; takes a vector."""

    type: Literal["dense"] = "dense"
    units: int = Field(ge=1, le=10**9)
    activation: Activation = "linear"
    use_bias: bool = True
    kernel_initializer: Initializer = "glorot_uniform"


Layer = Annotated[
    Conv2D
    | MaxPooling2D
    | AveragePooling2D
    | GlobalAveragePooling2D
    | BatchNormalization
    | ActivationLayer
    | Dropout
    | Flatten
    | Dense,
    Field(discriminator="type"),
]
