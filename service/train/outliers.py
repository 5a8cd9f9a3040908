"""Pictures of no digit, for a model to learn what it cannot read, and of digits beyond MNIST's, to keep apart.

Outlier exposure (Hendrycks, Mazeika, Dietterich 2019, "Deep Anomaly Detection with Outlier Exposure") needs examples of
what is not asked about. They are made up: letters, signs, scribbles, shapes, several digits at once, textures, noise.
The same seed gives the same pictures on every machine; no font of the system is used.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.inference.preprocess import to_mnist
from service.train import glyphs, patterns

Pixels = NDArray[np.uint8]
Images = NDArray[np.uint8]
"""`(n, 28, 28)`, 0–255, light on black."""

SIDE = 28
BOX = 20

BY_HAND = 0.75
"""Part of the drawn digits that are handwritten; the others are printed."""

PREPROCESSED = 0.15
"""Part of the drawings that go through all of the preprocessing of served pictures. As it leaves a clean drawing much
as it is, the others are only brought into MNIST's box: that takes a twentieth of the time."""


def outliers(count: int, digits: Images, rng: np.random.Generator) -> Images:
    """Pictures of no digit.

    Args:
        count: how many.
        digits: pictures of single digits, to put several into one.
        rng: all that is random comes from it.
    """
    kinds: list[tuple[float, Callable[[], Pixels]]] = [
        (0.42, lambda: _drawing(glyphs.handwritten(_one_of(glyphs.LETTERS, rng), rng), rng)),
        (0.1, lambda: _drawing(glyphs.handwritten(_one_of(glyphs.SIGNS, rng), rng), rng)),
        (0.14, lambda: _drawing(glyphs.printed(_one_of(glyphs.PRINTED, rng), rng), rng)),
        (0.06, lambda: _drawing(patterns.scribble(rng), rng)),
        (0.18, lambda: _drawing(patterns.shape(rng), rng)),
        (0.06, lambda: _drawing(_several(digits, rng), rng)),
        (0.03, lambda: _preprocessed(patterns.texture(int(rng.integers(48, 97)), rng), rng)),
        (0.03, lambda: patterns.texture(SIDE, rng)),
        (0.02, lambda: _preprocessed(patterns.noise(int(rng.integers(16, 65)), rng), rng)),
        (0.05, lambda: patterns.noise(SIDE, rng)),
    ]
    shares = np.array([share for share, _ in kinds])
    shares /= shares.sum()
    made: list[Pixels] = []
    while len(made) < count:
        pixels = kinds[int(rng.choice(len(kinds), p=shares))][1]()
        # What is blank is refused without a model.
        if pixels.any():
            made.append(pixels)
    return np.array(made, np.uint8).reshape(-1, SIDE, SIDE)


def drawn_digits(count: int, rng: np.random.Generator) -> Images:
    """Digits in the same hands and the same font as the outliers' letters: what tells them apart is not the style."""

    def drawn(digit: int) -> Pixels:
        if rng.random() < BY_HAND:
            return _drawing(glyphs.handwritten(_one_of(glyphs.DIGITS[digit], rng), rng), rng)
        return _drawing(glyphs.printed(str(digit), rng), rng)

    made = [drawn(int(digit)) for digit in rng.integers(0, 10, count)]
    return np.array(made, np.uint8).reshape(-1, SIDE, SIDE)


def varied(images: Images, rng: np.random.Generator) -> Images:
    """Pictures moved, turned, slanted, of other sizes and strokes, each a little: digits stay digits."""
    return np.array([_varied(image, rng) for image in images], np.uint8).reshape(-1, SIDE, SIDE)


def _varied(image: Pixels, rng: np.random.Generator) -> Pixels:
    kind = rng.random()
    if kind < 0.15:
        image = np.asarray(cv2.dilate(image, np.ones((2, 2), np.uint8)))
    elif kind < 0.25:
        image = np.asarray(cv2.erode(image, np.ones((2, 2), np.uint8)))
    turn, slant = rng.uniform(-0.25, 0.25), rng.normal(0, 0.1)
    height, width = rng.uniform(0.85, 1.1, 2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[width, slant], [0, height]])
    centre = np.full(2, (SIDE - 1) / 2)
    shift = centre - matrix @ centre + rng.normal(0, 0.8, 2)
    return np.asarray(cv2.warpAffine(image, np.column_stack([matrix, shift]), (SIDE, SIDE)), np.uint8)


def _one_of(choices: tuple[str, ...] | str, rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _drawing(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A drawing, light on black, as a model gets it."""
    if rng.random() < PREPROCESSED or not picture.any():
        return _preprocessed(picture, rng)
    left, top, width, height = cv2.boundingRect(picture)
    scale = BOX / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(picture[top : top + height, left : left + width], size, interpolation=cv2.INTER_AREA)
    moments = cv2.moments(fitted)
    centre = (SIDE - 1) / 2
    column, row = (round(centre - moments[axis] / max(moments["m00"], 1.0)) for axis in ("m10", "m01"))
    column, row = min(max(column, 0), SIDE - size[0]), min(max(row, 0), SIDE - size[1])
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[row : row + size[1], column : column + size[0]] = fitted
    return canvas


def _preprocessed(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture as it is preprocessed when it is served: half of them dark on light."""
    return to_mnist(Image.fromarray(255 - picture if rng.random() < 0.5 else picture)).pixels


def _several(digits: Images, rng: np.random.Generator) -> Pixels:
    """Two or three digits beside each other."""
    chosen = digits[rng.integers(0, len(digits), int(rng.integers(2, 4)))]
    gap = int(rng.integers(4, 9))
    canvas = np.zeros((SIDE + 8, SIDE * len(chosen)), np.uint8)
    for place, digit in enumerate(chosen):
        left, top = place * (SIDE - gap), int(rng.integers(0, 9))
        window = canvas[top : top + SIDE, left : left + SIDE]
        np.maximum(window, digit, out=window)
    return canvas
