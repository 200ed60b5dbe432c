#!/bin/sh
# OpenCV's `imdecode` and `imread` hold a decoded picture twice; `imread` with a second argument, an array or None, once.
#
# Functions that return a picture decode into OpenCV's own memory, which the bindings then copy into NumPy's. The second
# form of `imread` decodes right into an array, also one that it makes itself; `imdecode` has no such form.
#
# Versions: opencv-python-headless 5.0.0.93, NumPy 2.2.6, Python 3.11, Linux.
# Seen, most memory beyond before, as a multiple of the picture's bytes: imdecode 2.0, imread 2.0, imread into None 1.0,
# imread into an array 1.0; the pixels are the same.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/read.py" <<'PROGRAM'
import hashlib
import resource
import sys

sys.path.insert(0, sys.argv[1])
import cv2
import numpy as np

SIDE = 4000
name, way = sys.argv[2:]
FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
if way == "write":
    noise = np.random.default_rng(1).integers(0, 256, (SIDE // 16, SIDE // 16, 3), np.uint8)
    cv2.imwrite(name, cv2.resize(noise, (SIDE, SIDE)))
    sys.exit()
small = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1]
cv2.imdecode(small, FLAGS)  # loads what the first call loads
data = np.fromfile(name, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if way == "imdecode":
    picture = cv2.imdecode(data, FLAGS)
elif way == "imread":
    picture = cv2.imread(name, FLAGS)
elif way == "imread into None":
    picture = cv2.imread(name, None, FLAGS)
else:
    picture = cv2.imread(name, np.empty((SIDE, SIDE, 3), np.uint8), FLAGS)
most = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(f"{way}: {most / picture.nbytes:.0f} times, {hashlib.sha256(picture).hexdigest()[:8]}")
PROGRAM
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/lib" \
    "opencv-python-headless==5.0.0.93" "numpy==2.2.6"
python3 "$folder/read.py" "$folder/lib" "$folder/picture.jpg" write
for way in imdecode imread "imread into None" "imread into an array"; do
    python3 "$folder/read.py" "$folder/lib" "$folder/picture.jpg" "$way"
done | tee "$folder/seen.txt"
test "$(cut -d, -f2 "$folder/seen.txt" | sort -u | wc -l)" = 1
cut -d, -f1 "$folder/seen.txt" >"$folder/multiples.txt"
cat >"$folder/wanted.txt" <<'WANTED'
imdecode: 2 times
imread: 2 times
imread into None: 1 times
imread into an array: 1 times
WANTED
diff "$folder/wanted.txt" "$folder/multiples.txt"
echo "as described"
