"""A spec's Keras model, and what is around it only while it trains."""

from collections.abc import Sequence

import keras
import numpy as np

from service.specs.experiment import ExperimentSpec
from service.specs.layers import (
    ActivationLayer,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Layer,
    MaxPooling2D,
)
from service.specs.optimizers import SGD, Adadelta, Adagrad, Adam, Optimizer, RMSprop
from service.specs.shapes import CLASSES, INPUT_SHAPE
from service.train.augmentation import Distortion

LAYERS = {
    Conv2D: keras.layers.Conv2D,
    MaxPooling2D: keras.layers.MaxPooling2D,
    AveragePooling2D: keras.layers.AveragePooling2D,
    GlobalAveragePooling2D: keras.layers.GlobalAveragePooling2D,
    BatchNormalization: keras.layers.BatchNormalization,
    ActivationLayer: keras.layers.Activation,
    Dropout: keras.layers.Dropout,
    Flatten: keras.layers.Flatten,
    Dense: keras.layers.Dense,
}

OPTIMIZERS = {
    Adadelta: keras.optimizers.Adadelta,
    Adagrad: keras.optimizers.Adagrad,
    Adam: keras.optimizers.Adam,
    RMSprop: keras.optimizers.RMSprop,
    SGD: keras.optimizers.SGD,
}


def build(spec: ExperimentSpec, precision: str | None = None) -> keras.Sequential:
    """The model that learns and is exported.

    Takes `(n, 28, 28, 1)` float32 pixels in 0–255 and gives `(n, 10)` float32 probabilities. Scaling is its first
    layer, so that training and serving cannot disagree about it. `precision` overrides the spec's.
    """
    precision = precision or spec.precision
    return keras.Sequential(
        [
            keras.Input(INPUT_SHAPE, dtype="float32", name="pixels"),
            keras.layers.Rescaling(spec.rescale, dtype=precision, name="rescale"),
            *stack(spec.model.layers, precision),
            # float32 whatever the precision: a softmax in half precision loses small probabilities.
            keras.layers.Dense(CLASSES, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="classifier",
    )


def stack(layers: Sequence[Layer], precision: str) -> list[keras.layers.Layer]:
    """The Keras layers of a spec's."""
    return [LAYERS[type(layer)](**layer.model_dump(exclude={"type"}), dtype=precision) for layer in layers]


def for_training(model: keras.Sequential, spec: ExperimentSpec) -> keras.Sequential:
    """The compiled model to call `fit` on. It shares its weights with `model`; augmentation is only in it.

    The optimizer's and the metrics' variables exist already, so that a checkpoint's values can be put into them.
    """
    augmentation = [Distortion(spec.augmentation, spec.seed)] if spec.augmentation else []
    trained = keras.Sequential([keras.Input(INPUT_SHAPE), *augmentation, model])
    trained.compile(
        optimizer=optimizer(spec.optimizer), loss=spec.loss, metrics=[keras.metrics.CategoricalAccuracy("accuracy")]
    )
    trained.optimizer.build(trained.trainable_variables)
    nothing = np.zeros((1, CLASSES), np.float32)
    trained.compute_metrics(None, nothing, nothing, None)
    trained.reset_metrics()
    return trained


def optimizer(spec: Optimizer) -> keras.optimizers.Optimizer:
    """The Keras optimizer with every parameter of the spec given to it."""
    return OPTIMIZERS[type(spec)](**spec.model_dump(exclude={"name"}))
