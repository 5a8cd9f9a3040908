"""Encoded pictures, as they were sent, become 28×28 pixels. Nothing that a file holds can do more than be refused."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from service.errors import ImageTooLarge, InvalidImage, InvalidInput
from service.inference.preprocess import SIDE, Normalised, scaled, to_mnist
from service.inference.tones import LARGE
from service.schemas import Preprocess

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

REQUEST_FACTOR = 4
"""How many times the pixels of the largest picture one request may hold."""

ENOUGH = LARGE
"""Sides, in pixels, that a JPEG is decoded with at least: its decoder gives a half, a quarter or an eighth for less."""

TURNED = 5
"""EXIF's first orientation in which width and height are exchanged."""

_PNG = b"\x89PNG\r\n\x1a\n"

# Pillow's own check would warn about sizes that are refused here before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


class Budget:
    """The pixels that one request may still have decoded: small files can hold very large pictures."""

    def __init__(self, max_pixels: int) -> None:
        self._largest = max_pixels
        self._left = REQUEST_FACTOR * max_pixels

    def spend(self, width: int, height: int) -> None:
        """Take a picture's pixels off.

        Raises:
            ImageTooLarge: it is larger than one picture may be, or than what is left.
        """
        pixels = width * height
        if pixels > self._largest:
            raise ImageTooLarge(f"The picture has {width}×{height} pixels; at most {self._largest:,} are decoded.")
        self._left -= pixels
        if self._left < 0:
            most = REQUEST_FACTOR * self._largest
            raise ImageTooLarge(f"The request's pictures have more than {most:,} pixels: send them one by one.")


def read(data: bytes, preprocess: Preprocess, budget: Budget) -> Normalised:
    """One encoded picture (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM) as `(28, 28)` pixels.

    With `Preprocess.NONE` these are its own pixels: its luminance, upright, transparent parts black.

    Raises:
        InvalidImage: it is none of these, is broken, or moves; or nothing may be done to it and it is not 28×28.
        ImageTooLarge: it has too many pixels; that is decided before it is decoded.
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=("PNG",) if data.startswith(_PNG) else FORMATS)
        budget.spend(*opened.size)
        # Phones put a second, smaller picture behind the first (MPO): that does not move.
        if opened.format != "MPO" and getattr(opened, "is_animated", False):
            raise InvalidImage("The picture is animated or has several pages: send one frame.")
        return Normalised(_as_it_is(opened)) if preprocess is Preprocess.NONE else _reduced(opened)
    except UnidentifiedImageError:
        raise InvalidImage(f"The data is not a picture of a known format ({', '.join(FORMATS)}).") from None
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's parsing runs into
        raise InvalidImage(f"The picture cannot be decoded: {error}.") from None


def from_array(pixels: NDArray[np.floating | np.uint8]) -> Normalised:
    """`(28, 28)` numbers in 0–255 as if they were a picture."""
    return to_mnist(Image.fromarray(pixels.round().astype(np.uint8)))


def _as_it_is(opened: Image.Image) -> NDArray[np.uint8]:
    if opened.size != (SIDE, SIDE):
        width, height = opened.size
        raise InvalidImage(f"The picture is {width}×{height}; without preprocessing it must be {SIDE}×{SIDE}.")
    if opened.mode == "L" and not opened.info:
        return np.asarray(opened)
    upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I;16"):
        return (np.asarray(upright) >> 8).astype(np.uint8)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer)
    return np.asarray(upright.convert("L"))


def _reduced(opened: Image.Image) -> Normalised:
    width, height = opened.size
    opened.draft(None, (ENOUGH, ENOUGH))
    across, down = width / opened.width, height / opened.height
    opened.load()
    found = to_mnist(opened)
    if across == down == 1 or found.box is None:
        return found
    if opened.getexif().get(ExifTags.Base.Orientation, 1) >= TURNED:
        across, down = down, across
    return found._replace(box=scaled(found.box, across, down))
