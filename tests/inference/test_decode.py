"""What clients send: taken where it can be, else refused with what is wrong with it, and never a surprise."""

import base64
import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from service.errors import ImageTooLarge, InvalidImage, InvalidInput
from service.inference import decode
from service.inference.decode import Options
from service.inference.lanes import Pixels
from service.schemas import Preprocess

MAX_PIXELS = 1_000_000

ROWS = [[(row * 9 + column) % 256 for column in range(28)] for row in range(28)]
FLAT = [pixel for row in ROWS for pixel in row]


def json_body(body: bytes, max_pixels: int = MAX_PIXELS) -> decode.Images:
    return decode.json_images(decode.parse(body, Options()), max_pixels)


def numbers_in(body: bytes, max_pixels: int) -> Pixels:
    return json_body(body, max_pixels).pixels


def in_json(*images: Any) -> Pixels:
    return json_body(json.dumps({"images": images}).encode()).pixels


def pictures(parts: list[bytes], max_pixels: int) -> Pixels:
    return decode.encoded(parts, Preprocess.AUTO, max_pixels).pixels


def picture(data: bytes, max_pixels: int) -> Pixels:
    return pictures([data], max_pixels)


def octets(data: bytes) -> Pixels:
    return decode.octets(data, Preprocess.AUTO).pixels


def seven(mode: str = "L") -> Image.Image:
    """Black on white, and nothing about it is symmetric."""
    picture = Image.new(mode, (120, 160), "white")
    pen = ImageDraw.Draw(picture)
    pen.line([(20, 30), (95, 30), (50, 140)], fill="black", width=12)
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def apart(one: Pixels, other: Pixels) -> float:
    """Mean difference of a pixel, of 255. Up to 3 is the work of a lossy format."""
    return float(np.abs(one - other).mean())


SEVEN = encoded(seven())
PIXELS = picture(SEVEN, MAX_PIXELS)


# Bytes


def test_octets_are_images_one_after_the_other() -> None:
    images = np.arange(3 * 784).astype(np.uint8)
    pixels = octets(images.tobytes())
    assert (pixels.shape, pixels.dtype) == ((3, 28, 28), np.uint8)
    np.testing.assert_array_equal(pixels, images.reshape(3, 28, 28))


@pytest.mark.parametrize("length", [0, 1, 783, 785, 2 * 784 - 1])
def test_octets_that_are_no_whole_images_are_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"has {length} bytes"):
        octets(bytes(length))


# Numbers in JSON


@pytest.mark.parametrize("image", [ROWS, FLAT], ids=["rows", "flat"])
def test_numbers_are_taken_as_they_are(image: list[Any]) -> None:
    pixels = in_json(image)
    assert (pixels.shape, pixels.dtype) == ((1, 28, 28), np.uint8)
    np.testing.assert_array_equal(pixels[0], np.array(ROWS, np.float32))


def test_numbers_may_have_fractions_and_all_be_the_same() -> None:
    assert in_json([0.5] * 784).tolist() == [[[0.5] * 28] * 28]
    assert in_json([255] * 784).max() == 255
    assert in_json([0] * 784).max() == 0


