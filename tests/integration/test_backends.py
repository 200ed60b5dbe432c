"""Weights trained under torch or jax are the same network under TensorFlow, and export.

Each backend trains recipe `tiny` for three steps in a process of its own (Keras picks its backend once), and says what
the trained network answers to fixed pictures. TensorFlow, in this process, must give the same answer from the same
weights file, and so must the exported model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from chroma.decoding import Knobs
from export.pipeline import export_run
from export.verify import make_lightness, run
from tests.starter import Starter
from tests.unit.training.pictures import write_shards
from training.network.model import HEADS
from training.run.prediction import predict_heads
from training.run.run_folder import open_run

pytestmark = pytest.mark.training

TOLERANCE = 1e-4
"""Absolute, Lab units and nats; measured 2e-5. After three steps the regression is within 40 Lab units, as real colors
are, so nothing is scaled."""
LARGEST = 40.0

TRAIN = """
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from training.run.prediction import predict_heads
from training.recipes import load_recipe
from training.run.run_folder import open_run
from training.run.train import RunOptions, train

data, folder, lightness, answer = map(Path, sys.argv[1:])
steps = []
tiny = load_recipe("tiny")
# Three steps go nowhere at tiny's own pace.
bold = replace(tiny, optimizer=replace(tiny.optimizer, learning_rate=0.03, warmup=0.0, ema=0.0))
train(bold, RunOptions(data, folder, epochs=1), watch=steps.append)
heads = predict_heads(open_run(folder).load_model(), np.load(lightness))
np.savez(answer, backend=keras.backend.backend(), steps=len(steps), **heads)
"""


@dataclass(frozen=True)
class Trained:
    """A run of another backend, and what its network answers there."""

    folder: Path
    lightness: np.ndarray
    heads: dict[str, np.ndarray]


@pytest.fixture(
    scope="module",
    params=[pytest.param("torch", marks=pytest.mark.torch), pytest.param("jax", marks=pytest.mark.jax)],
)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, starter: Callable[[str], Starter]
) -> Trained:
    folder = tmp_path_factory.mktemp(request.param)
    data = write_shards(folder / "data", train=12, val=4)
    lightness = make_lightness(2, 64, 96)
    np.save(folder / "lightness.npy", lightness)
    arguments = [data, folder / "run", folder / "lightness.npy", folder / "answer.npz"]
    starter(request.param).code(TRAIN, *arguments).finish()
    with np.load(folder / "answer.npz") as answer:
        assert answer["backend"] == request.param
        assert answer["steps"] == 3
        return Trained(folder / "run", lightness, {name: answer[name] for name in HEADS})


def test_the_answer_is_one_that_can_be_compared(trained: Trained) -> None:
    for name, head in trained.heads.items():
        assert head.dtype == np.float32
        assert np.abs(head).max() < LARGEST, name
        # The scene head has hardly begun; a difference in the others would show.
        assert name == "scene_logits" or head.std() > 10 * TOLERANCE, name


def test_its_weights_give_the_same_answer_under_tensorflow(trained: Trained) -> None:
    heads = predict_heads(open_run(trained.folder).load_model(), trained.lightness)
    assert set(heads) == {*trained.heads, "lightness"}
    for name, head in trained.heads.items():
        assert np.abs(head - heads[name]).max() <= TOLERANCE, name


def test_its_run_exports_and_the_model_gives_the_same_answer(trained: Trained, tmp_path: Path) -> None:
    exported = export_run(trained.folder, tmp_path / "model.onnx")
    session = ort.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    knobs = [Knobs(1.0, 0.0, 1.0, 1.0)] * len(trained.lightness)
    heads = run(session, trained.lightness, knobs)
    for name, head in trained.heads.items():
        assert np.abs(heads[name] - head).max() <= TOLERANCE, name
