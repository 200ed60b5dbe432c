#!/bin/sh
# ONNX Runtime runs every node of a model, also those that lead to no output that is asked for; the run option
# `only_execute_path_to_fetches` changes nothing, and neither does taking the output out of the graph: no optimization
# removes a node whose result nobody reads.
#
# What was not asked for is computed and thrown away: a head that only some callers want costs all of them, unless its
# nodes are taken out of the file.
#
# Versions: onnxruntime 1.32.0, onnx 1.22.0, NumPy 2.2.6, Python 3.11.
# Seen, by the runtime's own profile, asked for the output of Add alone: Add and MatMul ran, in all three cases.
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

GRAPH = """<ir_version: 8, opset_import: ["": 17]>
two_results (float[64, 64] x) => (OUTPUTS) { small = Add(x, x) large = MatMul(x, x) }"""


def ran(outputs, only=False):
    options, how = ort.SessionOptions(), ort.RunOptions()
    options.enable_profiling = True
    options.profile_file_prefix = f"{sys.argv[1]}/profile"
    if only:
        how.only_execute_path_to_fetches = True
    text = GRAPH.replace("OUTPUTS", ", ".join(f"float[64, 64] {name}" for name in outputs))
    model = onnx.parser.parse_model(text).SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(["small"], {"x": np.ones((64, 64), np.float32)}, how)
    with open(session.end_profiling()) as file:
        return sorted({event["args"]["op_name"] for event in json.load(file) if "op_name" in event.get("args", {})})


print("without the option: ran", *ran(["small", "large"]))
print("with the option: ran", *ran(["small", "large"], only=True))
print("without the output: ran", *ran(["small"]))
PROGRAM
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$folder/lib" \
    "onnxruntime==1.32.0" "onnx==1.22.0" "numpy==2.2.6"
python3 "$folder/run.py" "$folder/lib" | tee "$folder/seen.txt"
diff - "$folder/seen.txt" <<'SEEN'
without the option: ran Add MatMul
with the option: ran Add MatMul
without the output: ran Add MatMul
SEEN
echo "as described"
