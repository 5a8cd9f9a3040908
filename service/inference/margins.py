"""Pictures that were cut out along the strokes themselves, as a detector's boxes are, get a margin.

Everything else tells the ground by the edge of a picture, which in such a one is half ink.
"""

import cv2
import numpy as np

from service.inference.tones import Tones

SIDE = 64
"""Longest side, in pixels, at which it is looked whether a picture is cut out."""

MARGIN = 0.25
"""Part of the longest side that is added all around."""

GAP = 0.15
"""Part of the longest side that the strokes leave free in height and in width, in a picture that is cut out."""

APART = 0.2
"""Part of the longest side that something else inside is as long as at least: then what is around it is a frame."""

NEAR, FRAMED, SLIM = 0.08, 0.9, 0.5
"""A frame has ink within so much of the longest side along so much of all four sides; a slim digit may have, too."""

CONTRAST = 48.0
"""Levels, of 255, between the means of ink and ground, at least."""

APART_BY = 4.0
"""Standard deviations of each that they are apart at least: a shadow's levels go over into those of the light."""

WIDEST = 0.17
"""Part of the longest side that the largest circle within the strokes may have as its radius."""

MOST_RUNS = 8
"""How often strokes may meet the edge of the picture: those of a digit do so once or twice a side, ruled lines more."""


def added(tones: Tones) -> tuple[Tones, int]:
    """The picture with a margin of its ground if it is cut out, and the margin's width in pixels; 0 if it is not."""
    ink = _ink(tones)
    if ink is None or not _is_cut_out(ink):
        return tones, 0
    margin = round(MARGIN * max(tones.shape))
    whole = cv2.resize(ink, (tones.shape[1], tones.shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.pad(tones, margin, constant_values=int(np.median(tones[whole == 0]))), margin


def _ink(tones: Tones) -> Tones | None:
    """1 where there is ink, small; the side of the levels that holds less of the picture's edge, each of its four sides
    counted alike, because a slim digit fills most of two of them. None where the levels have no two clear sides."""
    scale = min(1.0, SIDE / max(tones.shape))
    size = (max(1, round(tones.shape[1] * scale)), max(1, round(tones.shape[0] * scale)))
    small = np.asarray(cv2.resize(tones, size, interpolation=cv2.INTER_AREA), np.uint8)
    light = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1].astype(np.uint8)
    if not 0 < light.mean() < 1:
        return None
    bright, dark = small[light == 1], small[light == 0]
    contrast = float(bright.mean() - dark.mean())
    if contrast < max(CONTRAST, APART_BY * float(bright.std() + dark.std()) / 2):
        return None
    return light if np.mean([edge.mean() for edge in _edges(light)]) < 0.5 else 1 - light


def _is_cut_out(ink: Tones) -> bool:
    count, _, parts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    left, top, width, height, area = (parts[1:count, column] for column in range(5))
    longest = max(ink.shape)
    largest = int(area.argmax())
    if max(ink.shape[1] - width[largest], ink.shape[0] - height[largest]) > GAP * longest:
        return False
    inside = (left > 0) & (top > 0) & (left + width < ink.shape[1]) & (top + height < ink.shape[0])
    if (inside & (np.maximum(width, height) >= APART * longest) & (area != area[largest])).any():
        return False
    if min(ink.shape) > SLIM * longest and min(_covered(ink)) > FRAMED:
        return False
    runs = sum(int((np.diff(edge.astype(np.int8), prepend=0) == 1).sum()) for edge in _edges(ink))
    radius = float(cv2.distanceTransform(np.pad(ink, 1), cv2.DIST_L2, 5).max())
    return runs <= MOST_RUNS and radius <= WIDEST * longest


def _covered(ink: Tones) -> tuple[float, ...]:
    """Along each side of the picture, the part of it that has ink near it."""
    near = max(1, round(NEAR * max(ink.shape)))
    bands = (ink[:near], ink[-near:], ink[:, :near].T, ink[:, -near:].T)
    return tuple(float(band.any(axis=0).mean()) for band in bands)


def _edges(picture: Tones) -> tuple[Tones, Tones, Tones, Tones]:
    return picture[0], picture[-1], picture[:, 0], picture[:, -1]
