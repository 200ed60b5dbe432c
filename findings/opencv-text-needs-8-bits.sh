#!/bin/sh
# OpenCV 5 draws text on 8-bit pictures alone; lines, rectangles, circles and ellipses still go onto float ones.
#
# OpenCV 4.12 draws text with the same Hershey strokes as lines, on any depth: people write onto lightness or masks kept
# as float32. OpenCV 5.0 has a new text engine, and `putText` on anything but uint8 raises. The shapes beside it do not,
# so a program that draws both fails at its first word only.
#
# Versions: opencv-python-headless 4.12.0.88 and 5.0.0.93, NumPy 2.2.6, Python 3.11.
# Seen: 4.12 "putText float32: drawn", 5.0 "putText float32: error (img.depth() == CV_8U)"; shapes drawn by both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/draw.py" <<'PROGRAM'
import sys

sys.path.insert(0, sys.argv[1])
import cv2
import numpy as np


def outcome(draw, dtype):
    picture = np.zeros((60, 160), dtype)
    try:
        draw(picture)
    except cv2.error as error:
        return f"error ({error.err})"
    return "drawn" if picture.any() else "nothing drawn"


shapes = {
    "line": lambda p: cv2.line(p, (5, 5), (150, 50), 200.0, 1),
    "rectangle": lambda p: cv2.rectangle(p, (5, 5), (150, 50), 200.0, 1),
    "circle": lambda p: cv2.circle(p, (80, 30), 20, 200.0, 1),
    "ellipse": lambda p: cv2.ellipse(p, (80, 30), (40, 20), 0, 0, 360, 200.0, 1),
    "putText": lambda p: cv2.putText(p, "No. 7", (5, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 200.0, 1),
}
for name, draw in shapes.items():
    for dtype in (np.uint8, np.float32):
        print(f"{name} {dtype.__name__}: {outcome(draw, dtype)}")
PROGRAM
drawn='line uint8: drawn
line float32: drawn
rectangle uint8: drawn
rectangle float32: drawn
circle uint8: drawn
circle float32: drawn
ellipse uint8: drawn
ellipse float32: drawn
putText uint8: drawn'
for version in 4.12.0.88 5.0.0.93; do
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder/$version" \
        "opencv-python-headless==$version" "numpy==2.2.6"
    python3 "$folder/draw.py" "$folder/$version" >"$folder/$version.txt"
    echo "OpenCV $version"
    cat "$folder/$version.txt"
done
printf '%s\nputText float32: drawn\n' "$drawn" | diff - "$folder/4.12.0.88.txt"
printf '%s\nputText float32: error (img.depth() == CV_8U)\n' "$drawn" | diff - "$folder/5.0.0.93.txt"
echo "as described"
