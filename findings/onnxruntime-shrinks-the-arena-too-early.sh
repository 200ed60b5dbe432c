#!/bin/sh
# ONNX Runtime's arena shrinkage at the end of a large run keeps what the run's output lies in, also once it is dropped.
#
# `memory.enable_memory_arena_shrinkage` is documented for the one request that was larger than the others. The arena is
# shrunk at the end of `run`, when the outputs are still in it: the largest blocks stay, and nothing frees them when the
# outputs go. A small run that asks for shrinkage after the outputs were dropped (or copied) gives all of it back.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6, Python 3.11, Linux.
# Seen, MB above the start, one output of 200 MB: plain run 398; shrinking run 207; small shrinking run afterwards 16.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat >"$folder/shrink.py" <<'PROGRAM'
import re

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

numbers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
steps = [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Add", ["square", "x"], ["y"])]
model = helper.make_model(
    helper.make_graph(steps, "g", numbers[:1], numbers[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=10
)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
shrinking = ort.RunOptions()
shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
small, large = np.ones(8, np.float32), np.ones(50_000_000, np.float32)


def resident_mb():
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/self/status").read())[1]) // 1024


def above_start(what, feed, options):
    session.run(None, {"x": feed}, options)  # The output is dropped at once.
    above = resident_mb() - start
    print(f"{what}: {above} MB above the start")
    return above


session.run(None, {"x": small})
start = resident_mb()
assert above_start("large run", large, None) > 300
assert above_start("small run that shrinks", small, shrinking) < 60
assert 150 < above_start("large run that shrinks", large, shrinking) < 300
assert above_start("small run that shrinks", small, shrinking) < 60
PROGRAM
"$folder/venv/bin/python" "$folder/shrink.py"
echo "as described"
