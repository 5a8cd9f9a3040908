"""What clients send, as pixels: `(n, 28, 28)` float32 in 0–255, light on black as MNIST's digits are.

Numbers are taken as they are; encoded pictures go through `service.inference.preprocess`.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pydantic_core
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from service.errors import ImageTooLarge, InvalidImage, InvalidInput
from service.inference.preprocess import SIDE, to_mnist

Pixels = NDArray[np.float32]

PIXELS = SIDE * SIDE
REQUEST_FACTOR = 4
"""How many times the pixels of the largest picture one request may hold."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")

# Pillow's own check would warn about sizes that are refused here before anything is decoded.
Image.MAX_IMAGE_PIXELS = None


def octets(body: bytes) -> Pixels:
    """N images of 784 unsigned bytes each, one after the other.

    Raises:
        InvalidInput: the length is no multiple of 784, or 0.
    """
    if not body or len(body) % PIXELS:
        raise InvalidInput(
            f"The body has {len(body)} bytes; application/octet-stream must be N images of {PIXELS} bytes each, N ≥ 1."
        )
    return np.frombuffer(body, np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)


def json_images(body: bytes, max_pixels: int) -> Pixels:
    """`{"images": […]}`: each image 28 rows of 28 numbers, 784 numbers, or base64 of an encoded picture.

    Raises:
        InvalidInput: it is not JSON or not of this form; the message names the image at fault.
        ImageTooLarge: as `pictures` does.
    """
    try:
        document = pydantic_core.from_json(body)
    except ValueError as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None
    images = document.get("images") if isinstance(document, dict) else None
    if not isinstance(images, list) or not images:
        raise InvalidInput('The body must be a JSON object {"images": […]} with at least one image.')
    if len(document) > 1:
        unknown = ", ".join(repr(field) for field in document if field != "images")
        raise InvalidInput(f"Unknown fields beside 'images': {unknown[:200]}.")
    budget = _Budget(max_pixels)
    result = []
    for index, image in enumerate(images):
        try:
            result.append(_picture(_from_base64(image), budget) if isinstance(image, str) else _numbers(image))
        except InvalidInput as error:
            raise type(error)(f"images[{index}]: {error}") from None
    return np.stack(result)


def picture(data: bytes, max_pixels: int) -> Pixels:
    """One encoded picture (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM) as `(1, 28, 28)`.

    Raises:
        InvalidImage: it is none of these, is broken, or moves.
        ImageTooLarge: it has more than `max_pixels` pixels; that is decided before it is decoded.
    """
    return _picture(data, _Budget(max_pixels))[np.newaxis]


def pictures(parts: Sequence[bytes], max_pixels: int) -> Pixels:
    """Several encoded pictures as `(n, 28, 28)`.

    Raises:
        InvalidImage: as `picture` does; the message says which of them.
        ImageTooLarge: as `picture` does, or together they have more than `REQUEST_FACTOR` times as many pixels.
    """
    budget = _Budget(max_pixels)
    result = []
    for index, part in enumerate(parts):
        try:
            result.append(_picture(part, budget))
        except InvalidInput as error:
            raise type(error)(f"file part {index}: {error}") from None
    return np.stack(result)


class _Budget:
    """The pixels that one request may still have decoded: small files can hold very large pictures."""

    def __init__(self, max_pixels: int) -> None:
        self._largest = max_pixels
        self._left = REQUEST_FACTOR * max_pixels

    def spend(self, width: int, height: int) -> None:
        pixels = width * height
        if pixels > self._largest:
            raise ImageTooLarge(f"The picture has {width}×{height} pixels; at most {self._largest:,} are decoded.")
        self._left -= pixels
        if self._left < 0:
            most = REQUEST_FACTOR * self._largest
            raise ImageTooLarge(f"The request's pictures have more than {most:,} pixels: send them one by one.")


def _picture(data: bytes, budget: _Budget) -> Pixels:
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
        budget.spend(*opened.size)
        # Phones put a second, smaller picture behind the first (MPO): that does not move.
        if opened.format != "MPO" and getattr(opened, "is_animated", False):
            raise InvalidImage("The picture is animated or has several pages: send one frame.")
        opened.load()
        return to_mnist(opened).astype(np.float32)
    except UnidentifiedImageError:
        raise InvalidImage(f"The data is not a picture of a known format ({', '.join(FORMATS)}).") from None
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's parsing runs into
        raise InvalidImage(f"The picture cannot be decoded: {error}.") from None


def _from_base64(text: str) -> bytes:
    # Browsers' canvases give data URLs.
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("a text must be the base64 of an encoded picture.") from None


def _numbers(image: Any) -> Pixels:
    # Before NumPy sees it: NumPy takes true for 1, and would pad every number to the length of one long text.
    if not _leaf_types(image) <= {int, float}:
        raise InvalidImage("an image must consist of numbers (or be base64 text of a picture).")
    try:
        pixels = np.asarray(image)
    except ValueError:
        raise InvalidImage("its rows differ in length or depth.") from None
    if pixels.shape not in ((SIDE, SIDE), (PIXELS,)):
        shape = "×".join(str(extent) for extent in pixels.shape) or "a single number"
        raise InvalidImage(f"it is {shape}; an image is {SIDE}×{SIDE} or {PIXELS} numbers.")
    if pixels.dtype.kind not in "iuf" or not np.isfinite(pixels).all():
        raise InvalidImage("it contains NaN, infinity or a number beyond all bounds; pixels are from 0 to 255.")
    if pixels.min() < 0 or pixels.max() > 255:
        raise InvalidImage(f"its values reach from {pixels.min()} to {pixels.max()}; pixels are numbers from 0 to 255.")
    return pixels.reshape(SIDE, SIDE).astype(np.float32)


def _leaf_types(value: Any) -> set[type]:
    """The types of all that is in nested lists, the lists left out."""
    if not isinstance(value, list):
        return {type(value)}
    types = set(map(type, value))
    if list in types:
        types.remove(list)
        for item in value:
            if isinstance(item, list):
                types |= _leaf_types(item)
    return types
