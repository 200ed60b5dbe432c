#!/bin/sh
# FFmpeg's flag for accurate rounding makes video darker on its way to RGB, and so do more bits: 8-bit video is .5 of 255
# levels too dark on average by default, 1.7 with ACCURATE_RND, and right only with FULL_CHR_H_INT besides, a flag about
# color differences, of which there are none here. 10-bit video is 1.6 too dark without it. 16-bit RGB, which one takes
# to lose nothing, is never right: .5 too dark with whatever flags, and 1.7 from 8 bits by default.
#
# The planes of a gray ramp hold the exact codes of limited range (16 to 235, or 64 to 940) and are converted by swscale
# through PyAV. There is no scaling and no color: what is measured is the rounding. White comes out as 253 or 254.
#
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2, libswscale 9.5.102), NumPy 2.2.6, Python 3.11, x86-64.
# Seen: yuv420p -> rgb24 .5, 1.7, 0.0 darker (default, ACCURATE_RND, both flags); yuv420p10le -> rgb24 1.6, 1.6, 0.0;
# yuv420p10le -> rgb48le .5, .5, .5.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" "av==18.1.0" "numpy==2.2.6"
cat >"$folder/ramp.py" <<'PROGRAM'
import av
import numpy as np
from av.video.reformatter import Interpolation


def ramp(name, bits):
    frame = av.VideoFrame(256, 16, name)
    scale = 1 << (bits - 8)
    luma = np.linspace(16 * scale, 235 * scale, 256).round()
    for index, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)
        rows[:] = 128 * scale
        if index == 0:
            rows[:, :256] = luma
    frame.color_range, frame.colorspace = 1, 1  # limited, BT.709
    return frame, (luma - 16 * scale) / (219 * scale)


FLAGS = {
    "default": Interpolation.BILINEAR,
    "ACCURATE_RND": Interpolation.ACCURATE_RND,
    "ACCURATE_RND and FULL_CHR_H_INT": Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
}
for name, bits in (("yuv420p", 8), ("yuv420p10le", 10)):
    frame, truth = ramp(name, bits)
    for target, top in (("rgb24", 255), ("rgb48le", 65535)):
        for said, flags in FLAGS.items():
            row = frame.to_ndarray(format=target, interpolation=Interpolation.BILINEAR | flags)[8, :, 0] * (255 / top)
            error = (row - 255 * truth).mean()
            print(f"{name} -> {target}, {said}: {abs(error):.1f} darker, white {row[-1]:.0f}")
PROGRAM
PYTHONPATH="$folder/packages" python3 "$folder/ramp.py" | tee "$folder/seen.txt"
cat >"$folder/described.txt" <<'LINES'
yuv420p -> rgb24, default: 0.5 darker, white 255
yuv420p -> rgb24, ACCURATE_RND: 1.7 darker, white 253
yuv420p -> rgb24, ACCURATE_RND and FULL_CHR_H_INT: 0.0 darker, white 255
yuv420p -> rgb48le, default: 1.7 darker, white 253
yuv420p -> rgb48le, ACCURATE_RND: 0.5 darker, white 254
yuv420p -> rgb48le, ACCURATE_RND and FULL_CHR_H_INT: 0.5 darker, white 254
yuv420p10le -> rgb24, default: 1.6 darker, white 253
yuv420p10le -> rgb24, ACCURATE_RND: 1.6 darker, white 253
yuv420p10le -> rgb24, ACCURATE_RND and FULL_CHR_H_INT: 0.0 darker, white 255
yuv420p10le -> rgb48le, default: 0.5 darker, white 254
yuv420p10le -> rgb48le, ACCURATE_RND: 0.5 darker, white 254
yuv420p10le -> rgb48le, ACCURATE_RND and FULL_CHR_H_INT: 0.5 darker, white 254
LINES
diff "$folder/described.txt" "$folder/seen.txt"
echo "as described"
