"""Pictures of digits become what MNIST's makers would have made of them, wherever and however they were drawn."""

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.random import default_rng
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from service.inference.preprocess import BOX, SIDE, to_mnist
from service.schemas import Box, Polarity

Pixels = NDArray[np.uint8]

STROKES = {
    0: [[(0.5, 0.0), (0.1, 0.3), (0.1, 0.7), (0.5, 1.0), (0.9, 0.7), (0.9, 0.3), (0.5, 0.0)]],
    1: [[(0.5, 0.0), (0.5, 1.0)]],
    2: [[(0.1, 0.25), (0.3, 0.02), (0.75, 0.02), (0.9, 0.25), (0.1, 0.95), (0.95, 0.95)]],
    4: [[(0.6, 0.0), (0.05, 0.65), (0.95, 0.65)], [(0.7, 0.35), (0.7, 1.0)]],
    7: [[(0.1, 0.05), (0.9, 0.05), (0.4, 1.0)]],
}
"""Digits as lines in a square of side 1."""

NEAR = 4.0
"""Mean difference of a pixel, of 255, up to which two pictures count as the same."""

ALIKE = 14.0
"""The same where noise, dirt or a lossy format came between. Different digits are farther apart."""


def drawing(
    digit: int, size: int = 200, canvas: tuple[int, int] = (300, 300), at: tuple[int, int] = (50, 50), pen: float = 0.1
) -> Image.Image:
    """Black on white: a digit of `size` pixels, its upper left corner at `at`, its strokes `pen` of the size wide."""
    picture = Image.new("L", canvas, 255)
    draw = ImageDraw.Draw(picture)
    for line in STROKES[digit]:
        points = [(at[0] + x * size, at[1] + y * size) for x, y in line]
        draw.line(points, fill=0, width=max(1, round(size * pen)), joint="curve")
    return picture


def seen(picture: Image.Image) -> Pixels:
    return to_mnist(picture).pixels


