#!/bin/sh
# OpenCV reads an 8-bit TIFF with unassociated alpha multiplied by it, also with IMREAD_UNCHANGED; one of 16 bits not.
#
# ExtraSamples 2 says that the colors have not been multiplied by the opacity. For 8 bits OpenCV has libtiff make RGBA of
# it, which multiplies; what was nearly transparent is nearly black then, and dividing again does not bring it back. The
# same picture in 16 bits, or as a PNG, comes as it is. So opacity cannot be undone by the depth alone.
#
# Versions: opencv-python-headless 5.0.0.93, tifffile 2026.3.3, NumPy 2.4.6, Python 3.11.
# Seen: 8 bits: (200, 100, 50) of opacity 64 comes as (50, 25, 13); 16 bits: as it is.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    opencv-python-headless==5.0.0.93 tifffile==2026.3.3 numpy==2.4.6
cat >"$folder/alpha.py" <<'PROGRAM'
import io

import cv2
import numpy as np
import tifffile

for kind, factor in ((np.uint8, 1), (np.uint16, 257)):
    picture = np.full((8, 8, 4), (200, 100, 50, 64), kind) * kind(factor)
    stream = io.BytesIO()
    tifffile.imwrite(stream, picture, photometric="rgb", extrasamples=["unassalpha"])
    tiff = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    png = cv2.imdecode(cv2.imencode(".png", picture[..., [2, 1, 0, 3]])[1], cv2.IMREAD_UNCHANGED)
    for name, read in (("TIFF", tiff), ("PNG", png)):
        print(8 * picture.itemsize, "bits,", name, [int(level) // factor for level in read[0, 0][[2, 1, 0, 3]]])
PROGRAM
"$folder/venv/bin/python" "$folder/alpha.py" | tee "$folder/seen.txt"
diff - "$folder/seen.txt" <<'SEEN'
8 bits, TIFF [50, 25, 13, 64]
8 bits, PNG [200, 100, 50, 64]
16 bits, TIFF [200, 100, 50, 64]
16 bits, PNG [200, 100, 50, 64]
SEEN
echo "as described"
