#!/bin/sh
# ONNX Runtime runs every node of a model, also those that lead to no output that is asked for; the run option
# `only_execute_path_to_fetches` changes nothing.
#
# What was not asked for is computed and thrown away: a head that only some callers want costs all of them.
#
# Versions: onnxruntime 1.32.0, onnx 1.22.0, NumPy 2.2.6, Python 3.11.
# Seen, by the runtime's own profile, asked for the output of "double" alone: "double, wide" ran, with it and without.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'PROGRAM'
import json
import sys

sys.path.insert(0, sys.argv[1])
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

graph = helper.make_graph(
    [helper.make_node("Add", ["x", "x"], ["small"], "double"), helper.make_node("MatMul", ["x", "x"], ["large"], "wide")],
    "two outputs",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in ("small", "large")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def ran(what, only):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = f"{sys.argv[1]}/profile"
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    how = ort.RunOptions()
    if only:
        how.only_execute_path_to_fetches = True
    session.run([what], {"x": np.ones((64, 64), np.float32)}, how)
    with open(session.end_profiling()) as file:
        events = json.load(file)
    names = {event["name"].removesuffix("_kernel_time") for event in events if event["name"].endswith("_kernel_time")}
    return ", ".join(sorted(names))


for only in (False, True):
    print(f"{'with' if only else 'without'} the option: ran", ran("small", only))
PROGRAM
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/lib" \
    "onnxruntime==1.32.0" "onnx==1.22.0" "numpy==2.2.6"
python3 "$folder/run.py" "$folder/lib" | tee "$folder/seen.txt"
diff - "$folder/seen.txt" <<'SEEN'
without the option: ran double, wide
with the option: ran double, wide
SEEN
echo "as described"
