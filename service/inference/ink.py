"""Which pixels are ink: the ground is taken away, however it is lit, and with it what it is made of."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from service.inference.tones import Tones
from service.schemas import Polarity

Strength = NDArray[np.float32]

COARSE = 256
"""Longest side, in pixels, at which the ground is looked for: it changes slowly."""

WIDEST = 0.35
"""Part of the longest side that no stroke is as wide as: what is wider is shadow."""

NOISE = 5.0
"""How many standard deviations of the ground ink must stand out by."""

FAINTEST = 6.0
"""Levels, of 255, that ink must stand out by on the cleanest ground."""

CLEAR = 12.0
"""How many standard deviations of the ground no shadow's edge stands out by…"""

SHADOW = 32.0
"""…and how many levels, of 255, where there is no noise."""

ALIKE = 16
"""Levels, of 255, up to which pixels are of the same ground."""

EVEN = 0.9
"""Part of the picture's edge that must be of the same ground for it to be taken for the ground at all."""

DIRT = 0.05
"""Part of all that stands out below which the strongest is dirt."""

PART = 0.4
"""Part of the full strength from which on a pixel is surely ink."""


class Ink(NamedTuple):
    """What stands out from the ground.

    Attributes:
        strength: `(height, width)` float32; 0 is the ground, 1 a full stroke.
        sure: `(height, width)` uint8; 1 where it is surely ink.
        clear: whether a full stroke stands out by more than a shadow's edge would.
        polarity: whether ink is darker or lighter than the ground.
    """

    strength: Strength
    sure: NDArray[np.uint8]
    clear: bool
    polarity: Polarity


def find(tones: Tones) -> Ink | None:
    """None where nothing stands out."""
    coarse = _coarse(tones)
    polarity = _polarity(coarse)
    if polarity is Polarity.LIGHT_ON_DARK:
        tones, coarse = 255 - tones, 255 - coarse
    above = _ground(coarse, tones.shape) - tones
    level, noise = _spread(above)
    above -= level
    least = max(NOISE * noise, FAINTEST)
    standing_out = above[above > least]
    if not standing_out.size:
        return None
    full = _full(standing_out)
    floor = min(2 * noise, full / 4)
    strength = np.clip((above - floor) / (full - floor), 0, 1).astype(np.float32)
    sure = above > max(least, PART * full)
    return Ink(strength, sure.astype(np.uint8), full > max(CLEAR * noise, SHADOW), polarity)


def _full(levels: NDArray[np.float32]) -> float:
    """Level of a full stroke. Ink may stand out beside weaker things (ruled lines, a codec's traces) or beside dirt."""
    split, _ = cv2.threshold(levels.clip(0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    strong = levels[levels > split]
    if strong.size < DIRT * levels.size:
        strong = levels[levels <= split]
    return float(np.percentile(strong, 75))


def _coarse(tones: Tones) -> Tones:
    height, width = tones.shape
    scale = COARSE / max(height, width)
    if scale >= 1:
        return tones
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(tones, size, interpolation=cv2.INTER_AREA), np.uint8)


def _polarity(coarse: Tones) -> Polarity:
    """The ground is what the edge of the picture mostly is, if most of the picture is, too.

    Else, where it is unevenly lit or framed, ink is the smaller part. Either way it is the side to which the levels are
    skewed, about the ground or about slopes of light.
    """
    edge = np.concatenate([coarse[0], coarse[-1], coarse[:, 0], coarse[:, -1]])
    from_ground = coarse.astype(np.float64) - np.median(edge)
    even = (np.abs(edge - np.median(edge)) <= ALIKE).mean() > EVEN
    if even and (np.abs(from_ground) <= ALIKE).mean() > 0.5:
        rest = from_ground
    else:
        step = -(-max(coarse.shape) // 48)
        size = (max(1, coarse.shape[1] // step), max(1, coarse.shape[0] // step))
        rest = _without_slopes(np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_AREA), np.float64))
    return Polarity.DARK_ON_LIGHT if (rest**3).sum() <= 0 else Polarity.LIGHT_ON_DARK


def _without_slopes(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a quadratic surface, fitted so that outliers count little, leaves of the levels."""
    rows, columns = (axis.ravel() for axis in np.mgrid[-1 : 1 : grey.shape[0] * 1j, -1 : 1 : grey.shape[1] * 1j])
    terms = np.stack([np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2])
    levels = grey.ravel()
    rest = levels - np.median(levels)
    for _ in range(3):
        weighted = terms / (1 + (rest / (2 * np.median(np.abs(rest)) + 1)) ** 2)
        fit = np.linalg.lstsq(weighted @ terms.T, weighted @ levels, rcond=None)[0]
        rest = levels - fit @ terms
    return np.asarray(rest - np.median(rest))


def _ground(coarse: Tones, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The light ground without its dark strokes: a morphological closing, which keeps wide shadows and their edges."""
    extent = max(3, int(WIDEST * max(coarse.shape)) | 1)
    closed = cv2.morphologyEx(coarse, cv2.MORPH_CLOSE, np.ones((extent, extent), np.uint8))
    if closed.shape != shape:
        closed = cv2.resize(closed, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return closed.astype(np.float32)


def _spread(above: NDArray[np.float32]) -> tuple[float, float]:
    """Median and standard deviation of the ground, from quantiles so that ink does not count.

    Where ink is half of the picture, as in one that is cut out closely, only the lower quantiles are the ground's.
    """
    some = above[:: max(1, above.shape[0] // 256), :: max(1, above.shape[1] // 256)]
    lowest, low, level = (float(quantile) for quantile in np.quantile(some, (0.05, 0.25, 0.5)))
    most = 2.5 * (low - lowest) + 3
    return min(level, low + most), min(1.4826 * float(np.median(np.abs(some - level))), most)
