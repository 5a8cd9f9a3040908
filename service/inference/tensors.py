"""Tensors, as the bytes or the JSON of other protocols, to the pixels of images."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidImage, InvalidInput
from service.inference.lanes import Pixels
from service.inference.preprocess import SIDE

DATATYPES = {
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""What a pixel may be, by the Open Inference Protocol's names, and the same in NumPy's."""

IMAGES = ((SIDE, SIDE, 1), (SIDE, SIDE), (SIDE * SIDE,))
"""Shapes that an image may have. A tensor has one dimension more, in front: how many there are."""

FORM = f"N images of {SIDE}×{SIDE}×1, {SIDE}×{SIDE} or {SIDE * SIDE} numbers, N ≥ 1"

_BOUNDS = msgspec.Meta(ge=0, le=255)
_INTEGERS = msgspec.json.Decoder(list[Annotated[int, _BOUNDS]])
_NUMBERS = msgspec.json.Decoder(list[Annotated[int, _BOUNDS] | Annotated[float, _BOUNDS]])

_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b"[],"))
_BRACKETS_TO_SPACES = bytes.maketrans(b"[]", b"  ")


def byte_size(datatype: str, shape: Sequence[int]) -> int:
    """How many bytes a tensor of images has.

    Raises:
        InvalidInput: images cannot have this datatype or shape.
    """
    _check(datatype, shape)
    return math.prod(shape) * np.dtype(DATATYPES[datatype]).itemsize


def of_bytes(content: memoryview, datatype: str, shape: Sequence[int]) -> Pixels:
    """Images as row-major little-endian numbers.

    Raises:
        InvalidInput: images cannot have this datatype or shape, or the content is not of this size.
        InvalidImage: a number is not from 0 to 255.
    """
    size = byte_size(datatype, shape)
    if len(content) != size:
        raise InvalidInput(f"{datatype} of shape {_text(shape)} has {size} bytes, but {len(content)} came.")
    if datatype == "UINT8":
        return np.frombuffer(content, np.uint8).reshape(-1, SIDE, SIDE)
    pixels: NDArray[Any] = np.frombuffer(content, DATATYPES[datatype]).reshape(-1, SIDE, SIDE)
    # The largest and smallest of what contains NaN are NaN, which compares with nothing.
    least, greatest = float(pixels.min()), float(pixels.max())
    if not (least >= 0 and greatest <= 255):
        raise InvalidImage(f"The values reach from {least:g} to {greatest:g}; pixels are numbers from 0 to 255.")
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32, copy=False)
    return pixels.astype(np.uint8)


def of_json(text: bytes, datatype: str, shape: Sequence[int]) -> Pixels:
    """Images as a JSON array, nested as the shape says or flat.

    Args:
        text: what a parser of JSON has found to be a value.

    Raises:
        InvalidInput: images cannot have this datatype or shape, or the array is not of this shape.
        InvalidImage: it contains what is no number of this datatype from 0 to 255.
    """
    _check(datatype, shape)
    structure = _structure(text)
    count = math.prod(shape)
    # Its length first: what a shape claims must not take memory.
    if structure.count(b",") + 1 != count or structure not in (_brackets([count]), _brackets(shape)):
        raise InvalidInput(f"The array is neither of shape {_text(shape)} nor flat with {count} numbers.")
    return _pixels(text, whole=not datatype.startswith("FP"))


def of_nested_json(text: bytes) -> Pixels:
    """Images as a nested JSON array that has a shape by itself.

    Args:
        text: what a parser of JSON has found to be a value.

    Raises:
        InvalidInput: it is not of a shape that images have.
        InvalidImage: it contains what is no number from 0 to 255.
    """
    structure = _structure(text)
    numbers = structure.count(b",") + 1
    count, rest = divmod(numbers, SIDE * SIDE)
    if rest or not any(structure == _brackets([count, *image]) for image in IMAGES):
        raise InvalidInput(f"There must be {FORM}; this is no such array.")
    return _pixels(text, whole=False)


def _check(datatype: str, shape: Sequence[int]) -> None:
    if datatype not in DATATYPES:
        raise InvalidInput(f"The datatype is {datatype[:20]!r}; it must be one of {', '.join(DATATYPES)}.")
    count, *image = shape or [0]
    if count < 1 or tuple(image) not in IMAGES:
        raise InvalidInput(f"The shape is {_text(shape)}; there must be {FORM}.")


def _structure(text: bytes) -> bytes:
    """The array without its numbers: two arrays of numbers that leave the same have the same shape."""
    return text.translate(None, _ALL_BUT_STRUCTURE)


def _brackets(shape: Sequence[int]) -> bytes:
    """What `_structure` leaves of an array of this shape."""
    text = b""
    for extent in reversed(shape):
        text = b"[" + b",".join([text] * extent) + b"]"
    return text


def _pixels(text: bytes, whole: bool) -> Pixels:
    """The numbers of an array whose structure is known to be right.

    They are read as one flat list: parsed as it is, an array of arrays of one number would take 30 times its text.
    """
    flat = b"[" + text.translate(_BRACKETS_TO_SPACES) + b"]"
    try:
        numbers: list[int] | list[int | float] = (_INTEGERS if whole else _NUMBERS).decode(flat)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidImage(f"Pixels are numbers from 0 to 255: {error}, counted flat.") from None
    pixels: NDArray[np.uint8] | NDArray[np.float32]
    try:
        pixels = np.frombuffer(bytes(numbers), np.uint8)  # type: ignore[arg-type]
    except TypeError:  # there are fractions
        pixels = np.array(numbers, np.float32)
    return pixels.reshape(-1, SIDE, SIDE)


def _text(shape: Sequence[int]) -> str:
    return str(list(shape))[:100]
