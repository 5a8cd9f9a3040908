"""What is sent to the servers: images of MNIST in the forms that applications send them in, and the right answers."""

import io
import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

JSON, PNG, OCTETS = "application/json", "image/png", "application/octet-stream"

DRAWING_SIDE = 280
"""Pixels, of a canvas that people draw a digit on."""


class Workload(NamedTuple):
    """A body.

    Attributes:
        images: how many it holds.
        digits: the answer to each, None where the server itself decides what the model sees.
    """

    name: str
    path: str
    content_type: str
    body: bytes
    images: int
    digits: tuple[int, ...] | None

    def is_answered_by(self, answer: bytes) -> bool:
        """Whether an answer says so."""
        return self.digits is None or self.digits == _digits(json.loads(answer))


def as_json(path: str, image: NDArray[np.uint8], digit: int | None, name: str = "JSON") -> Workload:
    """28×28 numbers."""
    body = json.dumps({"images": [image.tolist()]}, separators=(",", ":")).encode()
    return Workload(name, path, JSON, body, 1, None if digit is None else (digit,))


def as_png(path: str, image: NDArray[np.uint8], digit: int | None, name: str) -> Workload:
    """A picture of 28×28 pixels."""
    return Workload(name, path, PNG, _png(Image.fromarray(image)), 1, None if digit is None else (digit,))


def as_drawing(path: str, image: NDArray[np.uint8], name: str) -> Workload:
    """A larger picture, dark on white, which must be preprocessed."""
    size = (DRAWING_SIDE, DRAWING_SIDE)
    drawing = ImageOps.invert(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return Workload(name, path, PNG, _png(drawing), 1, None)


def as_octets(path: str, images: NDArray[np.uint8], digits: tuple[int, ...], name: str) -> Workload:
    """N × 784 bytes."""
    return Workload(name, path, OCTETS, images.tobytes(), len(images), digits)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _digits(answer: dict[str, Any]) -> tuple[int | None, ...]:
    if "predictions" in answer:
        return tuple(prediction["digit"] for prediction in answer["predictions"])
    return tuple(answer["digits"])
