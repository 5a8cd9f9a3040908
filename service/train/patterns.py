"""Patterns that are no writing: what photographs of anything leave behind, scribbles, noise.

All are `uint8`, light on black where they are drawings; all that is random comes from the generator that is given.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from service.train.glyphs import SIDE

Pixels = NDArray[np.uint8]


def scribble(rng: np.random.Generator) -> Pixels:
    """Several long curves all over the place."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    pen = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(2, 6))):
        corners = rng.uniform(8, 56, (int(rng.integers(3, 9)), 2))
        cv2.polylines(
            canvas,
            [np.round(corners * 16).astype(np.int32)],
            isClosed=False,
            color=255,
            thickness=pen,
            lineType=cv2.LINE_AA,
            shift=4,
        )
    return canvas


def shape(rng: np.random.Generator) -> Pixels:
    """What stands out in a picture of something else: blobs, polygons, discs, dashes, skylines; whole or worn."""
    filled = (_blob, _polygon, _disc, _dashes, _dashes, _skyline)[int(rng.integers(6))](rng)
    if rng.random() < 0.5:
        filled[_cloud(SIDE, rng.uniform(0.6, 2), rng) > rng.uniform(0.3, 2)] = 0
    return filled


def _blob(rng: np.random.Generator) -> Pixels:
    blob = _cloud(SIDE, rng.uniform(2, 12), rng) > rng.uniform(0.2, 1.6)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] - SIDE / 2
    axes, cut = rng.uniform(8, 32, 2), rng.normal(0, 1, 2)
    blob &= np.hypot(rows / axes[0], columns / axes[1]) <= 1
    if rng.random() < 0.5:
        blob &= rows * cut[0] + columns * cut[1] <= 0
    return 255 * blob.astype(np.uint8)


def _polygon(rng: np.random.Generator) -> Pixels:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    corners = rng.uniform(6, 58, (int(rng.integers(3, 7)), 2)).round().astype(np.int32)
    cv2.fillPoly(canvas, [corners], [255])
    return canvas


def _disc(rng: np.random.Generator) -> Pixels:
    """A disc, an ellipse, or a sector of one."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    centre, axes = rng.integers(20, 44, 2).tolist(), rng.integers(10, 28, 2).tolist()
    begin, turn = (int(angle) for angle in rng.integers(0, 360, 2))
    end = begin + (360 if rng.random() < 0.5 else int(rng.integers(60, 300)))
    cv2.ellipse(canvas, centre, axes, turn, begin, end, [255], -1)
    return canvas


def _skyline(rng: np.random.Generator) -> Pixels:
    """What is below a line that goes up and down by steps, upright or on its side."""
    steps = np.repeat(rng.normal(0, rng.uniform(1, 8), SIDE // 4), 4) + rng.normal(0, 0.6, SIDE)
    heights = SIDE / 2 + rng.normal(0, 0.7) * (np.arange(SIDE) - SIDE / 2) + steps
    below = np.arange(SIDE)[:, np.newaxis] > heights
    below[:, : int(rng.integers(4, 28))] = False
    below[int(rng.integers(40, SIDE)) :] = False
    return 255 * (below if rng.random() < 0.5 else below.T).astype(np.uint8)


def _dashes(rng: np.random.Generator) -> Pixels:
    """Bars in rows, every other row moved: what is left of walls, fences and hatching; at any angle."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    height, width = int(rng.integers(2, 30)), int(rng.integers(2, 12))
    down, across = height + int(rng.integers(1, 12)), width + int(rng.integers(2, 14))
    first, moved = int(rng.integers(0, 10)), int(rng.integers(0, across))
    whole = rng.uniform(0.6, 1.1)
    for index, row in enumerate(range(first, SIDE, down)):
        for column in range(first + index % 2 * moved, SIDE, across):
            if rng.random() < whole:
                canvas[row : row + height, column : column + width] = 255
    turn = float(rng.choice([0, 90, rng.uniform(0, 180)]))
    turned = np.asarray(
        cv2.warpAffine(canvas, cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), turn, 1), (SIDE, SIDE)), np.uint8
    )
    window = np.zeros_like(canvas)
    if rng.random() < 0.5:
        cv2.circle(window, (SIDE // 2, SIDE // 2), int(rng.integers(14, 30)), [1], -1)
    else:
        top, left = (int(edge) for edge in rng.integers(4, 16, 2))
        window[top : SIDE - int(rng.integers(4, 16)), left : SIDE - int(rng.integers(4, 16))] = 1
    return turned * window


def noise(side: int, rng: np.random.Generator) -> Pixels:
    """Random pixels, each by itself or smoothed together: `(side, side)`."""
    values: NDArray[np.floating]
    match rng.integers(4):
        case 0:
            values = rng.uniform(0, rng.uniform(64, 256), (side, side))
        case 1:
            values = rng.normal(rng.uniform(0, 200), rng.uniform(10, 90), (side, side))
        case 2:
            values = 255.0 * (rng.random((side, side)) < rng.uniform(0.02, 0.6))
        case _:
            values = 128 + rng.uniform(40, 120) * _cloud(side, rng.uniform(0.5, 4), rng)
    return np.asarray(values.clip(0, 255), np.uint8)


def texture(side: int, rng: np.random.Generator) -> Pixels:
    """What photographs of no digit are full of: grain, boards, weaves, light from one side, blobs."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    turn = rng.uniform(0, np.pi)
    along, across = rows * np.cos(turn) + columns * np.sin(turn), columns * np.cos(turn) - rows * np.sin(turn)
    waves = rng.uniform(2, 16)
    plane: NDArray[np.floating]
    match rng.integers(7):
        case 0:
            plane = np.sign(np.sin(along * waves * 6.28) - rng.uniform(-0.5, 0.5))
        case 1:
            plane = np.sin(along * waves * 6.28) * np.sin(across * waves * 6.28)
        case 2:
            wobble = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), side / 8)
            plane = np.sin(along * waves * 6.28 + wobble / wobble.std() * rng.uniform(0.5, 3))
        case 3:
            octaves = [_cloud(side, side / 2**octave, rng) / 1.7**octave for octave in range(1, 6)]
            plane = np.sum(octaves, axis=0)
        case 4:
            plane = np.sign(_cloud(side, rng.uniform(1.5, 8), rng) - rng.uniform(0, 1.5))
        case 5:
            plane = along + rng.uniform(0, 0.3) * _cloud(side, rng.uniform(0.5, 4), rng)
        case _:
            plane = np.hypot(rows - rng.random(), columns - rng.random())
            plane = np.sin(plane * waves * 6.28) if rng.random() < 0.5 else plane
    plane = plane + rng.uniform(0, 0.2) * rng.normal(0, 1, plane.shape) + rng.uniform(-1, 1) * along
    plane = (plane - plane.min()) / (np.ptp(plane) + 1e-9)
    low, high = np.sort(rng.uniform(0, 255, 2))
    return np.asarray(np.round(low + (high - low) * plane), np.uint8)


def _cloud(side: int, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise of unit variance with bumps of `scale` pixels."""
    noise = cv2.GaussianBlur(rng.normal(0, 1, (side, side)), (0, 0), float(scale))
    cloud: NDArray[np.float64] = noise / (noise.std() + 1e-9)
    return cloud
