#!/bin/sh
# ONNX Runtime runs every node of a model, also those that lead to no output that is asked for; the run option
# `only_execute_path_to_fetches` changes nothing, and neither does taking the output out of the graph: no optimization
# removes a node whose result nobody reads.
#
# What was not asked for is computed and thrown away: a head that only some callers want costs all of them, unless its
# nodes are taken out of the file.
#
# Versions: onnxruntime 1.32.0, onnx 1.22.0, NumPy 2.2.6, Python 3.11.
# Seen, by the runtime's own profile, asked for the output of "double" alone: "double, wide" ran, in all three cases.
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


def model_with(*outputs):
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["small"], "double"),
            helper.make_node("MatMul", ["x", "x"], ["large"], "wide"),
        ],
        "two results",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [64, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in outputs],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def ran(model, only=False):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = f"{sys.argv[1]}/profile"
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    how = ort.RunOptions()
    if only:
        how.only_execute_path_to_fetches = True
    session.run(["small"], {"x": np.ones((64, 64), np.float32)}, how)
    with open(session.end_profiling()) as file:
        events = json.load(file)
    names = {event["name"].removesuffix("_kernel_time") for event in events if event["name"].endswith("_kernel_time")}
    return ", ".join(sorted(names))


both = model_with("small", "large")
print("without the option: ran", ran(both))
print("with the option: ran", ran(both, only=True))
print("without the output: ran", ran(model_with("small")))
PROGRAM
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/lib" \
    "onnxruntime==1.32.0" "onnx==1.22.0" "numpy==2.2.6"
python3 "$folder/run.py" "$folder/lib" | tee "$folder/seen.txt"
diff - "$folder/seen.txt" <<'SEEN'
without the option: ran double, wide
with the option: ran double, wide
without the output: ran double, wide
SEEN
echo "as described"
