"""The exported file against the network it came from, judged by this test and not by export itself."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from chroma.bins import load_centers
from chroma.decoding import Knobs
from export import ToleranceError, convert, pipeline
from export.convert import to_onnx
from export.pipeline import export_run
from export.tolerances import TOLERANCES, Precision, tolerances_for
from export.verify import PICTURE, make_lightness, run
from service.engine.colorizer import colorize
from service.engine.options import Options
from service.engine.session import Session
from service.pictures.decode import Picture
from tests.synthetic_run import make_prior, make_run
from training.config import ModelConfig
from training.network import encoder
from training.network.model import HEADS, build_model
from training.recipes import load_recipe
from training.run.prediction import Decoder, predict_heads
from training.run.run_folder import open_run

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
CALM = Knobs(0.38, 0.0, 1.0, 1.0)
DAY = date(2026, 11, 23)
LIVELY = {"ab": 50.0, "ab_logits": 10.0, "scene_logits": 5.0}
"""Largest value of a trained network's heads, Lab units and nats."""
FLOAT32 = 1e-5
"""Relative to that, what float32 sums in another order may differ by."""


ORIGINAL: dict[str, Any] = {
    **{"scene_fusion": False, "pretrained": False, "frozen_stages": 0},
    **{"unet_channels": (2, 4, 8, 8), "head_channels": 0, "regression_channels": 0, "global_features": 8},
}
NETWORKS = {
    "unet of 4 levels": (ModelConfig("unet", unet_channels=(2, 4, 8, 16), decoder_channels=(8, 8)), 7),
    "unet without scenes": (ModelConfig("unet", unet_channels=(2, 4, 8, 16), decoder_channels=(8, 8)), 1),
    "unet of 6 levels": (ModelConfig("unet", unet_channels=(2, 4, 4, 8, 8, 8), dropout=0.0), 7),
    "efficientnet_lite2": (ModelConfig(pretrained=False, frozen_stages=0, decoder_channels=(16, 16, 16, 16)), 7),
    "the original's unet": (ModelConfig("unet", "unet", decoder_channels=(8,), **ORIGINAL), 7),
    "the original's unet with segmentation": (
        ModelConfig("unet", "unet", decoder_channels=(8,), segmentation_classes=5, **ORIGINAL),
        7,
    ),
    "multi-level embedding": (ModelConfig("multi_level", "unet", decoder_channels=(8,), **ORIGINAL), 7),
    "eccv16": (ModelConfig("vgg", "plain", decoder_channels=(8,), **ORIGINAL), 7),
}


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and beside it the file that float32 gives."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "made_up")
    export_run(folder, folder / "model.onnx", created=DAY)
    return folder


@pytest.fixture(scope="module")
def decode() -> onnx.GraphProto:
    """The graph of the decode, which is the same whatever the network."""
    return convert.decode_graph(Decoder.of_prior(make_prior(), load_centers()))


