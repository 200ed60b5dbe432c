"""bfloat16 computes, float32 keeps: training with mixed precision learns on each backend."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.starter import Starter
from tests.unit.training.pictures import write_shards
from training.run.history import read_rows

pytestmark = pytest.mark.training

TRAIN = """
import json, sys
from pathlib import Path

import keras

from training.network.averaging import averaged_weights
from training.recipes import load_recipe
from training.run.train import RunOptions, train
import training.run.train

seen = {}
build = training.run.train.build_model

def watched(*arguments, **options):
    seen["model"] = build(*arguments, **options)
    return seen["model"]

training.run.train.build_model = watched
options = ["mixed_precision=true", "steps=30", "evaluate_every=10", "batch_size=8", "data.crop_px=32",
           "data.contrast=0.0", "optimizer.learning_rate=0.01", "model.unet_channels=[4,8,8]",
           "model.decoder_channels=[8]"]
data, folder = map(Path, sys.argv[1:])
train(load_recipe("tiny").with_options(options), RunOptions(data, folder, tensorboard=False))
model = seen["model"]
heads = model(keras.ops.zeros((1, 32, 32, 1)))
print(json.dumps({
    "backend": keras.backend.backend(),
    "computed": sorted({layer.compute_dtype for layer in model.layers}),
    "weights": sorted({str(variable.dtype) for variable in model.weights}),
    "slots": sorted({str(variable.dtype) for variable in model.optimizer.variables} - {"int32", "int64"}),
    "heads": sorted({keras.backend.standardize_dtype(head.dtype) for head in heads.values()}),
}))
"""


@pytest.mark.parametrize(
    "backend",
    [
        "tensorflow",
        pytest.param("torch", marks=pytest.mark.torch),
        pytest.param("jax", marks=pytest.mark.jax),
    ],
)
def test_mixed_precision_learns_and_keeps_float32(
    backend: str, tmp_path: Path, starter: Callable[[str], Starter]
) -> None:
    data = write_shards(tmp_path / "data", train=8, val=2)
    child = starter(backend).code(TRAIN, data, tmp_path / "run")
    child.finish()
    found = json.loads(child.stdout.splitlines()[-1])
    assert found["backend"] == backend
    assert "bfloat16" in found["computed"]
    assert found["weights"] == found["slots"] == found["heads"] == ["float32"]
    rows = read_rows(tmp_path / "run" / "steps.jsonl")
    assert sum(row["steps"] for row in rows) == 30
    first, last = rows[0]["ab_logits_loss"], rows[-1]["ab_logits_loss"]
    assert 0 < last < first - 0.5
