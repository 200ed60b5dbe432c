"""The shape of a region: of a map of what belongs to it, the part that hangs together, without holes, up to edges."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32

HOLE: Final = 0.02
"""A hole that is smaller than this share of the region is none: what people draw has none either."""
UNIFORM_STEP: Final = 1.2
"""Of neighbors of a uniform area, in L: more is an edge, pixels of the grid being wide."""
UNIFORM_RANGE: Final = 12.0
"""How far a uniform area may go from where it was marked, in L: a sky does so from one corner to the other."""
_AROUND: Final = np.ones((3, 3), np.uint8)


def connected(share: Float32[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Keep of a map what hangs together with the marks, and the soft edge of that.

    Args:
        share: how far each pixel belongs to the region, [0, 1], shape (h, w).
        inside: what marks add, shape (h, w).
    """
    kept = parts_with(share > 0.5, inside)
    edge = cv2.dilate(kept.astype(np.uint8), _AROUND).astype(np.float32)
    return np.where(kept, share, np.minimum(share, np.float32(0.5)) * edge)


def filled(share: Float32[np.ndarray, "h w"], outside: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Fill small holes of a region, but for those in which a mark takes away.

    Args:
        share: how far each pixel belongs to the region, [0, 1], shape (h, w).
        outside: what marks take away, shape (h, w).
    """
    found = share > 0.5
    gaps = (~np.pad(found, 1)).astype(np.uint8)  # with a frame, so that what touches the border is no hole
    count, labels, facts, _ = cv2.connectedComponentsWithStats(gaps, connectivity=8)
    labels = labels[1:-1, 1:-1]
    small = facts[:, cv2.CC_STAT_AREA] <= HOLE * np.count_nonzero(found)
    small[[0, *np.unique(labels[outside])]] = False
    return np.where(small[labels] & ~found, np.float32(1), share) if count > 1 else share


def uniform_around(L: Float32[np.ndarray, "h w"], place: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the uniform area around a place, up to its edges; nothing where the place itself is not uniform.

    Args:
        L: calmed lightness in [0, 100], shape (h, w).
        place: where it begins; of one across an edge the side counts that has more of it.
    """
    if not place.any():
        return place
    alike = np.abs(L - np.median(L[place])) <= UNIFORM_RANGE
    steps = np.maximum(cv2.dilate(L, _AROUND) - L, L - cv2.erode(L, _AROUND))
    plain = parts_with(alike & (steps <= UNIFORM_STEP), place)
    return (cv2.dilate(plain.astype(np.uint8), _AROUND) > 0) & alike


def parts_with(found: Bool[np.ndarray, "h w"], place: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return those parts of a mask that touch a place, each connected by its pixels' sides.

    Args:
        found: the mask, shape (h, w).
        place: what a part must overlap.
    """
    _, labels = cv2.connectedComponents(found.astype(np.uint8), connectivity=4)
    return np.isin(labels, np.unique(labels[place & found])) & found
