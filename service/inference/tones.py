"""A picture's one channel that shows the writing best: upright, transparent parts filled in, colours told apart."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

Tones = NDArray[np.uint8]

LARGE = 640
"""Longest side, in pixels, of what is looked at; there is nothing to see beyond it, only memory to fill."""

COLOURFUL = 1.5
"""How many times more contrast another mixture of the colours must have than luminance has, to be taken instead."""

_LUMINANCE = np.array([0.299, 0.587, 0.114])


class Reduced(NamedTuple):
    """`(height, width)` tones, and the size of the upright picture that they were made from."""

    tones: Tones
    width: int
    height: int


def of(picture: Image.Image) -> Reduced:
    """A loaded picture of any of the modes that files have."""
    if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    factor = -(-max(picture.size) // LARGE)
    return Reduced(_tones(picture, factor), *picture.size)


def _tones(picture: Image.Image, factor: int) -> Tones:
    if picture.mode.startswith(("I", "F")):
        return _deep(picture, factor)
    if picture.has_transparency_data:
        layer = picture if picture.mode == "RGBA" else picture.convert("RGBA")
        picture = _filled(layer.reduce(factor))
    else:
        picture = (picture if picture.mode in ("L", "RGB") else _plain(picture)).reduce(factor)
    return np.asarray(picture) if picture.mode == "L" else _mixed(np.asarray(picture))


def _plain(picture: Image.Image) -> Image.Image:
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _deep(picture: Image.Image, factor: int) -> Tones:
    """16 bits (or more) a pixel: scaled by what they hold, as modes of this kind name no white."""
    given = np.asarray(picture)
    given = given if given.dtype == np.uint16 else np.nan_to_num(given.astype(np.float32))
    size = (-(-picture.width // factor), -(-picture.height // factor))
    levels = np.asarray(cv2.resize(given, size, interpolation=cv2.INTER_AREA), np.float64)
    tones: Tones = ((levels - levels.min()) * (255 / max(np.ptp(levels), 1e-9))).round().astype(np.uint8)
    return tones


def _filled(layer: Image.Image) -> Image.Image:
    """RGB. Transparent parts get the colour on which the opaque ones are seen best."""
    covered = layer.getchannel("A").getbbox()
    if covered is None:
        return Image.new("L", layer.size)
    opaque = np.asarray(layer.getchannel("A").crop(covered)) > 127
    if opaque.mean() > STICKER:
        own = np.asarray(layer.convert("RGB").crop(covered))[opaque]
        if np.ptp(own, axis=0).max() > SHADES:
            return _over(layer, tuple(int(level) for level in np.median(own, axis=0)))
    on_white, on_black = _over(layer, (255, 255, 255)), _over(layer, (0, 0, 0))
    return on_white if _span(on_white) >= _span(on_black) else on_black


STICKER = 0.8
"""Part of its own box that must be opaque for a picture to be taken for one with a ground of its own…"""

SHADES = 32
"""…and how much its opaque pixels must differ in a colour, of 255: a stroke of a 1 is opaque everywhere, too."""


def _over(layer: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    ground = Image.new("RGBA", layer.size, (*colour, 255))
    return Image.alpha_composite(ground, layer).convert("RGB")


def _span(picture: Image.Image) -> int:
    darkest, lightest = picture.convert("L").getextrema()
    return int(lightest) - int(darkest)  # type: ignore[arg-type]


def _mixed(colours: NDArray[np.uint8]) -> Tones:
    """Luminance, unless the colours differ far more in another direction: their first principal component."""
    few = colours[:: max(1, colours.shape[0] // 128), :: max(1, colours.shape[1] // 128)].reshape(-1, 3)
    spread = np.cov(few, rowvar=False, dtype=np.float64) if len(few) > 1 else np.zeros((3, 3))
    values, vectors = np.linalg.eigh(spread)
    along = np.sqrt(_LUMINANCE @ spread @ _LUMINANCE / (_LUMINANCE @ _LUMINANCE))
    if np.sqrt(max(values[-1], 0)) <= COLOURFUL * along:
        return np.asarray(Image.fromarray(colours).convert("L"))
    weights = vectors[:, -1] * np.sign(vectors[:, -1] @ _LUMINANCE or 1.0)
    mixed = colours.astype(np.float32) @ weights.astype(np.float32)
    lowest = 255 * np.minimum(weights, 0).sum()
    tones: Tones = ((mixed - lowest) / np.abs(weights).sum()).round().astype(np.uint8)
    return tones
