"""Pictures of digits as people make them, generated: pens, markers, photos of paper, scans, forms, boards.

Every function takes a random generator; the same seed makes the same pictures. Digits come as ink, `(n, n)` float32
from 0 (ground) to 1 (stroke): drawn from templates in several styles of writing and warped, taken from MNIST, or from a
font.
"""

import io
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Ink = NDArray[np.float32]
Points = list[tuple[float, float]]

STYLES: dict[int, list[list[Points]]] = {
    0: [
        [
            [
                (0.5, 0.0),
                (0.2, 0.15),
                (0.1, 0.5),
                (0.2, 0.85),
                (0.5, 1.0),
                (0.8, 0.85),
                (0.9, 0.5),
                (0.8, 0.15),
                (0.5, 0),
            ]
        ],
        [
            [
                (0.6, 0.02),
                (0.3, 0.1),
                (0.2, 0.5),
                (0.3, 0.9),
                (0.55, 1),
                (0.75, 0.8),
                (0.8, 0.4),
                (0.7, 0.1),
                (0.5, 0.05),
            ]
        ],
    ],
    1: [
        [[(0.5, 0.0), (0.5, 0.5), (0.5, 1.0)]],
        [[(0.3, 0.25), (0.45, 0.12), (0.55, 0.0)], [(0.55, 0.0), (0.55, 0.5), (0.55, 1.0)]],
        [[(0.6, 0.0), (0.52, 0.5), (0.42, 1.0)]],
    ],
    2: [
        [
            [(0.15, 0.25), (0.3, 0.05), (0.6, 0.0), (0.85, 0.2), (0.7, 0.5), (0.1, 1.0)],
            [(0.1, 1.0), (0.5, 1.0), (0.9, 0.98)],
        ],
        [
            [
                (0.15, 0.2),
                (0.4, 0.02),
                (0.75, 0.1),
                (0.75, 0.4),
                (0.45, 0.75),
                (0.2, 0.95),
                (0.15, 0.85),
                (0.35, 0.82),
                (0.6, 0.95),
                (0.9, 0.9),
            ]
        ],
    ],
    3: [
        [
            [(0.15, 0.12), (0.45, 0.0), (0.75, 0.12), (0.7, 0.35), (0.4, 0.47)],
            [(0.4, 0.47), (0.75, 0.55), (0.85, 0.75), (0.6, 0.97), (0.3, 0.98), (0.1, 0.85)],
        ],
        [
            [(0.15, 0.02), (0.45, 0.02), (0.8, 0.02)],
            [(0.8, 0.02), (0.6, 0.2), (0.42, 0.4)],
            [(0.42, 0.4), (0.75, 0.48), (0.85, 0.7), (0.6, 0.97), (0.3, 0.98), (0.1, 0.85)],
        ],
    ],
    4: [
        [
            [(0.6, 0.0), (0.35, 0.35), (0.05, 0.68)],
            [(0.05, 0.68), (0.5, 0.67), (0.95, 0.66)],
            [(0.7, 0.3), (0.7, 0.7), (0.7, 1)],
        ],
        [
            [(0.2, 0.0), (0.15, 0.25), (0.12, 0.5)],
            [(0.12, 0.5), (0.45, 0.52), (0.85, 0.5)],
            [(0.75, 0), (0.73, 0.5), (0.7, 1)],
        ],
    ],
    5: [
        [
            [(0.85, 0.02), (0.5, 0.02), (0.25, 0.03)],
            [(0.25, 0.03), (0.22, 0.2), (0.2, 0.42)],
            [(0.2, 0.42), (0.5, 0.37), (0.8, 0.5), (0.82, 0.8), (0.5, 1.0), (0.12, 0.9)],
        ],
        [
            [(0.3, 0.05), (0.27, 0.25), (0.24, 0.45)],
            [(0.24, 0.45), (0.55, 0.38), (0.82, 0.6), (0.7, 0.92), (0.4, 1.0), (0.12, 0.88)],
            [(0.35, 0.0), (0.6, 0.02), (0.88, 0.0)],
        ],
    ],
    6: [
        [
            [
                (0.7, 0.0),
                (0.4, 0.2),
                (0.2, 0.5),
                (0.18, 0.8),
                (0.45, 1.0),
                (0.75, 0.88),
                (0.78, 0.65),
                (0.5, 0.52),
                (0.25, 0.62),
                (0.18, 0.78),
            ]
        ],
        [
            [
                (0.45, 0.0),
                (0.28, 0.3),
                (0.18, 0.7),
                (0.3, 0.97),
                (0.6, 1.0),
                (0.8, 0.8),
                (0.65, 0.58),
                (0.35, 0.6),
                (0.2, 0.75),
            ]
        ],
    ],
    7: [
        [[(0.1, 0.03), (0.5, 0.03), (0.9, 0.03)], [(0.9, 0.03), (0.65, 0.5), (0.4, 1.0)]],
        [
            [(0.12, 0.05), (0.5, 0.03), (0.88, 0.02)],
            [(0.88, 0.02), (0.6, 0.5), (0.45, 1)],
            [(0.4, 0.5), (0.6, 0.48), (0.85, 0.5)],
        ],
    ],
    8: [
        [
            [
                (0.75, 0.12),
                (0.5, 0.0),
                (0.25, 0.12),
                (0.3, 0.35),
                (0.5, 0.46),
                (0.75, 0.62),
                (0.8, 0.85),
                (0.5, 1.0),
                (0.2, 0.85),
                (0.25, 0.62),
                (0.5, 0.46),
                (0.72, 0.3),
                (0.75, 0.12),
            ]
        ],
        [
            [(0.5, 0.0), (0.28, 0.1), (0.28, 0.35), (0.5, 0.45), (0.72, 0.35), (0.72, 0.1), (0.5, 0.0)],
            [(0.5, 0.45), (0.2, 0.6), (0.2, 0.88), (0.5, 1.0), (0.8, 0.88), (0.8, 0.6), (0.5, 0.45)],
        ],
    ],
    9: [
        [
            [(0.8, 0.2), (0.55, 0.0), (0.25, 0.1), (0.2, 0.35), (0.45, 0.48), (0.75, 0.35), (0.8, 0.15)],
            [(0.8, 0.15), (0.78, 0.55), (0.72, 1.0)],
        ],
        [
            [(0.78, 0.15), (0.5, 0.0), (0.2, 0.2), (0.35, 0.45), (0.65, 0.4), (0.78, 0.15)],
            [(0.78, 0.15), (0.75, 0.6), (0.6, 0.92), (0.3, 0.97)],
        ],
    ],
}
"""Strokes of each digit in several styles, through these points of a square of side 1 (x to the right, y down)."""

