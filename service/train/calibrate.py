"""From what a model says about known digits to its serving card: when to believe it.

The temperature is that of Guo, Pleiss, Sun, Weinberger 2017, "On Calibration of Modern Neural Networks": the one number
that makes the true digits of held-out images most likely. It changes no answer, only how sure it is.
"""

import math

import numpy as np
from numpy.typing import NDArray

from service.card import Golden, ServingCard, Variant
from service.data.dataset import Labels, Split
from service.inference.calibration import SMALLEST, calibrated
from service.inference.preprocess import VERSION
from service.train.export import Outputs

TEMPERATURES = np.geomspace(0.25, 8, 200)
"""What is tried: each is 1.8 % above the one before."""

ANSWERED = 0.996
"""Part of the calibration digits whose confidence is at the threshold or above."""

HIGHEST_THRESHOLD = 0.6
"""A model that is sure of all calibration digits still answers about pictures that are less clean."""

MARGIN = 1e-4
"""Between the floor and the least confidence: batches of other sizes and other processors round differently."""

FEWEST = 200
"""Images that a temperature can be fitted on; a smaller validation split is not used."""

GOLDEN = 32


def card(
    test: Split, said: dict[Variant, Outputs], validation: tuple[Split, Outputs] | None, golden: int = GOLDEN
) -> ServingCard:
    """A model's serving card.

    Args:
        test: the test set.
        said: what each variant that is kept says about it; fp32 must be among them.
        validation: digits that were not trained on, with what the fp32 variant says about them. None, or too few: the
            test set is used in their place, and the card says so.
        golden: how many test images the card holds, about as many of each digit.
    """
    held_out = validation if validation is not None and len(validation[0]) >= FEWEST else None
    digits, outputs = held_out or (test, said[Variant.FP32])
    temperature = fitted_temperature(outputs, digits.labels)
    sure = confidence(outputs, temperature)
    least = [confidence(answers, temperature).min() for answers in (*said.values(), outputs)]
    chosen = _spread(test.labels, golden)
    return ServingCard(
        preprocess_version=VERSION,
        temperature=temperature,
        threshold=_down(min(float(np.quantile(sure, 1 - ANSWERED)), HIGHEST_THRESHOLD)),
        floor=max(0.0, float(min(least)) - MARGIN),
        calibrated_on="test" if held_out is None else "validation",
        calibration_images=len(digits),
        test_accuracy={variant: accuracy(answers, test.labels) for variant, answers in said.items()},
        golden=Golden(
            images=test.images[chosen].tobytes(),
            probabilities={variant: answers.probabilities[chosen].tolist() for variant, answers in said.items()},
        ),
    )


def fitted_temperature(outputs: Outputs, labels: Labels) -> float:
    """The temperature with the smallest mean negative log-likelihood of the labels."""

    def loss(temperature: float) -> float:
        likelihood = calibrated(*outputs, temperature)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(likelihood, SMALLEST)).mean())

    return float(min(TEMPERATURES, key=loss))


def confidence(outputs: Outputs, temperature: float) -> NDArray[np.float32]:
    """`(n,)`, the calibrated probability of each image's most likely digit."""
    most: NDArray[np.float32] = calibrated(*outputs, temperature).max(axis=1)
    return most


def accuracy(outputs: Outputs, labels: Labels) -> float:
    """The part of the images whose most likely digit is the label."""
    return float((outputs.probabilities.argmax(axis=1) == labels).mean())


def _spread(labels: Labels, count: int) -> NDArray[np.int64]:
    """The first image of every digit, then the second of every digit, and so on."""
    turn = np.zeros(len(labels), np.int64)
    for digit in np.unique(labels):
        of_digit = np.flatnonzero(labels == digit)
        turn[of_digit] = np.arange(len(of_digit))
    return np.sort(np.argsort(turn, kind="stable")[:count])


def _down(share: float) -> float:
    """Not more than the share, in four digits."""
    return math.floor(share * 1e4) / 1e4
