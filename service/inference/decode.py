"""What clients send, as pixels. Encoded pictures go through `service.inference.pictures`."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidImage, InvalidInput
from service.inference import pictures
from service.inference.lanes import Pixels
from service.inference.pictures import Budget
from service.inference.preprocess import SIDE, Normalised
from service.schemas import Preprocess

PIXELS = SIDE * SIDE

LISTS = 1000
"""So few lists are parsed in any case, so that the answer can say what is wrong with them."""

Number = int | float


class Options(NamedTuple):
    """How a request wants its images to be treated."""

    preprocess: Preprocess = Preprocess.AUTO
    explain: bool = False
    threshold: float | None = None
    """Confidence below which no digit is named; None for the model's own."""


class Images(NamedTuple):
    """The images of a request."""

    pixels: Pixels
    """`(n, 28, 28)`, 0–255, light on black."""

    normalised: Sequence[Normalised | None]
    """How each was brought into MNIST's form, None for what was taken as it is. Empty if all were."""


class _Given(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    preprocess: Preprocess | None = None
    explain: bool | None = None
    threshold: float | None = None

    def over(self, options: Options) -> Options:
        """The options, with what is given in place of what they say."""
        given = {name: getattr(self, name) for name in Options._fields}
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InvalidInput(f"threshold is {self.threshold}; it must be a number from 0 to 1.")
        return options._replace(**{name: value for name, value in given.items() if value is not None})


class _Body(_Given, kw_only=True):
    images: list[str | list[Number | list[Number]]]


_DECODER = msgspec.json.Decoder(_Body)
_PLACE = re.compile(r"\$\.(images\[\d+\])")


class Document(NamedTuple):
    """A JSON body, parsed: each image is base64 of a picture, 784 numbers or rows of numbers."""

    images: Sequence[str | Sequence[Number | Sequence[Number]]]
    options: Options

    @property
    def is_numbers(self) -> bool:
        """Whether there is nothing to be done to any image."""
        return self.options.preprocess is not Preprocess.MNIST and not any(
            isinstance(each, str) for each in self.images
        )


def octets(body: bytes, preprocess: Preprocess) -> Images:
    """N images of 784 unsigned bytes each, one after the other.

    Raises:
        InvalidInput: the length is no multiple of 784, or 0.
    """
    if not body or len(body) % PIXELS:
        raise InvalidInput(
            f"The body has {len(body)} bytes; application/octet-stream must be N images of {PIXELS} bytes each, N ≥ 1."
        )
    return _taken(np.frombuffer(body, np.uint8).reshape(-1, SIDE, SIDE), preprocess)


def parse(body: bytes, options: Options) -> Document:
    """`{"images": […]}`, perhaps with `preprocess`, `explain` and `threshold`, which then count instead of `options`.

    Raises:
        InvalidInput: it is not JSON, or not of this form.
    """
    # An image takes 784 numbers in at most 29 lists. Anything else is no image, but could take much memory.
    if body.count(b"[") > LISTS + len(body) * 30 // PIXELS:
        raise InvalidInput('The body is not of the form {"images": […]}: it consists of lists, not of numbers.')
    try:
        document = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        if place := _PLACE.search(str(error)):
            shape = f"{SIDE}×{SIDE} or {PIXELS} numbers, or base64 text of a picture"
            raise InvalidImage(f"{place[1]}: an image is {shape}: {error}.") from None
        raise InvalidInput(f'The body is not of the form {{"images": […]}}: {error}.') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None
    if not document.images:
        raise InvalidInput('The body must be a JSON object {"images": […]} with at least one image.')
    return Document(document.images, document.over(options))


def json_images(document: Document, max_pixels: int) -> Images:
    """The images of a JSON body.

    Raises:
        InvalidInput: one is none; the message says which.
        ImageTooLarge: as `pictures.read` does.
    """
    options = document.options
    budget = Budget(max_pixels)
    taken: list[NDArray[np.uint8] | NDArray[np.float32]] = []
    normalised: list[Normalised | None] = []
    for index, image in enumerate(document.images):
        try:
            if isinstance(image, str):
                found = pictures.read(_from_base64(image), options.preprocess, budget)
            elif options.preprocess is Preprocess.MNIST:
                found = pictures.from_array(numbers(image))
            else:
                taken.append(numbers(image))
                normalised.append(None)
                continue
        except InvalidInput as error:
            raise type(error)(f"images[{index}]: {error}") from None
        taken.append(found.pixels)
        normalised.append(None if options.preprocess is Preprocess.NONE else found)
    return Images(_stacked(taken), normalised)


def encoded(parts: Sequence[bytes], preprocess: Preprocess, max_pixels: int) -> Images:
    """Encoded pictures (PNG, JPEG, WebP, BMP, GIF, TIFF, PNM).

    Raises:
        InvalidImage: one is none of these, is broken, or moves; of several the message says which.
        ImageTooLarge: one has more than `max_pixels` pixels, or all of them together several times as many.
    """
    budget = Budget(max_pixels)
    found = []
    for index, part in enumerate(parts):
        try:
            found.append(pictures.read(part, preprocess, budget))
        except InvalidInput as error:
            if len(parts) == 1:
                raise
            raise type(error)(f"file part {index}: {error}") from None
    pixels = np.stack([each.pixels for each in found])
    return Images(pixels, [] if preprocess is Preprocess.NONE else found)


def parameters(given: Mapping[str, str], options: Options) -> Options:
    """The options, with what a query or a form says as text in place of what they say.

    Raises:
        InvalidInput: a parameter is unknown, or its value is of no use.
    """
    try:
        return msgspec.convert(given, _Given, strict=False).over(options)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"Parameters ({', '.join(Options._fields)}): {error}.") from None


def numbers(image: Sequence[Number | Sequence[Number]]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """784 numbers, or 28 rows of 28, as `(28, 28)`.

    Raises:
        InvalidImage: it is not of this shape, or a number is not from 0 to 255.
    """
    try:
        # By far the quickest way for whole numbers from 0 to 255, which nearly all images consist of.
        if len(image) == PIXELS:
            return np.frombuffer(bytes(image), np.uint8).reshape(SIDE, SIDE)  # type: ignore[arg-type]
        if len(image) == SIDE and set(map(len, image)) == {SIDE}:  # type: ignore[arg-type]
            return np.frombuffer(b"".join(map(bytes, image)), np.uint8).reshape(SIDE, SIDE)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pass
    return _any_numbers(image)


def _any_numbers(image: Sequence[Number | Sequence[Number]]) -> NDArray[np.float32]:
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


def _taken(pixels: Pixels, preprocess: Preprocess) -> Images:
    if preprocess is not Preprocess.MNIST:
        return Images(pixels, [])
    found = [pictures.from_array(image) for image in pixels]
    return Images(np.stack([each.pixels for each in found]), found)


def _stacked(images: Sequence[NDArray[np.uint8] | NDArray[np.float32]]) -> Pixels:
    # Of a single image no copy is made.
    return cast(Pixels, images[0][np.newaxis] if len(images) == 1 else np.stack(images))


def _from_base64(text: str) -> bytes:
    # Browsers' canvases give data URLs.
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidImage("a text must be the base64 of an encoded picture.") from None