FONTS = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSansMono.ttf",
    "LiberationSans-Regular.ttf",
    "LiberationSerif-Regular.ttf",
    "LiberationSerif-Italic.ttf",
    "LiberationMono-Regular.ttf",
)


def written(rng: Generator, digit: int, side: int, width: float) -> Ink:
    """A digit from a template, `side` pixels high, its stroke this part of it wide, with a margin of a tenth around."""
    style = STYLES[digit][rng.integers(len(STYLES[digit]))]
    turn, slant, narrow = rng.uniform(-0.12, 0.12), rng.uniform(-0.1, 0.25), rng.uniform(0.6, 0.9)
    cos, sin = np.cos(turn), np.sin(turn)
    pen = max(1.0, width * side)
    warp = np.array([[cos, -sin], [sin, cos]]) @ np.array([[narrow, -slant], [0, 1]])
    strokes = []
    shift: dict[tuple[float, float], NDArray[np.float64]] = {}
    for stroke in style:
        for point in stroke:
            shift.setdefault(point, rng.normal(0, 0.02, 2))
        strokes.append(_smooth(np.array([np.array(point) - 0.5 + shift[point] for point in stroke])) @ warp.T)
    every = np.concatenate(strokes)
    low, extent = every.min(axis=0), np.ptp(every, axis=0).max()
    margin = side // 10
    size = side + 2 * margin
    canvas = np.zeros((size, size), np.uint8)
    for stroke in strokes:
        points = (stroke - low) / extent * (side - pen) + margin + pen / 2
        cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False, 255, max(1, round(pen)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A Catmull-Rom curve through the points."""
    if len(points) < 3:
        return points
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    t = np.linspace(0, 1, 16)[:, np.newaxis]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate(pieces)


def enlarged(image: NDArray[np.uint8], side: int) -> Ink:
    """A digit of MNIST at a size of `side` pixels, its edges about as sharp as a pen's."""
    large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 255
    return np.clip((large - 0.5) * max(1.0, side / 56) + 0.5, 0, 1).astype(np.float32)


def printed(digit: int, font: str, side: int) -> Ink:
    """A digit of a system font.

    Raises:
        OSError: there is no such font here.
    """
    canvas = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(canvas).text((side, side), str(digit), 255, ImageFont.truetype(font, side), anchor="mm")
    return np.asarray(canvas, np.float32) / 255


# What it is written on


def placed(rng: Generator, ink: Ink, width: int, height: int) -> Ink:
    """Somewhere on a canvas of this size."""
    canvas = np.zeros((height, width), np.float32)
    rows, columns = ink.shape
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    canvas[top : top + rows, left : left + columns] = ink
    return canvas


def coloured(ink: Ink, pen: tuple[int, int, int], ground: tuple[int, int, int]) -> NDArray[np.float32]:
    """`(height, width, 3)` in 0–255."""
    share = ink[..., np.newaxis]
    return (np.float32(ground) * (1 - share) + np.float32(pen) * share).astype(np.float32)


def light(rng: Generator, height: int, width: int) -> NDArray[np.float32]:
    """Uneven light: a slope, and often a soft-edged shadow across a corner; `(height, width, 1)`, at most 1."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    along = (columns - 0.5) * np.cos(angle) + (rows - 0.5) * np.sin(angle)
    lit = 1 - rng.uniform(0.1, 0.4) * (along + 0.7) / 1.4
    if rng.random() < 0.6:
        soft = rng.uniform(0.02, 0.15)
        lit = lit * (1 - rng.uniform(0.15, 0.4) / (1 + np.exp(-(along - rng.uniform(0, 0.4)) / soft)))
    vignette = 1 - rng.uniform(0, 0.3) * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2) * 2
    return (lit * vignette)[..., np.newaxis].astype(np.float32)


def texture(rng: Generator, height: int, width: int, strength: float) -> NDArray[np.float32]:
    """Fibres and clouds of paper, `(height, width, 1)` around 0 with about this standard deviation."""
    total = np.zeros((height, width), np.float32)
    for grain in (2, 6, 30):
        coarse = rng.normal(0, 1, (height // grain + 2, width // grain + 2)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total * strength / total.std())[..., np.newaxis]


def photographed(rng: Generator, page: NDArray[np.float32]) -> Image.Image:
    """A page as a phone's camera sees it: askew, unevenly lit, blurred a little, noisy, compressed."""
    height, width = page.shape[:2]
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    moved = corners + rng.uniform(-0.06, 0.06, (4, 2)).astype(np.float32) * (width, height)
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    seen = cv2.warpPerspective(page, warp, (width, height), borderMode=cv2.BORDER_REPLICATE)
    seen = (seen + texture(rng, height, width, rng.uniform(1, 5))) * light(rng, height, width)
    seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.5, 1.8)) + rng.normal(0, rng.uniform(1, 6), seen.shape)
    return jpeg(_picture(seen), int(rng.integers(50, 90)))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """Compressed and decoded again."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def _picture(levels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


# Kinds of pictures

Source = Callable[[int, float], Ink]
"""Makes a digit about so many pixels high, its stroke as wide as this part of the height."""

Kind = Callable[[Generator, Source], Image.Image]
Variation = Callable[[Image.Image, Generator], Image.Image]


def pen(rng: Generator, source: Source) -> Image.Image:
    """A pen of 1 to 3 pixels, large canvas."""
    canvas = int(rng.integers(400, 1001))
    side = int(canvas * rng.uniform(0.3, 0.75))
    ink = source(side, rng.integers(1, 4) / side)
    return _picture(255 * (1 - placed(rng, ink, canvas, canvas)))


def marker(rng: Generator, source: Source) -> Image.Image:
    """A thick marker."""
    side = int(rng.integers(120, 300))
    ink = source(side, rng.uniform(0.13, 0.2))
    return _picture(coloured(placed(rng, ink, side * 3 // 2, side * 3 // 2), (30, 30, 40), (250, 250, 250)))


def photo(rng: Generator, source: Source) -> Image.Image:
    """A photo of a digit on paper."""
    side = int(rng.integers(150, 300))
    pen = (int(rng.integers(10, 70)), int(rng.integers(10, 70)), int(rng.integers(20, 120)))
    ink = placed(rng, source(side, rng.uniform(0.02, 0.08)), 640, 480)
    return photographed(rng, coloured(ink, pen, (235, 232, 225)))


def scan(rng: Generator, source: Source) -> Image.Image:
    """A scan: skew, salt and pepper."""
    side = int(rng.integers(80, 200))
    ink = placed(rng, source(side, rng.uniform(0.03, 0.1)), 320, 320)
    turn = cv2.getRotationMatrix2D((160, 160), rng.uniform(-5, 5), 1)
    grey = np.where(cv2.warpAffine(ink, turn, (320, 320)) > 0.5, 0.0, 255.0)
    dirt = rng.random(grey.shape)
    grey[dirt < 0.004] = 0
    grey[dirt > 0.996] = 255
    return _picture(grey)


def cell(rng: Generator, source: Source) -> Image.Image:
    """A form's cell with its lines."""
    side = int(rng.integers(40, 70))
    ink = source(side, rng.uniform(0.05, 0.1))
    extent = ink.shape[0] + int(rng.integers(10, 40))
    canvas = placed(rng, ink, extent, extent)
    canvas = np.pad(canvas, int(rng.integers(2, 5)), constant_values=rng.uniform(0.6, 1))
    canvas = np.pad(canvas, ((0, 0), (0, 0)) if rng.random() < 0.4 else ((0, 9), (6, 0)))
    return jpeg(_picture(245 - 200 * canvas + rng.normal(0, 3, canvas.shape)), 80)


