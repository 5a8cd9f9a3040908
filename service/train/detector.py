"""The small network that says whether there is a digit at all: the second output of the model that is served.

It looks at the pixels, whatever the classifier is: a classifier's features keep only what tells digits apart. It is
trained by outlier exposure (Hendrycks et al. 2019, see `service.train.outliers`) when the classifier is finished, with
random numbers of its own, so that no classifier depends on it.
"""

import math

import keras
import numpy as np

from service.data.dataset import Images
from service.specs.layers import Conv2D, Dense, Flatten, Layer
from service.specs.shapes import INPUT_SHAPE
from service.train.models import stack
from service.train.outliers import drawn_digits, outliers, varied

LAYERS: tuple[Layer, ...] = (
    Conv2D(filters=32, kernel_size=(7, 7), strides=(3, 3), activation="relu"),
    Flatten(),
    Dense(units=64, activation="relu"),
)
RESCALE = 1 / 255

MOST_DIGITS = 6_000
"""Training digits that are looked at, at most; half of them as they are, half a little changed."""

OUTLIERS = 0.7
DRAWN = 0.2
"""Outliers and drawn digits, as fractions of the training digits that are looked at. Each is there twice, once a
little changed."""

EXPECTED = 0.9
"""Digits among the pictures that are served, a guess: there are fewer in training, and the output is corrected for that
(Saerens, Latinne, Decaestecker 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities")."""

EPOCHS = 5
BATCH = 128
LEARNING_RATE = 2e-3
STREAM = 0xD161
"""Keeps this module's random numbers apart from others of the same seed."""


def train(digits: Images, seed: int) -> keras.Sequential:
    """A network that takes `(n, 28, 28, 1)` pixels in 0–255 and gives `(n, 1)`, the chance that each is a digit.

    Args:
        digits: the training images, `(n, 28, 28)`.
        seed: of the experiment; the same images and seed give the same network.
    """
    rng = np.random.default_rng([STREAM, seed])
    real = digits[rng.permutation(len(digits))[:MOST_DIGITS]]
    changed = rng.permutation(len(real)) < len(real) // 2
    drawn = drawn_digits(math.ceil(DRAWN * len(real)), rng)
    positive = [real[~changed], varied(real[changed], rng), drawn, varied(drawn, rng)]
    made = outliers(math.ceil(OUTLIERS * len(real)), real, rng)
    negative = np.concatenate([made, varied(made, rng)])
    images = np.concatenate([*positive, negative])
    is_digit = np.concatenate([np.ones(len(images) - len(negative)), np.zeros(len(negative))]).astype(np.float32)
    order = rng.permutation(len(images))

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(INPUT_SHAPE, name="pixels"),
            keras.layers.Rescaling(RESCALE),
            *stack(LAYERS, "float32"),
            keras.layers.Dense(1, activation="sigmoid"),
        ],
        name="detector",
    )
    steps = EPOCHS * -(-len(images) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="binary_crossentropy")
    model.fit(
        images[order][..., np.newaxis], is_digit[order], batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0
    )
    trained_on = float(is_digit.mean())
    bias = model.layers[-1].bias
    bias.assign(bias + math.log(EXPECTED / (1 - EXPECTED)) - math.log(trained_on / (1 - trained_on)))
    return model
