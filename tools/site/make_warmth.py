"""Makes chroma/data/warm_ratio.npy of a folder of color photographs: how much likelier each ab bin is in the warm ones.

python tools/site/make_warmth.py PHOTOGRAPHS [--leave-out DATASET ...] [--count 6000]
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np

from chroma.bins import load_centers
from chroma.palette import ab_histogram
from chroma.prior import smooth_prior
from chroma.warmth import WARM_HUE_DEGREES, WARM_SHARE
from training.data.photographs import open_photographs
from training.data.pictures import decode_photograph

OUT = Path(__file__).parents[2] / "chroma" / "data" / "warm_ratio.npy"
SIGMA = 7.0
"""Width of the Gaussian that smooths both histograms, Lab units."""
FLOOR = 1e-4
"""Share of a bin, of both, below which nothing is concluded from it."""


def main() -> None:
    """Count bins in photographs drawn at random, and write the ratio down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-out", nargs="*", default=[])
    parser.add_argument("--count", type=int, default=6000)
    given = parser.parse_args()
    photographs = open_photographs(given.folder)
    every = [photo for photo in photographs.split("train") if photo.dataset not in given.leave_out]
    chosen = random.Random(0).sample(every, min(given.count, len(every)))
    shares = np.stack([ab_histogram(decode_photograph(photographs.read(photo))) for photo in chosen])
    angle = np.radians(WARM_HUE_DEGREES)
    warmth = shares @ load_centers() @ [np.cos(angle), np.sin(angle)]
    is_warm = warmth > np.quantile(warmth, 1 - WARM_SHARE)
    warm, usual = (smooth_prior(some.mean(axis=0), load_centers(), sigma=SIGMA) for some in (shares[is_warm], shares))
    ratio = np.log((warm + FLOOR) / (usual + FLOOR)).astype(np.float32)
    np.save(OUT, ratio)
    spread = f"ratios from {ratio.min():.2f} to {ratio.max():.2f}"
    sys.stdout.write(f"{len(chosen)} photographs, {is_warm.sum()} of them warm; {spread}\n")


if __name__ == "__main__":
    main()