def apart(one: Pixels, other: Pixels) -> float:
    """Mean difference of a pixel of 2×2. Digits are placed on whole pixels, so rounding may move one of them by one."""
    one, other = halved(one), halved(other)
    shifted = [np.roll(other, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return float(min(np.abs(one - other).mean() for other in shifted))


def halved(pixels: Pixels) -> NDArray[np.float64]:
    """The mean of each pixel and its neighbours to the right and below."""
    wide = pixels.astype(np.float64)
    return (wide[:-1, :-1] + wide[1:, :-1] + wide[:-1, 1:] + wide[1:, 1:]) / 4


def extent(pixels: Pixels) -> tuple[int, int]:
    """Height and width of what is not black."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def levels(picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(picture.convert("L"), np.float64)


def pictured(grey: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))


def compressed(picture: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality)
    return Image.open(data)


every_digit = pytest.mark.parametrize("digit", STROKES)


# MNIST's form


def test_different_digits_are_far_apart() -> None:
    made = {digit: seen(drawing(digit)) for digit in STROKES}
    distances = [apart(made[one], made[other]) for one in made for other in made if one != other]
    assert min(distances) > 1.3 * ALIKE


@every_digit
def test_a_digit_fills_the_box_and_its_mass_is_in_the_middle(digit: int) -> None:
    pixels = seen(drawing(digit))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (SIDE, SIDE))
    assert pixels.max() > 200
    assert max(extent(pixels)) == BOX

    rows, columns = np.indices(pixels.shape)
    assert 13.4 < np.average(rows, weights=pixels) < 14.6
    assert 13.4 < np.average(columns, weights=pixels) < 14.6


@every_digit
def test_strokes_become_light_on_black(digit: int) -> None:
    pixels = seen(drawing(digit))
    assert pixels[0].max() == pixels[:, 0].max() == 0
    assert 0.02 < (pixels > 127).mean() < 0.3


def test_proportions_are_kept() -> None:
    wide = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(wide).rectangle((50, 120, 249, 159), fill=0)
    assert extent(seen(wide)) == (BOX // 5, BOX)
    assert extent(seen(wide.transpose(Image.Transpose.ROTATE_90))) == (BOX, BOX // 5)


def test_the_box_is_where_the_digit_is_in_the_picture() -> None:
    found = to_mnist(drawing(7, size=100, canvas=(400, 300), at=(250, 120), pen=0.08))
    assert found.box is not None
    box = found.box
    assert (box.left, box.top) == (pytest.approx(258, abs=6), pytest.approx(121, abs=6))
    assert (box.width, box.height) == (pytest.approx(86, abs=8), pytest.approx(100, abs=8))


def test_the_box_counts_the_upright_picture_s_own_pixels() -> None:
    large = drawing(1, size=1000, canvas=(3000, 2000), at=(100, 500))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    large.transpose(Image.Transpose.ROTATE_90).save(data, "PNG", exif=exif)
    with Image.open(data) as turned:
        found = to_mnist(turned)
    assert found.box is not None
    assert found.box.left == pytest.approx(550, abs=15)
    assert found.box.height == pytest.approx(1000, abs=30)


def test_mnist_s_digits_as_pictures_stay_what_they_are(datasets_dir: Path) -> None:
    with np.load(datasets_dir / "mnist.npz") as file:
        digits = file["x_test"][:300]
    differences = np.array([np.abs(seen(Image.fromarray(digit)).astype(int) - digit).mean() for digit in digits])
    assert (differences < 1).mean() > 0.95
    inverted = [np.abs(seen(Image.fromarray(255 - digit)).astype(int) - digit).mean() for digit in digits]
    assert (np.array(inverted) < 1).mean() > 0.95


# The same digit, otherwise


@every_digit
def test_light_on_dark_is_the_same_digit_as_dark_on_light(digit: int) -> None:
    dark, light = to_mnist(drawing(digit)), to_mnist(ImageOps.invert(drawing(digit)))
    assert apart(dark.pixels, light.pixels) < NEAR
    assert (dark.polarity, light.polarity) == (Polarity.DARK_ON_LIGHT, Polarity.LIGHT_ON_DARK)


@every_digit
@pytest.mark.parametrize("at", [(15, 15), (80, 20), (15, 70), (85, 85)])
def test_it_does_not_matter_where_on_the_canvas_a_digit_is(digit: int, at: tuple[int, int]) -> None:
    assert apart(seen(drawing(digit)), seen(drawing(digit, at=at))) < NEAR


@every_digit
@pytest.mark.parametrize("size", [40, 100, 400, 900])
def test_it_does_not_matter_how_large_a_digit_is(digit: int, size: int) -> None:
    other = drawing(digit, size, (size * 3 // 2, size * 2), at=(size // 4, size // 3))
    assert apart(seen(drawing(digit)), seen(other)) < ALIKE


@every_digit
def test_a_very_large_picture_is_the_same_digit(digit: int) -> None:
    large = drawing(digit).resize((4000, 3000), Image.Resampling.NEAREST)
    like = drawing(digit).resize((400, 300), Image.Resampling.NEAREST)
    assert apart(seen(like), seen(large)) < NEAR


WAYS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "faint": lambda picture: picture.point(lambda level: 150 + level * 40 // 255),
    "coloured": lambda picture: ImageOps.colorize(picture, "navy", "lightyellow"),
    "equally light colours": lambda picture: ImageOps.colorize(picture, (220, 60, 60), (40, 140, 60)),
    "small": lambda picture: picture.resize((32, 32), Image.Resampling.BICUBIC),
    "JPEG of low quality": lambda picture: compressed(picture, 20),
    "turned a little": lambda picture: picture.rotate(3, Image.Resampling.BICUBIC, fillcolor=255),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(3)),
    "16 bits": lambda picture: Image.fromarray(np.asarray(picture).astype(np.uint16) * 257),
    "in a palette": lambda picture: picture.quantize(4),
    "CMYK": lambda picture: picture.convert("RGB").convert("CMYK"),
    "black and white": lambda picture: picture.convert("1"),
}


@every_digit
@pytest.mark.parametrize("way", WAYS)
def test_a_digit_is_the_same_whatever_its_picture_is_like(digit: int, way: str) -> None:
    assert apart(seen(drawing(digit)), seen(WAYS[way](drawing(digit)))) < ALIKE


@every_digit
@pytest.mark.parametrize("ink", ["black", "white", "red"])
@pytest.mark.parametrize("beneath", ["black", "white"])
def test_transparent_parts_are_the_ground_whatever_is_beneath_them(digit: int, ink: str, beneath: str) -> None:
    alpha = ImageOps.invert(drawing(digit))
    layer = Image.new("RGB", alpha.size, beneath)
    layer.paste(ink, mask=alpha.point(lambda level: 255 * (level > 0)))
    layer.putalpha(alpha)
    assert apart(seen(drawing(digit)), seen(layer)) < NEAR


def test_a_picture_that_is_opaque_almost_everywhere_keeps_its_own_ground() -> None:
    alpha = Image.new("L", (300, 300))
    ImageDraw.Draw(alpha).rounded_rectangle((10, 10, 289, 289), 20, fill=255)
    for picture in (drawing(4), ImageOps.invert(drawing(4))):
        sticker = picture.convert("RGB")
        sticker.putalpha(alpha)
        assert apart(seen(drawing(4)), seen(sticker)) < NEAR


# What it is drawn with, and on


@every_digit
@pytest.mark.parametrize("pen", [0.002, 0.004, 0.01])
def test_a_thin_line_on_a_large_canvas_is_thickened(digit: int, pen: float) -> None:
    thin = seen(drawing(digit, size=600, canvas=(1000, 1000), at=(200, 150), pen=pen))
    assert apart(seen(drawing(digit)), thin) < ALIKE
    assert thin.max() > 240


def test_a_thick_marker_is_thinned() -> None:
    thick = drawing(7, size=200, canvas=(400, 400), at=(90, 90), pen=0.45)
    cropped = ImageOps.invert(thick).crop(ImageOps.invert(thick).getbbox())
    assert (seen(thick) > 127).mean() * SIDE**2 / BOX**2 < 0.75 * (np.asarray(cropped) > 127).mean()


@every_digit
def test_uneven_light_and_noise_are_taken_away(digit: int) -> None:
    rows, columns = np.mgrid[0:1:300j, 0:1:300j]
    light = (1 - 0.5 * columns) * np.where(rows + columns < 0.6, 0.7, 1)
    noise = default_rng(digit).normal(0, 4, light.shape)
    photo = pictured((40 + 0.75 * levels(drawing(digit))) * light + noise)
    assert apart(seen(drawing(digit)), seen(photo)) < ALIKE


@every_digit
def test_specks_are_dropped(digit: int) -> None:
    rng = default_rng(digit)
    dirty = levels(drawing(digit))
    dirty[rng.random(dirty.shape) < 0.003] = 0
    dirty[rng.random(dirty.shape) < 0.003] = 255
    assert apart(seen(drawing(digit)), seen(pictured(dirty))) < ALIKE


@every_digit
@pytest.mark.parametrize("inset", [0, 8])
def test_the_lines_of_a_form_s_cell_are_dropped(digit: int, inset: int) -> None:
    cell = drawing(digit)
    ImageDraw.Draw(cell).rectangle((inset, inset, 299 - inset, 299 - inset), outline=0, width=5)
    assert apart(seen(drawing(digit)), seen(cell)) < NEAR


# Not a straight 1: nothing of the ground is left around it.
@pytest.mark.parametrize("digit", sorted(STROKES.keys() - {1}))
@pytest.mark.parametrize("margin", [0, 3])
@pytest.mark.parametrize("invert", [False, True])
def test_a_digit_that_is_cut_out_along_its_strokes_is_the_same(digit: int, margin: int, invert: bool) -> None:
    whole = drawing(digit)
    left, top, right, bottom = ImageOps.invert(whole).getbbox() or whole.getbbox()
    cut = whole.crop((left - margin, top - margin, right + margin, bottom + margin))
    found = to_mnist(ImageOps.invert(cut) if invert else cut)
    assert apart(seen(whole), found.pixels) < NEAR
    assert found.box is not None
    within(found.box, cut.size)


@every_digit
def test_squared_paper_is_dropped(digit: int) -> None:
    paper = drawing(digit)
    lines = Image.new("L", paper.size, 255)
    pen = ImageDraw.Draw(lines)
    for place in range(12, 300, 30):
        pen.line([(place, 0), (place, 299)], fill=180)
        pen.line([(0, place), (299, place)], fill=180)
    squared = pictured(np.minimum(levels(paper), levels(lines)))
    assert apart(seen(drawing(digit)), seen(squared)) < ALIKE


def test_a_digit_in_two_parts_stays_whole() -> None:
    parted = drawing(4)
    ImageDraw.Draw(parted).rectangle((50, 128, 299, 140), fill=255)
    assert apart(seen(drawing(4)), seen(parted)) < ALIKE
    height, width = extent(seen(parted))
    assert (height, width) == extent(seen(drawing(4)))


# What is no digit


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("fill", [0, 1])
def test_a_picture_without_contrast_is_blank(mode: str, fill: int) -> None:
    found = to_mnist(Image.new(mode, (60, 40), fill))
    assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, (SIDE, SIDE))
    assert not found.pixels.any()
    assert found.box is None
    assert found.polarity is None


@pytest.mark.parametrize("size", [(64, 48), (100, 60), (640, 480)])
@pytest.mark.parametrize("noise", [1, 5, 12])
@pytest.mark.parametrize("seed", range(5))
def test_empty_paper_is_blank_however_noisy_and_unevenly_lit(size: tuple[int, int], noise: int, seed: int) -> None:
    rows, columns = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    vignette = 200 * (1 - 0.2 * (rows**2 + columns**2) + 0.1 * columns)
    paper = pictured(vignette + default_rng(seed).normal(0, noise, vignette.shape))
    assert to_mnist(paper).box is None


def test_a_speck_on_a_large_sheet_is_blank() -> None:
    sheet = Image.new("L", (800, 600), 250)
    sheet.paste(0, (400, 300, 403, 303))
    assert to_mnist(sheet).box is None


def test_two_digits_stay_two() -> None:
    both = drawing(2, size=150, canvas=(500, 250), at=(50, 50))
    both.paste(drawing(7, size=150, canvas=(200, 200), at=(20, 20)), (280, 30))
    assert extent(seen(both))[0] <= BOX // 2


# Anything at all


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=30)))
@settings(max_examples=60)
def test_whatever_is_in_a_picture_stays_within_the_box(grey: Pixels) -> None:
    found = to_mnist(Image.fromarray(grey))
    assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, (SIDE, SIDE))
    assert found.pixels.any() == (found.box is not None) == (found.polarity is not None)
    if found.box is not None:
        assert max(extent(found.pixels)) <= BOX
        within(found.box, (grey.shape[1], grey.shape[0]))


def within(box: Box, size: tuple[int, int]) -> None:
    assert box.width > 0
    assert box.height > 0
    assert 0 <= box.left <= box.left + box.width <= size[0]
    assert 0 <= box.top <= box.top + box.height <= size[1]


@given(
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I", "F", "PA"]),
    st.integers(1, 1500),
    st.integers(1, 40),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_any_mode_and_shape_is_taken(mode: str, long: int, short: int, wide: bool, random: object) -> None:
    size = (long, short) if wide else (short, long)
    blank = Image.new(mode, size)
    noise = default_rng(long * short).integers(0, 256, len(blank.tobytes()), np.uint8).tobytes()
    picture = Image.frombytes(mode, size, noise)
    found = to_mnist(picture)
    assert (found.pixels.dtype, found.pixels.shape) == (np.uint8, (SIDE, SIDE))
    if found.box is not None:
        within(found.box, size)


@given(st.integers(0, 255), st.integers(0, 255), st.booleans())
def test_two_greys_are_enough_whichever_is_the_ground(ground: int, stroke: int, sixteen_bits: bool) -> None:
    grey = np.full((60, 60), ground, np.uint16 if sixteen_bits else np.uint8)
    grey[10:50, 25:33] = stroke
    found = to_mnist(Image.fromarray(grey))
    if ground == stroke:
        assert found.box is None
    elif abs(ground - stroke) > 8 or sixteen_bits:
        assert found.box is not None
        assert extent(found.pixels) == (BOX, BOX // 5)


@given(st.sampled_from(sorted(STROKES)), st.integers(80, 400), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=40)
def test_size_and_place_hardly_matter(digit: int, size: int, right: int, down: int) -> None:
    picture = drawing(digit, size, (size + 240, size + 240), at=(20 + right, 20 + down))
    assert apart(seen(drawing(digit)), seen(picture)) < ALIKE


def test_the_same_picture_always_gives_the_same_pixels() -> None:
    picture = drawing(2)
    np.testing.assert_array_equal(seen(picture), seen(picture.copy()))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
def test_a_large_picture_takes_little_memory_besides_its_own(mode: str) -> None:
    picture = Image.new(mode, (4000, 3000))
    tracemalloc.start()
    try:
        to_mnist(picture)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80 * 2**20
