"""Which of the ink is the digit, and how wide it is written."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]

NEAR = 0.012
"""Part of the longest side up to which pieces of ink belong together: a broken line."""

SPECK = 0.02
"""Part of the main piece's ink below which a piece is dirt."""

FELLOW = 0.2
"""Part of the main piece's ink from which on a piece is kept wherever it is: pictures of many things stay such."""

REACH = 0.35
"""Part of the main piece's extent up to which a smaller piece belongs to it: the bar of a 5."""

SMALLEST = 0.02
"""Part of the longest side that a digit has at least, in pictures of more than `DOT` pixels."""

DOT = 100

LINE = 0.75
"""Part of the picture's width or height from which on a straight line is a ruled one."""


ALONG = 0.25
"""Part of its extent that a piece must lie along the picture's edge with to be no digit, if there is another piece…"""

LARGE = 0.12
"""…at least as large as this part of the longest side."""

WIDEST = 15
"""Pixels up to which a gap that a removed line leaves in a stroke is closed."""

THIN = 0.03
"""Part of the longest side up to which such a line is removed for being so thin."""

FRAME = 3
"""Number of such lines from which on they are removed however thick they are."""


def digit(sure: Mask, clear: bool) -> Mask | None:
    """Those pixels of `sure` that are the digit; None where all is dirt, or a shadow at the edge and not `clear`."""
    chosen = _chosen(_without_lines(sure), clear)
    return chosen if chosen is not None else _chosen(sure, clear)


def _without_lines(sure: Mask) -> Mask:
    """Without the lines of a form or of squared paper; strokes that cross them are mended."""
    if min(sure.shape) < DOT // 2:
        return sure
    # Level ones first. Upright ones are those of the transposed picture.
    lines = [_lines(sure), _lines(np.ascontiguousarray(sure.T))]
    counts = [cv2.connectedComponents(some)[0] - 1 for some in lines]
    rest = sure
    for some, count in zip(lines, counts, strict=True):
        thick = int(some.sum(axis=0).max(initial=0)) / max(1, count)
        if count and (sum(counts) >= FRAME or thick <= THIN * max(sure.shape)):
            rest = _mended(rest, some, min(int(thick), WIDEST) + 4)
        rest = np.ascontiguousarray(rest.T)
    return rest


def _lines(mask: Mask) -> Mask:
    """Level lines that are long, a little tilted perhaps: a morphological opening, by sums as its element is large."""
    length = int(LINE * mask.shape[1]) | 1
    half = length // 2
    thick = np.pad(np.asarray(cv2.dilate(mask, np.ones((3, 1), np.uint8))), ((0, 0), (half, half)))
    middles = _run_sums(np.asarray(thick, np.uint8), length) >= length
    lines = _run_sums(middles.astype(np.uint8), length) > 0
    return np.ascontiguousarray(lines[:, half : half + mask.shape[1]], np.uint8)


def _run_sums(mask: Mask, length: int) -> NDArray[np.float32]:
    sums = cv2.boxFilter(mask, cv2.CV_32F, (length, 1), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums, np.float32)


def _mended(mask: Mask, lines: Mask, gap: int) -> Mask:
    """Without level lines, but with what of them lies between two ends of a stroke, `gap` pixels apart at most."""
    without = mask & (1 - lines)
    bridged = np.asarray(cv2.morphologyEx(without, cv2.MORPH_CLOSE, np.ones((gap, 1), np.uint8)), np.uint8)
    return without | (bridged & lines & mask)


class _Pieces(NamedTuple):
    """Connected pieces of ink by label, the ground (label 0) among them with no area."""

    labels: NDArray[np.int32]
    area: NDArray[np.int64]
    left: NDArray[np.int32]
    top: NDArray[np.int32]
    right: NDArray[np.int32]
    bottom: NDArray[np.int32]
    touching: NDArray[np.bool_]
    """Whether it lies along the picture's edge, and is no stroke that just reaches it."""

    def extent(self) -> NDArray[np.int32]:
        return np.asarray(np.maximum(self.right - self.left, self.bottom - self.top), np.int32)

    def distance(self, main: int) -> NDArray[np.int32]:
        """From the box of each to that of `main`, in pixels."""
        across = np.maximum(self.left - self.right[main], self.left[main] - self.right)
        down = np.maximum(self.top - self.bottom[main], self.top[main] - self.bottom)
        return np.asarray(np.maximum(np.maximum(across, down), 0), np.int32)


def _pieces(sure: Mask, gap: int) -> _Pieces:
    joint = cv2.dilate(sure, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * gap + 1, 2 * gap + 1))) if gap else sure
    count, found, stats, _ = cv2.connectedComponentsWithStats(joint, connectivity=8)
    labels = np.asarray(found, np.int32)
    left, top, width, height = np.asarray(stats, np.int32).T[:4]
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.bincount(edge, minlength=count) > ALONG * np.maximum(width, height)
    area = np.bincount(labels.ravel(), weights=sure.ravel(), minlength=count).astype(np.int64)
    return _Pieces(labels, area, left, top, left + width, top + height, touching)


def _chosen(sure: Mask, clear: bool) -> Mask | None:
    longest = max(sure.shape)
    gap = int(NEAR * longest)
    pieces = _pieces(sure, gap)
    area, extent = pieces.area, pieces.extent()
    if not area.any():
        return None
    inside = (area > 0) & ~pieces.touching & (extent >= LARGE * longest)
    if not inside.any() and not clear and pieces.touching[area > 0].any():
        return None
    main = int(np.argmax(np.where(inside, area, 0) if inside.any() else area))
    if longest > DOT and extent[main] < SMALLEST * longest + 2 * gap:
        return None
    near = (pieces.distance(main) <= REACH * extent[main]) & (area >= SPECK * area[main])
    keep = near | (area >= FELLOW * area[main])
    if inside.any():
        keep &= ~pieces.touching
    keep[main] = True
    keep[0] = False
    return np.asarray(sure & keep[pieces.labels], np.uint8)


def width(mask: Mask) -> float:
    """Mean width of the strokes in pixels: in a line it is four times the mean distance to the line's edge."""
    distances = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)
    inside = distances[distances > 0]
    return 4 * float((inside - 0.5).mean()) if inside.size else 0.0


def widened(mask: Mask, by: float) -> NDArray[np.float32]:
    """Strokes `by` pixels wider (narrower, if negative), their edges smooth; 0 to 1, the same size as `mask`."""
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    beyond = np.where(mask > 0, inside - 0.5, 0.5 - outside)
    return np.clip(beyond + by / 2 + 0.5, 0, 1).astype(np.float32)
