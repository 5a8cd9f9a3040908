"""Pictures of digits become what MNIST's makers would have made of them, wherever and however they were drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from service.inference.preprocess import BOX, SIDE, to_mnist

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


def drawing(
    digit: int, size: int = 200, canvas: tuple[int, int] = (300, 300), at: tuple[int, int] = (50, 50)
) -> Image.Image:
    """Black on white: a digit of `size` pixels, its upper left corner at `at`."""
    picture = Image.new("L", canvas, 255)
    pen = ImageDraw.Draw(picture)
    for line in STROKES[digit]:
        points = [(at[0] + x * size, at[1] + y * size) for x, y in line]
        pen.line(points, fill=0, width=size // 10, joint="curve")
    return picture


def apart(one: Pixels, other: Pixels) -> float:
    """Mean difference of a pixel. Digits are placed on whole pixels, so rounding may move one of them by one."""
    shifted = [np.roll(other, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return float(min(np.abs(one.astype(int) - other).mean() for other in shifted))


def extent(pixels: Pixels) -> tuple[int, int]:
    """Height and width of what is not black."""
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


every_digit = pytest.mark.parametrize("digit", STROKES)


def test_different_digits_are_far_apart() -> None:
    made = {digit: to_mnist(drawing(digit)) for digit in STROKES}
    distances = [apart(made[one], made[other]) for one in made for other in made if one != other]
    assert min(distances) > 4 * NEAR


@every_digit
def test_a_digit_fills_the_box_and_its_mass_is_in_the_middle(digit: int) -> None:
    pixels = to_mnist(drawing(digit))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (SIDE, SIDE))
    assert pixels.max() > 200
    assert max(extent(pixels)) == BOX

    rows, columns = np.indices(pixels.shape)
    middle = (SIDE - 1) / 2
    assert abs(np.average(rows, weights=pixels) - middle) < 1
    assert abs(np.average(columns, weights=pixels) - middle) < 1


@every_digit
def test_strokes_become_light_on_black(digit: int) -> None:
    pixels = to_mnist(drawing(digit))
    assert pixels[0].max() == pixels[:, 0].max() == 0
    assert 0.02 < (pixels > 127).mean() < 0.3


@every_digit
def test_light_on_dark_is_the_same_digit_as_dark_on_light(digit: int) -> None:
    picture = drawing(digit)
    assert apart(to_mnist(picture), to_mnist(ImageOps.invert(picture))) < NEAR


@every_digit
@pytest.mark.parametrize("at", [(15, 15), (80, 20), (15, 70), (85, 85)])
def test_it_does_not_matter_where_on_the_canvas_a_digit_is(digit: int, at: tuple[int, int]) -> None:
    np.testing.assert_array_equal(to_mnist(drawing(digit)), to_mnist(drawing(digit, at=at)))


@every_digit
@pytest.mark.parametrize("size", [60, 100, 400, 900])
def test_it_does_not_matter_how_large_a_digit_is(digit: int, size: int) -> None:
    canvas = (size * 3 // 2, size * 2)
    other = drawing(digit, size, canvas, at=(size // 4, size // 3))
    assert apart(to_mnist(drawing(digit)), to_mnist(other)) < NEAR


@every_digit
def test_faint_strokes_on_grey_paper_become_full_ones(digit: int) -> None:
    picture = drawing(digit)
    faint = picture.point(lambda value: 150 + value * 40 // 255)
    assert apart(to_mnist(picture), to_mnist(faint)) < NEAR


@every_digit
def test_coloured_strokes_count_as_their_brightness(digit: int) -> None:
    picture = drawing(digit)
    coloured = ImageOps.colorize(picture, black="navy", white="lightyellow")
    assert apart(to_mnist(picture), to_mnist(coloured)) < NEAR


@every_digit
def test_transparent_parts_are_paper(digit: int) -> None:
    picture = drawing(digit)
    ink = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    ink.putalpha(ImageOps.invert(picture))
    assert apart(to_mnist(picture), to_mnist(ink)) < NEAR


@every_digit
def test_white_strokes_on_a_transparent_ground_are_seen(digit: int) -> None:
    picture = drawing(digit)
    chalk = Image.new("RGBA", picture.size, (255, 255, 255, 0))
    chalk.putalpha(ImageOps.invert(picture))
    assert apart(to_mnist(picture), to_mnist(chalk)) < NEAR


@every_digit
def test_a_very_large_picture_is_the_same_digit(digit: int) -> None:
    large = drawing(digit).resize((4000, 4000), Image.Resampling.BICUBIC)
    assert apart(to_mnist(drawing(digit)), to_mnist(large)) < NEAR


def test_proportions_are_kept() -> None:
    wide = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(wide).rectangle((50, 100, 249, 149), fill=0)
    assert extent(to_mnist(wide)) == (BOX // 4, BOX)
    assert extent(to_mnist(wide.transpose(Image.Transpose.ROTATE_90))) == (BOX, BOX // 4)


def test_a_digit_of_mnist_s_own_size_is_not_resampled_but_only_moved() -> None:
    made = to_mnist(drawing(7))
    alone = np.zeros((40, 50), np.uint8)
    alone[2:30, 20:48] = made
    np.testing.assert_array_equal(to_mnist(Image.fromarray(alone)), made)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("fill", [0, 1])
def test_a_picture_without_contrast_is_black(mode: str, fill: int) -> None:
    pixels = to_mnist(Image.new(mode, (60, 40), fill))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (SIDE, SIDE))
    assert not pixels.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 2), (28, 28)])
def test_a_single_dot_in_a_picture_of_any_shape_fills_the_box(size: tuple[int, int]) -> None:
    picture = Image.new("L", (size[0] + 2, size[1] + 2), 255)
    picture.paste(0, (1, 1, 2, 2))
    assert extent(to_mnist(picture)) == (BOX, BOX)


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=50)))
def test_whatever_is_in_a_picture_stays_within_the_box(grey: Pixels) -> None:
    pixels = to_mnist(Image.fromarray(grey))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (SIDE, SIDE))
    if grey.min() == grey.max():
        assert not pixels.any()
    else:
        height, width = extent(pixels)
        assert 1 <= height <= BOX
        assert 1 <= width <= BOX


@given(st.integers(0, 255), st.integers(0, 255), st.booleans())
def test_two_greys_are_enough_whichever_is_the_ground(ground: int, stroke: int, sixteen_bits: bool) -> None:
    grey = np.full((60, 60), ground, np.uint16 if sixteen_bits else np.uint8)
    grey[10:50, 25:35] = stroke
    pixels = to_mnist(Image.fromarray(grey))
    assert extent(pixels) == (BOX, BOX // 4) if ground != stroke else not pixels.any()
