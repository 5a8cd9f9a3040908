"""A picture as MNIST's makers would have brought it into their 28×28 pixels.

Source: LeCun, Cortes, Burges, "The MNIST database": the digits were "size normalized to fit in a 20x20 pixel box while
preserving their aspect ratio" with anti-aliasing, and "centered in a 28x28 image by computing the center of mass of the
pixels". Models are trained on pictures made like that, so every other picture must be made like that, too.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 28
BOX = 20
LARGE = 1024
"""Longest side, in pixels, above which a picture is made smaller by a whole number first."""

INK = 0.2
"""Part of the darkest stroke's strength from which on a pixel belongs to the digit."""


def to_mnist(picture: Image.Image) -> NDArray[np.uint8]:
    """A loaded picture of one digit, dark on light or light on dark, as `(28, 28)` light on black in 0–255.

    A picture without any contrast becomes all black.
    """
    ink = _ink(_grey(picture))
    if not ink.any():
        return np.zeros((SIDE, SIDE), np.uint8)
    return _centred(_fitted(_cropped(ink)))


def _grey(picture: Image.Image) -> NDArray[np.float32]:
    """Luminance in 0–255, upright as its EXIF data says, transparent parts white as paper."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        # 16 bits (or more) a pixel: scaled by what they hold, as modes of this kind name no white.
        deep = np.nan_to_num(np.asarray(picture, np.float32)).astype(np.float64)
        scaled: NDArray[np.float64] = (deep - deep.min()) * (255 / max(np.ptp(deep), 1e-9))
        return scaled.astype(np.float32)
    if picture.has_transparency_data:
        picture = _on_paper(picture.convert("RGBA"))
    grey = picture.convert("L")
    # A digit ends up in 20×20 pixels: beyond this size there is nothing to see, only memory to fill.
    return np.asarray(grey.reduce(max(1, max(grey.size) // LARGE)), np.float32)


def _on_paper(layer: Image.Image) -> Image.Image:
    """Transparent parts become white as paper; black, if light strokes would vanish on white."""
    white = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    darkest, lightest = white.convert("L").getextrema()
    return white if darkest != lightest else Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer)


def _ink(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each pixel is from the ground, in 0–255; the ground is what the picture's border mostly is."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = float(np.median(border))
    darker, lighter = ground - grey.min(), grey.max() - ground
    ink: NDArray[np.float32] = np.clip(ground - grey if darker >= lighter else grey - ground, 0, None)
    strongest = ink.max()
    return np.multiply(ink, 255 / strongest, dtype=np.float32) if strongest > 0 else ink


def _cropped(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    strokes = ink > INK * 255
    rows, columns = np.flatnonzero(strokes.any(axis=1)), np.flatnonzero(strokes.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fitted(digit: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = digit.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Pillow's resampling averages over all source pixels when it makes a picture smaller: that is the anti-aliasing.
    return np.asarray(Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC)).clip(0, 255)


def _centred(digit: NDArray[np.float32]) -> NDArray[np.uint8]:
    height, width = digit.shape
    mass = digit.sum()
    centre_row = float((digit.sum(axis=1) * np.arange(height)).sum() / mass)
    centre_column = float((digit.sum(axis=0) * np.arange(width)).sum() / mass)
    top = min(max(round((SIDE - 1) / 2 - centre_row), 0), SIDE - height)
    left = min(max(round((SIDE - 1) / 2 - centre_column), 0), SIDE - width)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    canvas[top : top + height, left : left + width] = digit.round()
    return canvas
