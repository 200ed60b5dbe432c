#!/bin/sh
# Keras on TensorFlow traces a model's first training step twice, even when model and optimizer are built before it.
#
# `tf.function` traces again where variables come into being during the first trace. Who builds the optimizer by hand
# to avoid that gains nothing where several losses are named: the means of the losses are variables too, they are made
# by the first call of the losses, and that is inside the trace. With many layers tracing is most of the start of a run.
# One eager `compute_loss` on any batch makes them, and the step is traced once.
#
# Versions: Keras 3.15.1, TensorFlow 2.21.0 (tensorflow-cpu), NumPy 2.4.6, Python 3.11.
# Seen: two losses, "built by hand: 2", "after one compute_loss: 1"; one loss: once either way.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.4.6
cat >"$folder/trace.py" <<'PROGRAM'
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np

x = np.ones((4, 8), np.float32)


def traces(heads, prepare):
    given = keras.Input((8,))
    model = keras.Model(given, {name: keras.layers.Dense(1, name=name)(given) for name in heads})
    calls = []

    def loss(truth, guess):
        calls.append(1)  # Python runs while a step is traced, and not when it is taken.
        return keras.ops.mean(keras.ops.square(truth - guess), axis=-1)

    model.compile("sgd", loss={name: loss for name in heads}, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    y = {name: np.zeros((4, 1), np.float32) for name in heads}
    if prepare:
        model.compute_loss(x, y, model(x))
        calls.clear()
    for _ in range(3):
        model.train_on_batch(x, y)
    return len(calls) // len(heads)


for heads in (("one",), ("one", "two")):
    for prepare in (False, True):
        print(f"{len(heads)} losses, {'after one compute_loss' if prepare else 'built by hand'}: {traces(heads, prepare)}")
PROGRAM
"$folder/venv/bin/python" "$folder/trace.py" 2>/dev/null | tee "$folder/seen.txt"
diff - "$folder/seen.txt" <<'SEEN'
1 losses, built by hand: 1
1 losses, after one compute_loss: 1
2 losses, built by hand: 2
2 losses, after one compute_loss: 1
SEEN
echo "as described"
