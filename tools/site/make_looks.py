"""Makes chroma/data/period_ratios.npz: how much likelier each ab bin is in photographs of a time than in ordinary ones.

python tools/site/make_looks.py PHOTOGRAPHS photochrom=SOURCE autochrome=SOURCE transparency=SOURCE

A source is a folder of pictures, or a JSON file with the colors that each picture is made of:
[[[share, r, g, b], ...], ...]. Every picture, ordinary ones too, counts by such colors, 16 at most, since means are
paler than pixels.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import cv2
import numpy as np

from chroma.bins import load_centers, nearest_bin
from chroma.lab import rgb_u8_to_lab
from chroma.looks import PERIOD_WEIGHTS
from chroma.prior import smooth_prior
from training.data.photographs import open_photographs
from training.data.pictures import decode_photograph

OUT = Path(__file__).parents[2] / "chroma" / "data" / "period_ratios.npz"
SIGMA = 7.0
"""Width of the Gaussian that smooths both histograms, Lab units."""
FLOOR = 1e-4
"""Share of a bin, of both, below which nothing is concluded from it."""
COLORS = 16
"""A picture is made of at most so many colors,"""
CELL = 64
"""and two of them that lie in one cell of this side, of 8-bit RGB, are one."""
SIDE_PX = 100
"""Longest side at which a picture's colors are looked for."""


def colors_of(rgb: np.ndarray) -> np.ndarray:
    """Return the colors of a picture and their shares, rows of (share, r, g, b)."""
    scale = min(SIDE_PX / max(rgb.shape[:2]), 1)
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).reshape(-1, 3).astype(np.float32)
    cv2.setRNGSeed(0)
    settled = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 15, 1.0)
    _, labels, means = cv2.kmeans(small, COLORS, None, settled, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]  # No first labels.
    counts = np.bincount(labels.ravel(), minlength=COLORS)
    merged: dict[tuple[int, ...], np.ndarray] = {}
    for mean, count in zip(means, counts, strict=True):
        cell = tuple(int(value) // CELL for value in mean)
        merged[cell] = merged.get(cell, np.zeros(4)) + np.array([count, *(count * mean)])
    sums = np.stack([row for row in merged.values() if row[0]])
    return np.column_stack([sums[:, 0] / len(small), sums[:, 1:] / sums[:, :1]])


def histogram_of(colors: np.ndarray) -> np.ndarray:
    """Return the share of each ab bin among the colors of a picture, shape (Q,), sum 1."""
    lab = rgb_u8_to_lab(np.clip(np.rint(colors[None, :, 1:]), 0, 255).astype(np.uint8))[0]
    bins = nearest_bin(lab[:, 1:], load_centers())
    return np.bincount(bins, weights=colors[:, 0], minlength=len(load_centers())) / colors[:, 0].sum()


def histograms_of(source: Path) -> np.ndarray:
    """Return the histogram of each picture of a source, shape (pictures, Q)."""
    if source.is_dir():
        pictures = (cv2.imread(str(path)) for path in sorted(source.iterdir()))
        listed = [colors_of(cv2.cvtColor(each, cv2.COLOR_BGR2RGB)) for each in pictures if each is not None]
    else:
        listed = [np.array(each) for each in json.loads(source.read_text())]
    return np.stack([histogram_of(colors) for colors in listed])


def main() -> None:
    """Count bins in ordinary photographs drawn at random and in those of each time, and write the ratios down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sources", nargs="+", metavar="LOOK=SOURCE")
    parser.add_argument("--leave-out", nargs="*", default=["prokudin"])
    parser.add_argument("--count", type=int, default=2000)
    given = parser.parse_args()
    sources = dict(source.split("=", 1) for source in given.sources)
    if set(sources) != set(PERIOD_WEIGHTS):
        parser.error(f"the looks are {', '.join(PERIOD_WEIGHTS)}")
    photographs = open_photographs(given.folder)
    every = [photo for photo in photographs.split("train") if photo.dataset not in given.leave_out]
    chosen = random.Random(0).sample(every, min(given.count, len(every)))
    shares = [histogram_of(colors_of(decode_photograph(photographs.read(photo)))) for photo in chosen]
    usual = smooth_prior(np.mean(shares, axis=0), load_centers(), sigma=SIGMA)
    ratios = {}
    for look, source in sources.items():
        found = histograms_of(Path(source))
        period = smooth_prior(found.mean(axis=0), load_centers(), sigma=SIGMA)
        ratios[look] = np.log((period + FLOOR) / (usual + FLOOR)).astype(np.float32)
        mean = np.round(found.mean(axis=0) @ load_centers(), 1)
        sys.stdout.write(f"{look}: {len(found)} pictures, mean ab {mean}\n")
    np.savez(OUT, **ratios)


if __name__ == "__main__":
    main()
