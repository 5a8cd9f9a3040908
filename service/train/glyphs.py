"""Letters, signs and digits drawn as people and printers draw them: strokes warped and inked by chance.

A glyph is a text of strokes, divided by `|`; a stroke is a list of points `xy`, x in 0–8 and y in 0–9 downwards, joined
by lines, or by a smooth curve where it begins with `~`. All that is random comes from the generator that is given.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 64
"""Height and width of a drawn picture, in pixels."""

DIGITS = (
    ("~40 11 04 17 48 77 84 71 40", "~50 12 05 28 58 77 83 60 40 22"),
    ("40 48", "22 40 48", "22 40 48|18 68", "50 38"),
    ("~12 30 60 72 54 18|18 88", "~11 40 72 63 45 18 28 48 78", "~12 30 60 72 54 18 26 37 58 88"),
    ("~11 40 71 63 34|~34 64 86 68 38 07", "10 80|80 43|~43 74 86 58 27 06", "~12 40 71 44 76 48 07"),
    ("50 05 85|60 68", "20 15 75|60 68", "20 14 84|70 68", "60 06 86|62 68", "~10 03 15 54|70 68"),
    ("70 20|20 14|~14 53 76 58 28 07", "70 20 14|~14 43 74 67 38 07", "80 20 23|~23 63 86 58 08"),
    ("~60 23 06 28 58 76 64 34 06", "~50 12 06 38 67 55 25 07", "~30 15 28 58 66 44 16"),
    ("00 80 38", "10 80|~80 54 38", "00 80 38|25 75", "02 00 80 48", "~00 40 80 55 48"),
    ("~44 12 30 60 73 44 16 27 48 68 76 44", "~60 20 12 44 76 58 28 16 44 73 60", "~40 21 44 67 48 27 44 61 40"),
    ("~73 44 22 40 71 73|73 68", "~72 54 23 30 60 72 65 38", "~73 44 13 20 50 72 75 58 18", "~60 22 34 63 60|60 58"),
)
"""Ways to write each digit: what is answered, so that it is not a drawing's style that makes it no digit."""

LETTERS = (
    *("09 40 89|25 65", "09 30 50 89|16 76", "09 09 20 60 89|05 85", "~09 13 40 73 89|05 85", "09 80 89|34 84"),
    *("~82 60 20 03 06 29 69 87", "~71 40 13 07 49 78", "~81 50 11 04 08 49 88", "80 20 02 07 29 89"),
    *(
        "80 00 09 89|04 64",
        "80 00 09 89|04 84",
        "~80 20 12 44|~44 14 07 29 89",
        "00 80|04 84|09 89|00 09",
        "70 10 19 79|14 74",
    ),
    *("80 00 09|04 64", "80 10 19|04 74", "00 80|04 74|00 09", "~80 40 22 29|04 64", "70 10 18|14 54"),
    *("00 09|80 89|04 84", "10 19|70 79|15 74", "00 09|~05 33 64 69", "20 19|80 79|14 75"),
    *("00 09|80 04 89", "00 09|70 05 89", "00 09|80 05|24 89", "10 19|~70 34 15|~15 45 89", "10 19|63 16 69"),
    *("09 00 46 80 89", "09 20 46 60 89", "09 10 49 70 89", "~09 10 46 80 89", "~08 03 23 48|~48 44 63 88"),
    *("09 00 89 80", "09 10 79 80", "~09 11 78 80", "09 03|~04 32 73 89", "08 00 88 80"),
    *("09 00|~00 60 83 65 05", "09 00 70 84 05", "19 10|~10 60 82 64 14", "09 03|~03 42 75 48 07"),
    *("09 00|~00 60 83 65 05|35 89", "09 00 70 84 05|45 89", "19 10|~10 60 82 64 14|~44 66 89", "09 03|~05 33 73"),
    *("00 80|40 49", "00 80|41 39", "00 80|40 49|02 00|80 82", "00 80|30 29", "~00 41 80|50 49", "40 48 68|13 73"),
    *("00 49 80", "10 39 80", "00 38 48 80", "~01 10 49 80"),
    *("00 29 44 69 80", "00 29 42 69 80", "00 19 40 79 80", "~00 18 44 78 80", "~00 08 29 45|~45 69 88 80"),
    *("00 89|80 09", "10 79|80 09", "~00 44 89|80 09", "~00 34 09|~80 54 89", "00 89|80 09|34 54"),
    *("00 44 80|44 49", "00 45 80|45 39", "~00 25 45 80|44 49", "10 43 70|43 49"),
)
"""Ways to write letters that look like no digit, not even in a careless hand: no O I L Z S B G Q D J U."""

