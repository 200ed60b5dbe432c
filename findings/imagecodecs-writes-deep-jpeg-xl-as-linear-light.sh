#!/bin/sh
# imagecodecs writes a JPEG XL of 8 bits as sRGB, and one of more bits as linear light; the levels stay what they were.
#
# A 16-bit scan, taken as sRGB by whoever wrote it, is so shown much too light by every program that honors the header
# (level 0.2 as 0.48), and the same scan in 8 bits is not. Its own decoder hands out levels without a word on what they
# mean, so a round trip looks right. Nothing in `jpegxl_encode` says otherwise; a program that reads such files has to
# take the header at its word all the same, since linear 16-bit files are common.
#
# Versions: imagecodecs 2026.3.6, NumPy 2.4.6, pillow-jxl-plugin 1.3.8 and Pillow 12.0.0 as the judge, Python 3.11.
# Seen: "8 bit: round trip exact, Gra_D65_Rel_SRG"; "16 bit: round trip exact, Gra_D65_Rel_Lin";
# color likewise.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "imagecodecs==2026.3.6" "numpy==2.4.6" \
    "pillow-jxl-plugin==1.3.8" "pillow==12.0.0"
cat >"$folder/write.py" <<'PROGRAM'
import io
import sys

sys.path.insert(0, sys.argv[1])
import imagecodecs
import numpy as np
import pillow_jxl  # noqa: F401
from PIL import Image, ImageCms

ramp = np.tile(np.arange(0, 65536, 257, dtype=np.uint16), (64, 1))
for name, levels in (("gray", ramp), ("color", np.dstack([ramp, ramp[::-1], ramp // 2]))):
    for bits in (8, 16):
        stored = levels if bits == 16 else (levels >> 8).astype(np.uint8)
        data = imagecodecs.jpegxl_encode(stored, lossless=True)
        exact = "exact" if (imagecodecs.jpegxl_decode(data) == stored).all() else "lossy"
        with Image.open(io.BytesIO(data)) as image:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        print(f"{name}, {bits} bit: round trip {exact}, {ImageCms.getProfileDescription(profile).strip()}")
PROGRAM
python3 "$folder/write.py" "$folder" | tee "$folder/found"
diff - "$folder/found" <<'EXPECTED'
gray, 8 bit: round trip exact, Gra_D65_Rel_SRG
gray, 16 bit: round trip exact, Gra_D65_Rel_Lin
color, 8 bit: round trip exact, sRGB
color, 16 bit: round trip exact, RGB_D65_SRG_Rel_Lin
EXPECTED
echo "as described"