def squared(rng: Generator, source: Source) -> Image.Image:
    """Squared or lined paper."""
    side, extent, step = int(rng.integers(100, 220)), 360, int(rng.integers(22, 45))
    page = coloured(np.zeros((extent, extent), np.float32), (0, 0, 0), (245, 245, 240))
    tint = np.float32([150, 175, 215])
    page[int(rng.integers(step)) :: step] = tint
    if rng.random() < 0.6:
        page[:, int(rng.integers(step)) :: step] = tint
    ink = placed(rng, source(side, rng.uniform(0.03, 0.07)), extent, extent)[..., np.newaxis]
    page = page * (1 - ink) + np.float32([35, 40, 90]) * ink
    return photographed(rng, page) if rng.random() < 0.5 else jpeg(_picture(page), 85)


def pencil(rng: Generator, source: Source) -> Image.Image:
    """A pale, uneven pencil."""
    side = int(rng.integers(120, 260))
    ink = placed(rng, source(side, rng.uniform(0.02, 0.05)), 400, 400)
    uneven = np.clip(0.75 + texture(rng, 400, 400, 0.2)[..., 0], 0.3, 1)
    return _picture(238 - rng.uniform(25, 60) * ink * uneven + rng.normal(0, 2, ink.shape))


def chalk(rng: Generator, source: Source) -> Image.Image:
    """White chalk on a board."""
    side = int(rng.integers(120, 260))
    ink = placed(rng, source(side, rng.uniform(0.05, 0.1)), 400, 400)
    ink = ink * np.clip(0.8 + texture(rng, 400, 400, 0.25)[..., 0], 0.2, 1)
    board = coloured(ink, (235, 235, 225), (40, 80, 60)) + texture(rng, 400, 400, 6)
    return _picture(board * light(rng, 400, 400))


