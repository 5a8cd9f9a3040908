"""What clients send, as pixels: `(n, 28, 28)` float32 in 0–255, light on black as MNIST's digits are.

Numbers are taken as they are; encoded pictures go through `service.inference.preprocess`.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
import pydantic_core
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from service.errors import ImageTooLarge, InvalidImage, InvalidInput
from service.inference.preprocess import SIDE, to_mnist

Pixels = NDArray[np.float32]

PIXELS = SIDE * SIDE
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")


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
        ImageTooLarge: a picture has more than `max_pixels` pixels.
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
    result = np.empty((len(images), SIDE, SIDE), np.float32)
    for index, image in enumerate(images):
        try:
            result[index] = _base64_picture(image, max_pixels) if isinstance(image, str) else _numbers(image)
        except InvalidInput as error:
            raise type(error)(f"images[{index}]: {error}") from None
    return result


def picture(data: bytes, max_pixels: int) -> Pixels:
    """One encoded picture (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM) as `(1, 28, 28)`.

    Raises:
        InvalidImage: it is none of these, is broken, or moves.
        ImageTooLarge: it has more than `max_pixels` pixels; that is decided before it is decoded.
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
        width, height = opened.size
        if width * height > max_pixels:
            raise ImageTooLarge(f"The picture has {width}×{height} pixels; at most {max_pixels:,} are decoded.")
        if getattr(opened, "n_frames", 1) > 1:
            raise InvalidImage("The picture is animated or has several pages: send one frame.")
        opened.load()
        return to_mnist(opened)[np.newaxis].astype(np.float32)
    except UnidentifiedImageError:
        raise InvalidImage(f"The data is not a picture of a known format ({', '.join(FORMATS)}).") from None
    except Image.DecompressionBombError:
        raise ImageTooLarge(f"The picture is far too large; at most {max_pixels:,} pixels are decoded.") from None
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their format's parsing runs into
        raise InvalidImage(f"The picture cannot be decoded: {error}.") from None


def _base64_picture(text: str, max_pixels: int) -> Pixels:
    # Browsers' canvases give data URLs.
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("a text must be the base64 of an encoded picture.") from None
    pixels: Pixels = picture(data, max_pixels)[0]
    return pixels


def _numbers(image: Any) -> Pixels:
    try:
        pixels = np.asarray(image)
    except ValueError:
        raise InvalidImage("its rows differ in length or depth.") from None
    if pixels.dtype.kind not in "iuf":
        raise InvalidImage("an image must consist of numbers (or be base64 text of a picture).")
    if pixels.shape not in ((SIDE, SIDE), (PIXELS,)):
        shape = "×".join(str(extent) for extent in pixels.shape) or "a single number"
        raise InvalidImage(f"it is {shape}; an image is {SIDE}×{SIDE} or {PIXELS} numbers.")
    if not np.isfinite(pixels).all():
        raise InvalidImage("it contains NaN or infinity; pixels are numbers from 0 to 255.")
    if pixels.min() < 0 or pixels.max() > 255:
        raise InvalidImage(f"its values reach from {pixels.min()} to {pixels.max()}; pixels are numbers from 0 to 255.")
    return pixels.reshape(SIDE, SIDE).astype(np.float32)
