#!/bin/sh
# FFmpeg takes gray for full range whatever it is tagged and whatever is asked, and a filter that does not know gray of
# 10 bits has it converted behind one's back to RGB, which is tagged full: limited levels (64 to 940) stay as they are,
# and from then on nothing says that they are not 0 to 1023. Black comes out as dark gray, white as light gray.
#
# x265 writes monochrome HEVC that FFmpeg decodes as gray or gray10le, tagged limited. swscale gives 64 of 1023 as it is,
# with src_color_range and dst_color_range asked for or not; yuv420p10le of the same levels gives 0. The deinterlacer
# bwdif takes gray and gray16le as they are, but gray10le goes in and gbrp10le comes out, range 2 instead of 1.
#
# Versions: PyAV 18.1.0 (FFmpeg 8.1.2), NumPy 2.2.6, Python 3.11.
# Seen: black of gray10le, tagged limited -> 64 of 1023 each time; of yuv420p10le -> 0; bwdif: gray10le -> gbrp10le, 1 -> 2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" "av==18.1.0" "numpy==2.2.6"
cat >"$folder/gray.py" <<'PROGRAM'
import sys
from fractions import Fraction

import av
import av.filter
import numpy as np


def black(name):
    frame = av.VideoFrame(64, 48, name)
    for index, plane in enumerate(frame.planes):
        np.frombuffer(plane, np.uint16)[:] = 64 if index == 0 else 512
    frame.color_range, frame.colorspace = 1, 1  # limited, BT.709
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    return frame


path = sys.argv[1]
with av.open(path, "w") as film:
    stream = film.add_stream("libx265", rate=25, options={"x265-params": "lossless=1:log-level=none"})
    stream.width, stream.height, stream.pix_fmt, stream.codec_context.color_range = 64, 48, "gray10le", 1
    film.mux(stream.encode(black("gray10le")))
    film.mux(stream.encode(None))
with av.open(path) as film:
    decoded = next(film.decode(video=0))
print(f"HEVC decoded: {decoded.format.name}, range {decoded.color_range}")
for frame in (decoded, black("yuv420p10le")):
    for asked in ({}, {"src_color_range": 1, "dst_color_range": 2}):
        rgb = frame.reformat(format="gbrp10le", **asked)
        level = np.frombuffer(rgb.planes[0], np.uint16)[0]
        print(f"{frame.format.name}, {'ranges asked for' if asked else 'nothing asked for'}: black is {level} of 1023")
for name in ("gray16le", "gray10le"):
    frame = black(name)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=64, height=48, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")).configure()
    graph.push(frame)
    graph.push(None)
    got = graph.pull()
    level = np.frombuffer(got.planes[0], np.uint16)[0]
    print(f"bwdif: {name}, range 1 -> {got.format.name}, range {got.color_range}; black is {level}")
PROGRAM
PYTHONPATH="$folder/packages" python3 "$folder/gray.py" "$folder/gray.mp4" | tee "$folder/seen.txt"
cat >"$folder/described.txt" <<'LINES'
HEVC decoded: gray10le, range 1
gray10le, nothing asked for: black is 64 of 1023
gray10le, ranges asked for: black is 64 of 1023
yuv420p10le, nothing asked for: black is 0 of 1023
yuv420p10le, ranges asked for: black is 0 of 1023
bwdif: gray16le, range 1 -> gray16le, range 1; black is 64
bwdif: gray10le, range 1 -> gbrp10le, range 2; black is 64
LINES
diff "$folder/described.txt" "$folder/seen.txt"
echo "as described"