def cut_out(rng: Generator, source: Source) -> Image.Image:
    """A detector's box: no margin at all, dark on light or light on dark."""
    ink = source(int(rng.integers(60, 200)), rng.uniform(0.06, 0.14))
    rows, columns = np.flatnonzero((ink > 0.5).any(axis=1)), np.flatnonzero((ink > 0.5).any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pen, ground = ((30, 30, 40), (240, 240, 235)) if rng.random() < 0.5 else ((235, 235, 225), (30, 50, 45))
    return _picture(coloured(ink, pen, ground) + rng.normal(0, 3, (*ink.shape, 1)))


def desk(rng: Generator, source: Source) -> Image.Image:
    """A page photographed askew with some of the desk, on one to four sides."""
    side = int(rng.integers(110, 240))
    ink = placed(rng, source(side, rng.uniform(0.03, 0.08)), 400, 400)
    pen = (int(rng.integers(10, 70)), int(rng.integers(10, 70)), int(rng.integers(20, 120)))
    page = coloured(ink, pen, (235, 232, 225))
    # Outwards from the page's corners: negative where its side lies outside of the picture.
    shown = rng.permutation(4) < rng.integers(1, 5)
    left, top, right, bottom = np.where(shown, rng.uniform(15, 110, 4), -rng.uniform(5, 40, 4))
    corners = np.float32([[left, top], [480 - right, top], [480 - right, 480 - bottom], [left, 480 - bottom]])
    corners += rng.uniform(-12, 12, (4, 2)).astype(np.float32)
    warp = cv2.getPerspectiveTransform(np.float32([[0, 0], [400, 0], [400, 400], [0, 400]]), corners)
    covered = cv2.warpPerspective(np.ones((400, 400), np.float32), warp, (480, 480))[..., np.newaxis]
    wood = (float(rng.uniform(25, 120)) * np.float32([1.1, 0.9, 0.7])) + texture(rng, 480, 480, rng.uniform(2, 8))
    seen = cv2.warpPerspective(page, warp, (480, 480), borderMode=cv2.BORDER_REPLICATE) * covered + wood * (1 - covered)
    seen = cv2.GaussianBlur(seen * light(rng, 480, 480), (0, 0), rng.uniform(0.5, 1.5))
    return jpeg(_picture(seen + rng.normal(0, rng.uniform(1, 5), seen.shape)), int(rng.integers(50, 90)))


KINDS: tuple[Kind, ...] = (pen, marker, photo, scan, cell, squared, pencil, chalk, cut_out, desk)


# Pictures without a digit


def blank(rng: Generator) -> Image.Image:
    """A sheet of paper with nothing on it: plain, noisy, scanned or photographed."""
    height, width = int(rng.integers(28, 500)), int(rng.integers(28, 500))
    page = np.full((height, width, 3), rng.uniform(20, 255), np.float32)
    match int(rng.integers(4)):
        case 0:
            return _picture(page)
        case 1:
            return _picture(page + rng.normal(0, rng.uniform(1, 12), page.shape))
        case 2:
            return _picture((page + texture(rng, height, width, 3)) * light(rng, height, width))
        case _:
            return photographed(rng, page)


# The same digit, otherwise


def turned(picture: Image.Image, degrees: float) -> Image.Image:
    """Rotated about its middle; what comes in from outside has the colour of the corner."""
    grey = picture.convert("L")
    return grey.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=grey.getpixel((0, 0)))


