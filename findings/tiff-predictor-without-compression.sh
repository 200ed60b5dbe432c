#!/bin/sh
# The same TIFF has other pixels for tifffile than for libtiff: a Predictor counts there without compression, too.
#
# TIFF 6.0 defines Predictor beside LZW. libtiff knows the tag where a codec registers it (LZW, deflate, ZSTD, LZMA) and
# calls it unknown elsewhere, so OpenCV and Pillow give an uncompressed strip as it lies. tifffile sums it up. A program
# that saves a picture anew without compression and leaves the tag standing makes such a file: it looks right in nearly
# every viewer, and as if smeared to the right in what reads with tifffile (scikit-image, imageio). Neither says a word.
#
# Versions: tifffile 2026.3.3, imagecodecs 2026.3.6, opencv-python-headless 5.0.0.93, Pillow 13.0.0, NumPy 2.2.6,
# Python 3.11.
# Seen: as in `expected` below.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/lib" \
    "tifffile==2026.3.3" "imagecodecs==2026.3.6" "opencv-python-headless==5.0.0.93" "pillow==13.0.0" "numpy==2.2.6"
cat >"$folder/look.py" <<'PROGRAM'
import io
import struct
import sys
import zlib

sys.path.insert(0, sys.argv[1])
import cv2
import numpy as np
import tifffile
from PIL import Image

ROW = bytes(range(0, 80, 10))


def tiff(strip, compression):
    tags = {256: len(ROW), 257: 1, 258: 8, 259: compression, 262: 1, 277: 1, 278: 1, 279: len(strip), 317: 2}
    tags[273] = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4) + strip


for name, data in (("none", tiff(ROW, 1)), ("deflate", tiff(zlib.compress(ROW), 8))):
    print(f"{name}: Pillow   ", np.asarray(Image.open(io.BytesIO(data)))[0].tolist())
    print(f"{name}: OpenCV   ", cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[0].tolist())
    print(f"{name}: tifffile ", tifffile.imread(io.BytesIO(data)).reshape(-1).tolist())
PROGRAM
expected='none: Pillow    [0, 10, 20, 30, 40, 50, 60, 70]
none: OpenCV    [0, 10, 20, 30, 40, 50, 60, 70]
none: tifffile  [0, 10, 30, 60, 100, 150, 210, 24]
deflate: Pillow    [0, 10, 30, 60, 100, 150, 210, 24]
deflate: OpenCV    [0, 10, 30, 60, 100, 150, 210, 24]
deflate: tifffile  [0, 10, 30, 60, 100, 150, 210, 24]'
python3 "$folder/look.py" "$folder/lib" 2>/dev/null | tee "$folder/seen.txt"
printf '%s\n' "$expected" | diff - "$folder/seen.txt"
echo "as described"