@pytest.mark.parametrize(("config", "scenes"), list(NETWORKS.values()), ids=list(NETWORKS))
def test_every_network_exports(
    config: ModelConfig, scenes: int, decode: onnx.GraphProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "decode_graph", lambda _: decode)
    # The ECCV16 network has 32 M parameters; its shape is what matters here.
    monkeypatch.setattr(encoder, "VGG_BLOCKS", tuple((width // 16, *rest) for width, *rest in encoder.VGG_BLOCKS))
    if config.encoder == "multi_level":  # What repeats inside a stage is exported with `efficientnet_lite2`.
        stages = tuple((*stage[:-1], 1) for stage in encoder.LITE2_STAGES)
        monkeypatch.setattr(encoder, "LITE2_STAGES", stages)
    keras.utils.set_random_seed(5)
    network = build_model(config, scenes=scenes)
    # The heads of a fresh network are nearly 0; these become as lively as trained ones.
    fresh = predict_heads(network, make_lightness(1, 64, 64))
    for layer, head in (("ab_logits", "ab_logits"), ("ab_unit", "ab"), ("scene_logits", "scene_logits")):
        kernel = network.get_layer(layer).kernel
        kernel.assign(kernel * (LIVELY[head] / np.abs(fresh[head]).max()))
    model = to_onnx(network, Decoder.of_prior(make_prior(), load_centers()))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in ((1, 64, 64), (2, 32, 96)):
        lightness = make_lightness(*shape)
        found = run(session, lightness, [CALM] * shape[0])
        heads = predict_heads(network, lightness)
        assert set(heads) == {*config.heads, "lightness"}
        for name in HEADS:
            head = heads[name]
            assert found[name].shape == head.shape
            assert np.abs(head).max() > LIVELY[name] / 10
            assert np.abs(found[name] - head).max() <= FLOAT32 * LIVELY[name], name


def test_a_run_with_a_segmentation_head_exports_without_it(tmp_path: Path) -> None:
    """Training writes weights with the head; the exported file, its stamp and its comparison know nothing of it."""
    tiny = load_recipe("tiny")
    recipe = replace(tiny, model=replace(tiny.model, segmentation_classes=6))
    folder = make_run(tmp_path / "run", recipe=recipe)
    heads = predict_heads(open_run(folder).load_model(), make_lightness(1, 32, 32))
    assert set(heads) == {*recipe.model.heads, "lightness"}
    exported = export_run(folder, tmp_path / "model.onnx")
    names = [output.name for output in onnx.load(exported.path).graph.output]
    assert names == ["ab", "ab_decoded", "ab_logits", "scene_logits", "spread"]
    plain = build_model(tiny.model, scenes=3)
    assert exported.stamp.parameters == plain.count_params()


def test_the_weights_asked_for_are_exported(made_up: Path, tmp_path: Path) -> None:
    first, second = Path(shutil.copytree(made_up, tmp_path / "first")), make_run(tmp_path / "second", seed=2)
    (second / "best.weights.h5").rename(first / "other.weights.h5")
    outputs = []
    lightness = make_lightness(1, 32, 32)
    other = export_run(first, tmp_path / "other.onnx", weights="other.weights.h5").path
    for weights, path in (("best.weights.h5", first / "model.onnx"), ("other.weights.h5", other)):
        outputs.append(run(ort.InferenceSession(path), lightness, [CALM])["ab_logits"])
        network = open_run(first).load_model(weights)
        assert np.abs(outputs[-1] - predict_heads(network, lightness)["ab_logits"]).max() <= 1e-4
    assert np.abs(outputs[0] - outputs[1]).max() > 0.1


def test_a_run_in_mixed_precision_exports_in_float32(made_up: Path, tmp_path: Path) -> None:
    """The recipe may compute in bfloat16; what is exported and compared is float32."""
    folder = Path(shutil.copytree(made_up, tmp_path / "mixed"))
    (folder / "recipe.json").write_text(replace(load_recipe("tiny"), mixed_precision=True).to_json())
    exported = export_run(folder, tmp_path / "mixed.onnx")
    kinds = {onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load(exported.path).graph.initializer}
    assert kinds <= {"FLOAT", "INT64", "INT32"}


def test_two_exports_of_a_run_are_one_file(made_up: Path, tmp_path: Path) -> None:
    first = (made_up / "model.onnx").read_bytes()
    second = export_run(made_up, tmp_path / "again.onnx", created=DAY)
    assert hashlib.sha256(first).hexdigest() == second.sha256
    assert first == second.path.read_bytes()


def test_the_command_exports_whatever_backend_the_environment_names(made_up: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model.onnx"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    result = command("-m", "export", made_up, "--out", out, environment=environment)
    assert result.returncode == 0, result.stderr
    assert hashlib.sha256(out.read_bytes()).hexdigest() in result.stdout
    assert oct(out.stat().st_mode & 0o444) == oct(made_up.joinpath("recipe.json").stat().st_mode & 0o444)


def command(*arguments: Any, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def write_photographs(folder: Path, *, count: int = 12) -> Path:
    """Write a folder of pictures, two of them for validation; the smallest has a side that is no multiple of 32."""
    rng = np.random.default_rng(0)
    for place in range(count):
        name = f"{place:02}.png" if place >= 2 else f"val/{place:02}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (100, 70 + place), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_rounded_export_is_proven_stamped_and_served(precision: Precision, made_up: Path, tmp_path: Path) -> None:
    plain = made_up / "model.onnx"
    photographs = write_photographs(tmp_path / "photographs") if precision == "int8" else None
    exported = export_run(made_up, tmp_path / "model.onnx", created=DAY, precision=precision, calibrate=photographs)

    onnx.checker.check_model(onnx.load(exported.path), full_check=True)
    assert exported.size_bytes < 0.95 * plain.stat().st_size
    assert exported.stamp.precision == precision
    assert exported.stamp.tolerances == tolerances_for(exported.stamp.parameters, precision)
    assert all(difference.is_small for difference in exported.differences)
    found = {(d.output, d.reference): d for d in exported.differences}
    assert found[PICTURE, "float32"].largest > 0
    assert found["ab_logits", "Keras"].largest > 10 * TOLERANCES["ab_logits"]
    # What is not rounded is held to what float32 is held to.
    assert found["ab_decoded", "NumPy"].tolerance == TOLERANCES["ab_decoded"]

    sessions = [Session(path, device="cpu", threads=1) for path in (plain, exported.path)]
    assert replace(sessions[1].stamp, precision="float32", tolerances=TOLERANCES) == sessions[0].stamp
    gray = cv2.imread(str(ROOT / "tests" / "data" / "coffee.jpg"), cv2.IMREAD_GRAYSCALE)
    pictures = [colorize(Picture(gray), Options(), session).rgb for session in sessions]
    assert 0 < np.abs(np.subtract(*pictures, dtype=np.int16)).mean() <= 1


def test_a_network_that_is_wrong_in_float32_is_not_rounded(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wider tolerances of float16 are for rounding alone."""

    def convert(model: Any, decoder: Decoder) -> onnx.ModelProto:
        graph = to_onnx(model, decoder)
        bias = next(t for t in graph.graph.initializer if "ab_logits" in t.name and list(t.dims) == [313])
        shifted = onnx.numpy_helper.to_array(bias) + np.linspace(0, 1e-3, 313, dtype=np.float32)
        bias.CopyFrom(onnx.numpy_helper.from_array(shifted, bias.name))
        return graph

    monkeypatch.setattr(pipeline, "to_onnx", convert)
    with pytest.raises(ToleranceError, match="ab_logits"):
        export_run(made_up, tmp_path / "model.onnx", precision="float16")
    assert not (tmp_path / "model.onnx").exists()
