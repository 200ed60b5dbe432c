#!/bin/sh
# imagecodecs converts a JPEG 2000 by the ICC profile inside; with 16-bit gray that gives other pixels than the file's.
#
# Its other decoders (PNG, JPEG, WebP, AVIF, TIFF) hand out levels as they are stored, so whoever manages colors applies
# the profile behind them, and does it twice for JP2. Nor can the conversion be relied on: OpenJPEG's sample code, which
# it follows, takes gray for 8 bits. A 16-bit gray scan with a gray profile comes out as RGB, hardly a level in its
# place. Without the profile, or behind a box renamed from colr, the same codestream is exact.
#
# Versions: imagecodecs 2026.3.6, NumPy 2.4.6, Python 3.11 (OpenJPEG 2.5.4 and Little CMS 2.18 inside).
# Seen: "png, gray 8 bit: as stored"; "jp2, gray 8 bit: 3 channels, off by 73"; "jp2, gray 16 bit: 3 channels, off by
# 65535"; with the profile hidden "as stored" in both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder" "imagecodecs==2026.3.6" "numpy==2.4.6"
cat >"$folder/decode.py" <<'PROGRAM'
import struct
import sys
import zlib

sys.path.insert(0, sys.argv[1])
import imagecodecs
import numpy as np


def box(kind, content):
    return struct.pack(">L", 8 + len(content)) + kind + content


def chunk(kind, content):
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def jp2(levels, bits, kind, content):
    head = box(b"ihdr", struct.pack(">LLHBBBB", *levels.shape, 1, bits - 1, 7, 0, 0)) + box(kind, content)
    stream = imagecodecs.jpeg2k_encode(levels, codecformat="j2k", reversible=True)
    return b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", head) + box(b"jp2c", stream)


def told(name, found, stored):
    if found.shape == stored.shape and (found == stored).all():
        print(f"{name}: as stored")
        return
    plane = found[..., 0] if found.ndim == 3 else found
    print(f"{name}: {found.ndim == 3 and found.shape[2]} channels, off by {abs(plane.astype(int) - stored).max()}")


profile = imagecodecs.cms_profile("gray", gamma=1.0)
for bits in (8, 16):
    levels = np.tile(np.arange(256, dtype=np.uint16) * (257 if bits == 16 else 1), (64, 1)).astype(f"u{bits // 8}")
    if bits == 8:
        whole = imagecodecs.png_encode(levels)
        whole = whole[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(profile)) + whole[33:]
        told("png, gray 8 bit", imagecodecs.png_decode(whole), levels)
    for kind in (b"colr", b"free"):
        name = f"jp2, gray {bits} bit" + (", profile hidden" if kind == b"free" else "")
        told(name, imagecodecs.jpeg2k_decode(jp2(levels, bits, kind, b"\2\0\0" + profile)), levels)
PROGRAM
python3 "$folder/decode.py" "$folder" | tee "$folder/found"
diff - "$folder/found" <<'EXPECTED'
png, gray 8 bit: as stored
jp2, gray 8 bit: 3 channels, off by 73
jp2, gray 8 bit, profile hidden: as stored
jp2, gray 16 bit: 3 channels, off by 65535
jp2, gray 16 bit, profile hidden: as stored
EXPECTED
echo "as described"
