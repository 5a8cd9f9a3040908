"""A picture as MNIST's makers would have brought it into their 28×28 pixels.

Source: LeCun, Cortes, Burges, "The MNIST database": the digits were "size normalized to fit in a 20x20 pixel box while
preserving their aspect ratio" with anti-aliasing, and "centered in a 28x28 image by computing the center of mass of the
pixels". Models are trained on pictures made like that, so every other picture must be made like that, too.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.inference import ink, margins, strokes, tones
from service.schemas import Box, Polarity

VERSION = 2
"""Goes up with every change that changes pixels: a model's confidence is calibrated with one version."""

SIDE = 28
BOX = 20

MIDDLE = 14
"""Row and column of MNIST's pixels that the centre of mass is nearest to, in all of them."""

THIN, THICK = 1.4, 5.0
"""Width of strokes, in pixels of the box, that 98 % of MNIST's digits are between; others are brought to these."""

EDGE = 0.4
"""Strength from which on the rim of a stroke counts for the digit's size."""

TOWARDS = 0.5
"""How far within that range they are brought, in the same unit."""

SMOOTH = 0.4
"""How far, in its own pixels, a small picture is smoothed before it is brought to another size: its steps show."""

CRISP = 2.0
"""How much steeper the edges of strokes are made before they are brought to size: MNIST's were black and white."""

FINE = 80
"""Longest side, in pixels, that strokes are measured at, at least."""


class Normalised(NamedTuple):
    """A picture in MNIST's form, and how it was found.

    Attributes:
        pixels: `(28, 28)`, light on black in 0–255; all 0 where no ink was found.
        box: where the digit was, in pixels of the upright picture; None where no ink was found.
        polarity: which side of the picture is the digit; None where no ink was found.
    """

    pixels: NDArray[np.uint8]
    box: Box | None = None
    polarity: Polarity | None = None


def to_mnist(picture: Image.Image) -> Normalised:
    """A loaded picture of one digit, dark on light or light on dark, in MNIST's form."""
    levels, width, height = tones.of(picture)
    across, down = width / levels.shape[1], height / levels.shape[0]
    levels, margin = margins.added(levels)
    found = ink.find(levels)
    mask = strokes.digit(found.sure, found.clear) if found else None
    if found is None or mask is None:
        return Normalised(np.zeros((SIDE, SIDE), np.uint8))
    around = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    strength = found.strength * around
    top, bottom, left, right = _extent(strength > 0)
    if max(bottom - top, right - left) != BOX:
        top, bottom, left, right = _extent(strength > EDGE * strength.max())
    cropped = strength[top:bottom, left:right]
    box = scaled(_within(left, top, right, bottom, levels.shape, margin), across, down)
    return Normalised(_centred(_fitted(cropped)), box, found.polarity)


def _within(left: int, top: int, right: int, bottom: int, shape: tuple[int, ...], margin: int) -> Box:
    """The box in the picture without its margin."""
    left, right = (min(max(side - margin, 0), shape[1] - 2 * margin) for side in (left, right))
    top, bottom = (min(max(side - margin, 0), shape[0] - 2 * margin) for side in (top, bottom))
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def scaled(box: Box, across: float, down: float) -> Box:
    """The same box in a picture so many times as wide and as high."""
    left, top = round(box.left * across), round(box.top * down)
    right, bottom = round((box.left + box.width) * across), round((box.top + box.height) * down)
    return Box(left=left, top=top, width=right - left, height=bottom - top)


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _fitted(digit: NDArray[np.float32]) -> NDArray[np.float32]:
    """The longer side `BOX` pixels long, strokes as wide as MNIST's; the same digit, if it is so already."""
    enlarge = max(1.0, FINE / max(digit.shape))
    fine = _enlarged(digit, enlarge) if enlarge > 1 else digit
    mask = (fine >= 0.5 * fine.max()).astype(np.uint8)
    pixel = max(digit.shape) * enlarge / BOX
    width = strokes.width(mask) / pixel
    if THIN <= width <= THICK:
        if max(digit.shape) == BOX:
            return digit
    else:
        by = (min(max(width, THIN + TOWARDS), THICK - TOWARDS) - width) * pixel
        wide = strokes.widened(np.pad(mask, int(max(by, 0)) + 1), by)
        fine = wide if wide.any() else fine
    crisp = np.clip((fine / fine.max() - 0.5) * CRISP + 0.5, 0, 1)
    top, bottom, left, right = _extent(crisp > EDGE)
    return _scaled(crisp[top:bottom, left:right])


def _enlarged(digit: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    padded = np.pad(digit, 2)
    large = cv2.resize(padded, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(large, (0, 0), SMOOTH * factor), np.float32)


def _scaled(digit: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = digit.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    scaled = cv2.resize(digit, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(scaled / max(float(scaled.max()), 1e-6), 0, 1), np.float32)


def _centred(digit: NDArray[np.float32]) -> NDArray[np.uint8]:
    height, width = digit.shape
    mass = float(digit.sum())
    row = float(digit.sum(axis=1) @ np.arange(height)) / mass
    column = float(digit.sum(axis=0) @ np.arange(width)) / mass
    top = min(max(round(MIDDLE - row), 0), SIDE - height)
    left = min(max(round(MIDDLE - column), 0), SIDE - width)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[top : top + height, left : left + width] = (255 * digit).round()
    return canvas