SIGNS = (
    # Of other alphabets.
    *("09 00 80 89", "00 40 80|40 49|~00 05 46 85 80", "09 40 89", "09 40 89 09", "00 44 09|80 44 89|40 49"),
    *(
        "00 09 89 80|40 49",
        "00 09 80 89",
        "00 09|04 24|~50 24 59 84 50",
        "40 49|~40 04 47 84 40",
        "89 80|~80 20 03 25 85|45 09",
    ),
    *("04 84|40 43 09|43 89", "03 83|40 49|42 07|42 87", "00 80|40 49|09 89|00 09", "00 80|04 84|09 89|40 49"),
    *("00 09 89 80 00|40 49|04 84", "02 82|30 27 09|50 57 89", "20 03|22 29|40 84|53 59", "04 34|20 29|50 59|50 84"),
    # Of none.
    *("40 49|04 84", "03 83|06 86", "20 29|60 69|03 83|06 86", "05 39 80", "04 84|51 84 57", "40 49|04 84|11 78|71 18"),
    *(
        "40 68 03 83 28 40",
        "~42 20 02 05 49 86 82 60 42",
        "~02 20 44 68 86",
        "~02 20 64 82 |~06 24 68 86",
        "~15 42 75",
        "04 84",
    ),
    *("~40 04 48 84 40|22 23|62 63|~26 47 66", "~44 54 45 34 43 62 65 37 13 21 60 83", "40 04 09 89 84 40|39 36 56 59"),
    *(
        "~40 31 40|40 46|03 83|46 19|46 79",
        "~20 02 24 42 20|~65 47 69 87 65|80 09",
        "~12 30 61 43 45|48 49",
        "40 46|48 49",
    ),
    *("~80 50 45 04 45 49 89", "00 09|30 39|60 69", "~81 40 12 66 48 07|40 49", "00 89|04 49|40 85"),
)
"""Other ways to write no digit."""

PRINTED = "ACEFHKMNPRTVWXYACEFHKMNPRTVWXYÄÉÑacefhkmnrtvwx#%*+=@"
"""The same, for the font that comes with Pillow."""


def handwritten(glyph: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A glyph in a hand of its own: slanted, turned, bent, with a pen, a broad nib, or a printer's feet at its ends.

    Returns:
        `(64, 64)`, light on black.
    """
    strokes = [_points(stroke) for stroke in glyph.split("|")]
    if rng.random() < 0.3:
        strokes += _feet(strokes, rng)
    bend = rng.normal(0, 0.035, (2, 2, 2))
    frame = _frame(rng)
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    pen = int(rng.integers(2, 9))
    nib = rng.uniform(0, 5) if rng.random() < 0.3 else 0.0
    angle = rng.uniform(0, np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    if nib:
        pen = max(1, pen // 2)
    for stroke in strokes:
        place = (_bent(stroke, bend) + rng.normal(0, 0.02, 2)) @ frame.T + SIDE / 2
        for offset in np.linspace(-nib, nib, 1 + 2 * round(nib)):
            line = np.round((place + offset * direction) * 16).astype(np.int32)
            cv2.polylines(canvas, [line], isClosed=False, color=255, thickness=pen, lineType=cv2.LINE_AA, shift=4)
    return canvas


def printed(letter: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A letter of Pillow's own font, slanted and turned a little, bolder or not: `(64, 64)`, light on black."""
    picture = Image.new("L", (SIDE, SIDE))
    font = ImageFont.load_default(size=int(rng.integers(28, 48)))
    ImageDraw.Draw(picture).text(
        (SIDE / 2, SIDE / 2), letter, fill=255, font=font, anchor="mm", stroke_width=int(rng.integers(0, 3))
    )
    frame = _frame(rng) / 36
    centre = np.full(2, SIDE / 2)
    matrix = np.column_stack([frame, centre - frame @ centre])
    return np.asarray(cv2.warpAffine(np.asarray(picture), matrix, (SIDE, SIDE)), np.uint8)


def _points(stroke: str) -> NDArray[np.float64]:
    """A stroke's points, `(n, 2)` in -0.5–0.5; a curve's close together."""
    stroke = stroke.strip()
    grid = [[int(point[0]), int(point[1])] for point in stroke.removeprefix("~").split()]
    points = np.array(grid, np.float64) / (8, 9) - 0.5
    if stroke.startswith("~"):
        for _ in range(3):
            points = _smoothed(points)
    return points


def _smoothed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Chaikin's corner cutting (1974); the ends stay."""
    before, after = points[:-1], points[1:]
    cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
    return np.concatenate([points[:1], cut[1:-1], points[-1:]])


def _bent(stroke: NDArray[np.float64], bend: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line of the stroke every few pixels, all moved along one random wave."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
    dense = np.linspace(0, lengths[-1], max(2, round(lengths[-1] * 12)))
    points = np.stack([np.interp(dense, lengths, axis) for axis in stroke.T], axis=1)
    waves = np.sin(points @ (bend[0] * 60) + bend[1].sum() * 60) * np.abs(bend[1, 0])
    moved: NDArray[np.float64] = points + waves
    return moved


def _feet(strokes: list[NDArray[np.float64]], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """A printer's feet: short lines across both ends of each stroke, level or upright."""
    length = rng.uniform(0.06, 0.14)
    feet = []
    for end, before in ((line[place], line[inner]) for line in strokes for place, inner in ((0, 1), (-1, -2))):
        across, down = np.abs(end - before)
        half = np.array([length, 0.0]) if down >= across else np.array([0.0, length])
        feet.append(np.stack([end - half, end + half]))
    return feet


def _frame(rng: np.random.Generator) -> NDArray[np.float64]:
    """A turn by up to 12°, a slant, and another height and width: a matrix `(2, 2)` from the unit square to pixels."""
    turn = rng.uniform(-0.2, 0.2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    slant = np.array([[1.0, rng.normal(0, 0.15)], [0.0, 1.0]])
    size = np.diag([rng.uniform(22, 40), rng.uniform(30, 42)])
    frame: NDArray[np.float64] = rotation @ slant @ size
    return frame