def test_images_of_every_form_may_be_mixed_and_keep_their_order() -> None:
    pixels = in_json(FLAT, in_base64(SEVEN), ROWS)
    np.testing.assert_array_equal(pixels[0], pixels[2])
    np.testing.assert_array_equal(pixels[1], PIXELS[0])


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        pytest.param([*ROWS, ROWS[0]], "29×28", id="a row too many"),
        pytest.param(ROWS[:27], "27×28", id="a row too few"),
        pytest.param([[*row, 0] for row in ROWS], "28×29", id="a column too many"),
        pytest.param([*ROWS[:27], ROWS[0][:27]], "differ", id="ragged"),
        pytest.param([*ROWS[:27], 0], "differ", id="a number for a row"),
        pytest.param(FLAT[:783], "783", id="783 numbers"),
        pytest.param([FLAT], "1×784", id="a batch of its own"),
        pytest.param([[[pixel] for pixel in row] for row in ROWS], "28×28 or 784", id="with a channel"),
        pytest.param([], "28×28 or 784", id="empty"),
        pytest.param([[]] * 28, "28×0", id="empty rows"),
        pytest.param(7, "numbers", id="a number"),
        pytest.param(None, "numbers", id="null"),
        pytest.param(True, "numbers", id="a bool"),
        pytest.param({"pixels": FLAT}, "numbers", id="an object"),
        pytest.param([str(pixel) for pixel in FLAT], "numbers", id="strings"),
        pytest.param([*FLAT[:783], "0"], "numbers", id="one string"),
        pytest.param([True] * 784, "numbers", id="bools"),
        pytest.param([*FLAT[:783], True], "numbers", id="one bool"),
        pytest.param([*FLAT[:783], None], "numbers", id="one null"),
        pytest.param([*FLAT[:783], {}], "numbers", id="one object"),
        pytest.param([*FLAT[:783], -1], "from -1", id="below 0"),
        pytest.param([*FLAT[:783], 256], "to 256", id="above 255"),
        pytest.param([*FLAT[:783], 255.001], "to 255.001", id="a little above 255"),
        pytest.param([*FLAT[:783], 2**63], "to 9", id="64 bits"),
        pytest.param([*FLAT[:783], 10**400], "beyond all bounds", id="more than any float"),
    ],
)
def test_what_is_no_image_is_refused_and_its_place_named(image: Any, reason: str) -> None:
    with pytest.raises(InvalidImage, match=r"^images\[2\]: ") as caught:
        in_json(ROWS, FLAT, image)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"images", "not JSON"),
        (b'{"images": [[0, 1', "not JSON"),
        (b'{"images": [\xff\xfe]}', "not JSON"),
        (SEVEN, "not JSON"),
        (b'{"images": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "lists, not of numbers"),
        (b'{"images": ' + b"[" * 1000, "images[0]"),
        (b'{"images": [' + b"[" * 100 + b"]" * 100 + b"]}", "images[0]"),
        (json.dumps({"images": [[float("nan")] * 784]}).encode(), "not JSON"),
        (json.dumps({"images": [[float("inf")] * 784]}).encode(), "not JSON"),
        (json.dumps({"images": [FLAT], "threshold": 1.5}).encode(), "from 0 to 1"),
        (json.dumps({"images": [FLAT], "threshold": "high"}).encode(), "threshold"),
        (json.dumps({"images": [FLAT], "preprocess": "magic"}).encode(), "preprocess"),
        (json.dumps({"images": [FLAT], "explain": 1}).encode(), "explain"),
        (b"null", '{"images": […]}'),
        (b"[]", '{"images": […]}'),
        (b"{}", '{"images": […]}'),
        (b'{"image": []}', '{"images": […]}'),
        (b'{"images": []}', "at least one"),
        (b'{"images": {}}', '{"images": […]}'),
        (b'{"images": "iVBORw0KGgo="}', '{"images": […]}'),
        (json.dumps({"images": [ROWS], "model": "best", "threshold": 1}).encode(), "`model`"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:20]),
)
def test_a_body_of_another_form_is_refused_with_what_it_should_be(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        json_body(body)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"images": [' + b"0," * 100_000 + b"0]}", id="many small things that are no images"),
        pytest.param(
            b'{"images": [[' + b'"' + b"x" * 100_000 + b'",' + b"0," * 782 + b"0]]}", id="a long text for a number"
        ),
    ],
)
def test_a_small_body_that_is_refused_takes_little_memory(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidImage, match=r"images\[0\]"):
            json_body(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 2**20


def test_a_large_body_of_nothing_but_lists_is_refused_before_it_fills_the_memory() -> None:
    body = b'{"images": [' + b"[]," * 3_000_000 + b"[]]}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match="lists, not of numbers"):
            json_body(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


# Options


def test_what_the_body_says_counts_before_what_the_query_says() -> None:
    document = {"images": [FLAT], "preprocess": "mnist", "explain": True}
    asked = Options(Preprocess.NONE, explain=False, threshold=0.25)
    assert decode.parse(json.dumps(document).encode(), asked).options == Options(Preprocess.MNIST, True, 0.25)


def test_parameters_are_read_from_text() -> None:
    given = {"preprocess": "none", "explain": "true", "threshold": "0.5"}
    assert decode.parameters(given, Options()) == Options(Preprocess.NONE, True, 0.5)
    assert decode.parameters({"explain": "0"}, Options(explain=True)) == Options()


@pytest.mark.parametrize(
    "given",
    [
        {"preprocess": "magic"},
        {"preprocess": ""},
        {"explain": "perhaps"},
        {"threshold": "high"},
        {"threshold": "-0.1"},
        {"threshold": "nan"},
        {"treshold": "0.5"},
    ],
    ids=str,
)
def test_parameters_of_no_use_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        decode.parameters(given, Options())


# Base64 in JSON


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:;base64,"])
def test_base64_of_a_picture_is_that_picture(prefix: str) -> None:
    np.testing.assert_array_equal(in_json(prefix + in_base64(SEVEN)), PIXELS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no base64!", "base64"),
        ("é", "base64"),
        ("\x00", "base64"),
        (in_base64(SEVEN)[:-3], "base64"),
        ("data:image/png;base64", "not a picture"),
        ("data:image/png,%89PNG", "base64"),
        ("", "not a picture"),
        (in_base64(b"hello"), "not a picture"),
        (in_base64(SEVEN[:100]), "cannot be decoded"),
    ],
)
def test_a_text_that_is_no_picture_is_refused_and_its_place_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidImage, match=r"^images\[1\]: ") as caught:
        in_json(ROWS, text)
    assert reason in str(caught.value)


def test_a_picture_in_base64_that_is_too_large_is_told_to_be_so() -> None:
    with pytest.raises(ImageTooLarge, match=r"^images\[0\]: .*120×160"):
        json_body(json.dumps({"images": [in_base64(SEVEN)]}).encode(), 120 * 160 - 1)


def test_many_large_pictures_in_one_request_are_refused_before_they_fill_the_memory() -> None:
    pixels = 120 * 160
    with pytest.raises(ImageTooLarge, match=r"^file part 4: "):
        pictures([SEVEN] * 5, pixels)
    with pytest.raises(ImageTooLarge, match=r"^images\[4\]: "):
        json_body(json.dumps({"images": [in_base64(SEVEN)] * 5}).encode(), pixels)
    assert len(pictures([SEVEN] * 4, pixels)) == 4


# Whatever is sent


def is_taken_or_refused(decoder: Callable[[bytes, int], Pixels], data: bytes) -> None:
    try:
        pixels = decoder(data, 10_000)
    except InvalidInput:
        return
    assert pixels.shape[1:] == (28, 28)
    assert pixels.dtype in (np.uint8, np.float32)
    assert 0 <= pixels.min() <= pixels.max() <= 255


@given(st.binary(max_size=200))
@example(b'{"images": ["\\ud800"]}')
def test_any_bytes_are_json_of_images_or_refused(body: bytes) -> None:
    is_taken_or_refused(numbers_in, body)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner))
repeated = st.lists(values, min_size=1, max_size=4).map(lambda few: (few * 784)[:784])


@given(st.lists(values | repeated, min_size=1, max_size=3))
def test_any_json_values_are_images_or_refused(images: list[Any]) -> None:
    is_taken_or_refused(numbers_in, json.dumps({"images": images}).encode())