def transparent(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Its dark parts in one colour, the rest transparent, and black beneath as canvases leave it."""
    alpha = 255 - np.asarray(picture.convert("L"))
    layer = np.zeros((*alpha.shape, 4), np.uint8)
    layer[alpha > 0, :3] = colour
    layer[..., 3] = alpha
    return Image.fromarray(layer)


def tinted(picture: Image.Image, pen: tuple[int, int, int], ground: tuple[int, int, int]) -> Image.Image:
    """Dark parts in one colour, light parts in another."""
    return _picture(coloured(1 - np.asarray(picture.convert("L"), np.float32) / 255, pen, ground))


def off_centre(picture: Image.Image, rng: Generator) -> Image.Image:
    """On a canvas of several times its size."""
    grey = picture.convert("L")
    canvas = Image.new("L", (grey.width * 5, grey.height * 4), grey.getpixel((0, 0)))
    canvas.paste(grey, (int(rng.integers(grey.width * 4)), int(rng.integers(grey.height * 3))))
    return canvas


def resized(picture: Image.Image, width: int, height: int) -> Image.Image:
    """At another size with its proportions kept, on a canvas of exactly that size."""
    grey = picture.convert("L")
    scale = min(width / grey.width, height / grey.height)
    size = (round(grey.width * scale), round(grey.height * scale))
    canvas = Image.new("L", (width, height), grey.getpixel((0, 0)))
    canvas.paste(grey.resize(size, Image.Resampling.BICUBIC), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


VARIATIONS: dict[str, Variation] = {
    "as they are": lambda picture, rng: picture,
    "inverted": lambda picture, rng: tinted(picture, (255, 255, 255), (0, 0, 0)),
    "coloured": lambda picture, rng: tinted(picture, (30, 60, 200), (250, 240, 160)),
    "coloured, equally light": lambda picture, rng: tinted(picture, (220, 60, 60), (40, 140, 60)),
    "transparent, black": lambda picture, rng: transparent(picture, (0, 0, 0)),
    "transparent, white": lambda picture, rng: transparent(picture, (255, 255, 255)),
    "turned by +10°": lambda picture, rng: turned(picture, 10),
    "turned by -10°": lambda picture, rng: turned(picture, -10),
    "off-centre": off_centre,
    "16×16": lambda picture, rng: resized(picture, 16, 16),
    "4000×3000": lambda picture, rng: resized(picture, 4000, 3000),
    "JPEG, quality 20": lambda picture, rng: jpeg(picture.convert("L"), 20),
    "all together": lambda picture, rng: jpeg(
        tinted(off_centre(turned(picture, float(rng.uniform(-10, 10))), rng), (240, 230, 90), (20, 40, 90)), 20
    ),
}
