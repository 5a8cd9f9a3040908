"""Files of pictures: decoded where they can be, else refused with what is wrong with them, before they take memory."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from service.errors import ImageTooLarge, InvalidImage, InvalidInput
from service.inference.pictures import REQUEST_FACTOR, Budget, from_array, read
from service.inference.preprocess import Normalised, to_mnist
from service.schemas import Polarity, Preprocess

MAX_PIXELS = 1_000_000


def seven() -> Image.Image:
    """Black on white, and nothing about it is symmetric."""
    picture = Image.new("L", (120, 160), "white")
    ImageDraw.Draw(picture).line([(20, 30), (95, 30), (50, 140)], fill="black", width=12)
    return picture


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def found(data: bytes, preprocess: Preprocess = Preprocess.AUTO, max_pixels: int = MAX_PIXELS) -> Normalised:
    return read(data, preprocess, Budget(max_pixels))


def apart(one: Normalised, other: Normalised) -> float:
    """Mean difference of a pixel, of 255. Up to 5 is the work of a lossy format."""
    return float(np.abs(one.pixels.astype(int) - other.pixels).mean())


SEVEN = to_mnist(seven())


# Whatever the file's format


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("preprocess", [Preprocess.AUTO, Preprocess.MNIST])
def test_a_picture_is_the_same_digit_in_every_format(kind: str, preprocess: Preprocess) -> None:
    seen = found(encoded(seven(), kind), preprocess)
    assert apart(seen, SEVEN) < 5
    assert seen.polarity is Polarity.DARK_ON_LIGHT


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_picture_is_the_same_digit_in_every_mode(mode: str) -> None:
    picture = seven()
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    assert apart(found(encoded(picture if mode == "I;16" else picture.convert(mode))), SEVEN) < 5


def test_cmyk_is_read() -> None:
    assert apart(found(encoded(seven().convert("RGB").convert("CMYK"), "JPEG", quality=95)), SEVEN) < 5
    assert apart(found(encoded(seven().convert("RGB").convert("CMYK"), "TIFF")), SEVEN) < 5


def test_a_palette_with_a_transparent_colour_is_read() -> None:
    picture = Image.new("P", (120, 160), 0)
    picture.putpalette([0, 0, 0, 0, 0, 0, 255, 255, 255])
    picture.paste(1, mask=ImageOps.invert(seven()))
    for kind in ("PNG", "GIF"):
        assert apart(found(encoded(picture, kind, transparency=0)), SEVEN) < 5


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_a_camera_s_turned_picture_is_set_upright_and_the_box_with_it(orientation: int, stored: Any) -> None:
    large = seven().resize((1500, 2000))
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = found(encoded(large.transpose(stored), "JPEG", exif=exif), max_pixels=3_000_000)
    assert apart(seen, to_mnist(large)) < 5
    assert seen.box is not None
    assert SEVEN.box is not None
    assert seen.box.left == pytest.approx(SEVEN.box.left * 12.5, abs=20)
    assert seen.box.top == pytest.approx(SEVEN.box.top * 12.5, abs=20)
    assert seen.box.width == pytest.approx(SEVEN.box.width * 12.5, abs=30)


def test_a_phone_s_jpeg_with_a_preview_behind_it_is_its_first_picture() -> None:
    data = encoded(seven(), "MPO", save_all=True, append_images=[Image.new("L", (30, 40))])
    assert apart(found(data), SEVEN) < 5


def test_a_large_jpeg_is_decoded_at_a_smaller_size() -> None:
    data = encoded(seven().convert("RGB").resize((3000, 4000)), "JPEG")
    tracemalloc.start()
    try:
        seen = found(data, max_pixels=12_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert apart(seen, SEVEN) < 8
    assert seen.box is not None
    assert seen.box.height > 2500
    assert peak < 16 * 2**20


# As it is


DIGIT = SEVEN.pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_without_preprocessing_pixels_are_taken_as_they_are(kind: str) -> None:
    seen = found(encoded(Image.fromarray(DIGIT), kind), Preprocess.NONE)
    np.testing.assert_array_equal(seen.pixels, DIGIT)
    assert seen.pixels.dtype == np.uint8
    assert (seen.box, seen.polarity) == (None, None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_without_preprocessing_other_modes_give_their_luminance(mode: str) -> None:
    data = encoded(Image.fromarray(DIGIT).convert(mode))
    np.testing.assert_array_equal(found(data, Preprocess.NONE).pixels, DIGIT)


def test_without_preprocessing_16_bits_keep_their_upper_8() -> None:
    data = encoded(Image.fromarray(DIGIT.astype(np.uint16) * 256 + 255))
    np.testing.assert_array_equal(found(data, Preprocess.NONE).pixels, DIGIT)


def test_without_preprocessing_transparent_parts_are_black_and_cameras_obeyed() -> None:
    white = Image.new("RGB", (28, 28), "white")
    white.putalpha(Image.fromarray(DIGIT))
    np.testing.assert_array_equal(found(encoded(white), Preprocess.NONE).pixels, DIGIT)

    exif = Image.Exif()
    exif[0x0112] = 3
    turned = encoded(Image.fromarray(DIGIT[::-1, ::-1].copy()), exif=exif)
    np.testing.assert_array_equal(found(turned, Preprocess.NONE).pixels, DIGIT)


@pytest.mark.parametrize("size", [(27, 28), (28, 29), (120, 160), (1, 1)])
def test_without_preprocessing_another_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidImage, match=f"{size[0]}×{size[1]}.*28×28"):
        found(encoded(Image.new("L", size)), Preprocess.NONE)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_array_is_brought_into_form_like_a_picture(dtype: type) -> None:
    inverted = (255 - DIGIT).astype(dtype)
    seen = from_array(inverted)
    assert np.abs(seen.pixels.astype(int) - DIGIT).mean() < 1
    assert seen.polarity is Polarity.DARK_ON_LIGHT
    assert from_array(np.zeros((28, 28), dtype)).box is None


# Refused


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_what_moves_or_has_pages_is_refused(kind: str) -> None:
    first, *rest = [Image.new("L", (40, 40), 80 * number) for number in range(3)]
    with pytest.raises(InvalidImage, match="animated or has several pages"):
        found(encoded(first, kind, save_all=True, append_images=rest))


@pytest.mark.parametrize("data", [b"", b"a text", b"%PDF-1.7\n", encoded(seven(), "ICO"), encoded(seven())[:8]])
def test_what_is_no_picture_of_a_known_format_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImage, match=r"not a picture of a known format \(PNG, JPEG"):
        found(data)


@pytest.mark.parametrize("preprocess", Preprocess)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG"])
def test_a_truncated_picture_is_refused(kind: str, preprocess: Preprocess) -> None:
    data = encoded(Image.fromarray(DIGIT), kind)
    with pytest.raises(InvalidImage):
        found(data[: len(data) // 2], preprocess)


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file of 1 bit a pixel with these (compressed) pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("preprocess", Preprocess)
@pytest.mark.parametrize("side", [1_008, 10_000, 100_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side: int, preprocess: Preprocess) -> None:
    with pytest.raises(ImageTooLarge, match="1,000,000"):
        found(png(side, side, b"decoding this would fail"), preprocess)


def test_a_large_jpeg_counts_with_all_its_pixels_although_fewer_are_decoded() -> None:
    with pytest.raises(ImageTooLarge, match="2000×1000"):
        found(encoded(Image.new("L", (2000, 1000)), "JPEG"))


def test_the_pictures_of_a_request_share_a_budget() -> None:
    budget = Budget(120 * 160)
    for _ in range(REQUEST_FACTOR):
        read(encoded(seven()), Preprocess.AUTO, budget)
    with pytest.raises(ImageTooLarge, match="one by one"):
        read(encoded(seven()), Preprocess.AUTO, budget)


# Whatever is sent


def is_taken_or_refused(data: bytes, preprocess: Preprocess) -> None:
    try:
        seen = found(data, preprocess, 10_000)
    except InvalidInput:
        return
    assert (seen.pixels.shape, seen.pixels.dtype) == ((28, 28), np.uint8)


@given(st.binary(max_size=200), st.sampled_from(Preprocess))
def test_any_bytes_are_a_picture_or_refused(data: bytes, preprocess: Preprocess) -> None:
    is_taken_or_refused(data, preprocess)


SMALL = Image.fromarray(DIGIT)
FILES = [encoded(SMALL, kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "MPO")]
FILES += [encoded(SMALL.convert(mode)) for mode in ("1", "P", "LA", "RGBA")]
FILES += [encoded(SMALL.convert("CMYK"), "JPEG"), encoded(Image.fromarray(DIGIT.astype(np.uint16) * 257))]


@given(st.data(), st.sampled_from(FILES), st.sampled_from(Preprocess))
def test_a_picture_with_any_damage_is_a_picture_or_refused(
    data: st.DataObject, file: bytes, preprocess: Preprocess
) -> None:
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 5), "damages")):
        damaged[data.draw(st.integers(0, len(file) - 1), "place")] = data.draw(st.integers(0, 255), "byte")
    is_taken_or_refused(bytes(damaged[: data.draw(st.integers(0, len(file)), "length") or None]), preprocess)
