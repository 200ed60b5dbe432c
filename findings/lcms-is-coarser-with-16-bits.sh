#!/bin/sh
# Little CMS converts 16-bit RGB far less exactly than 8-bit RGB, unless it is told not to optimize.
#
# For 8 bits it multiplies by the matrix of a matrix profile; for 16 bits it replaces the same transform by a table of
# some 33 entries a side and interpolates. From Adobe RGB to sRGB 8-bit levels are right within one; 16-bit levels, of
# which a scan should lose nothing, are off by hundreds in the shadows and by more than a twentieth of the range where a
# color leaves sRGB. `cmsFLAGS_HIGHRESPRECALC` is no way out; `cmsFLAGS_NOOPTIMIZE` is, at several times the time.
#
# Versions: imagecodecs 2026.3.6 (Little CMS 2.18.0), NumPy 2.4.6, Python 3.11.
# Seen, in 65535ths, shadows and all colors: 8 bit 138 and 187; 16 bit 233 and 4716; HIGHRESPRECALC 96 and 3863;
# NOOPTIMIZE 0 and 1.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "imagecodecs==2026.3.6" "numpy==2.4.6"
cat >"$folder/convert.py" <<'PROGRAM'
import sys

sys.path.insert(0, sys.argv[1])
import imagecodecs
import numpy as np

NO_OPTIMIZE, HIGH_RESOLUTION = 0x0100, 0x0400
adobe, srgb = imagecodecs.cms_profile("adobergb"), imagecodecs.cms_profile("srgb")


def converted(levels, flags, **more):
    return imagecodecs.cms_transform(
        levels, adobe, srgb, colorspace="rgb", outcolorspace="rgb", intent=0, flags=flags, **more
    )


def apart(levels, flags):
    """Return how far levels are from the same transform in double precision, in 65535ths."""
    top = np.iinfo(levels.dtype).max
    exact = converted(levels / top, NO_OPTIMIZE, outdtype="f8").clip(0, 1)
    return round(float(np.abs(converted(levels, flags) / top - exact).max()) * 65535)


every = np.random.default_rng(0).integers(0, 65536, (200, 200, 3)).astype(np.uint16)
shadows = every // 32
for name, dtype, flags in (
    ("8 bit", np.uint8, None),
    ("16 bit", np.uint16, None),
    ("16 bit, high resolution", np.uint16, HIGH_RESOLUTION),
    ("16 bit, not optimized", np.uint16, NO_OPTIMIZE),
):
    dark, whole = ((each >> 8).astype(np.uint8) if dtype == np.uint8 else each for each in (shadows, every))
    print(f"{name}: shadows {apart(dark, flags)}, all colors {apart(whole, flags)}")
PROGRAM
python3 "$folder/convert.py" "$folder" | tee "$folder/found"
diff - "$folder/found" <<'EXPECTED'
8 bit: shadows 138, all colors 187
16 bit: shadows 233, all colors 4716
16 bit, high resolution: shadows 96, all colors 3863
16 bit, not optimized: shadows 0, all colors 1
EXPECTED
echo "as described"
