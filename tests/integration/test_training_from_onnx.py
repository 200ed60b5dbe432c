"""An exported file's network, read back: to train on, to calibrate, to export again."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from chroma import signature
from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lightness
from export.convert import to_onnx
from export.pipeline import export_run
from export.tolerances import Precision
from tests.synthetic_run import make_run
from tests.unit.training.pictures import landscape, write_shards
from training import CheckpointError, RecipeError, RunFolderError
from training.config import ModelConfig, OptimizerConfig, Recipe
from training.data.batches import BatchMaker
from training.data.photographs import open_photographs
from training.network.model import HEADS, build_model
from training.network.onnx_weights import load_exported, read_exported, restore_normalization
from training.recipes import load_recipe
from training.run import run_folder
from training.run.starting import unpack
from training.run.train import RunOptions, train

pytestmark = pytest.mark.training

SHIPPED = Path(__file__).parents[2] / "service" / "model" / "default.onnx"
SCENES = ("beach", "meadow")
TINY = load_recipe("tiny")
RECIPE = replace(TINY, data=replace(TINY.data, scenes="scene"), epochs=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("source") / "origin", scenes=SCENES, recipe=RECIPE)


@pytest.fixture(scope="module")
def exported(source: Path) -> Path:
    return export_run(source, source.parent / "model.onnx").path


def heads(model: keras.Model, lightness: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in model.predict_on_batch(lightness).items()}


def assert_alike(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], share: float) -> None:
    for name, values in expected.items():
        assert np.abs(got[name] - values).max() <= share * np.abs(values).max(), name


def patterns(count: int = 8) -> np.ndarray:
    return np.random.default_rng(5).uniform(0, 100, (count, 64, 64, 1)).astype(np.float32)


@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-5), ("float16", 2e-3)])
def test_an_unpacked_file_is_the_run_it_was_exported_from(
    precision: Precision, share: float, source: Path, exported: Path, tmp_path: Path
) -> None:
    file = exported
    if precision != "float32":
        file = export_run(source, tmp_path / "model.onnx", precision=precision).path
    unpack(file, tmp_path / "run")
    again, before = run_folder.open_run(tmp_path / "run"), run_folder.open_run(source)
    assert_alike(heads(again.load_model(), patterns()), heads(before.load_model(), patterns()), share)
    np.testing.assert_array_equal(again.prior, before.prior)
    assert (again.scenes, again.curve, again.recipe.model) == (before.scenes, before.curve, before.recipe.model)
    # And can be exported again, which compares the two.
    assert export_run(tmp_path / "run", tmp_path / "again.onnx").stamp.run_id == "run"


def test_the_file_that_ships_can_be_trained_on(tmp_path: Path) -> None:
    unpack(SHIPPED, tmp_path / "run")
    model = run_folder.open_run(tmp_path / "run").load_model()
    lightness = resize_lightness(rgb_u8_to_lightness(landscape(4)), (64, 96))[None]
    session = onnxruntime.InferenceSession(SHIPPED)
    knobs = {name: np.ones(1, np.float32) for name in signature.KNOB_NAMES}
    names = list(HEADS)
    said = dict(zip(names, session.run(names, {signature.LIGHTNESS: lightness} | knobs), strict=True))
    assert_alike(heads(model, lightness), said, 2e-3)
    # Depthwise convolutions keep a normalization of their own in the file; the frozen ones stay as published.
    stem = model.get_layer("encoder_stage0_block0_depthwise_norm")
    assert not stem.trainable
    assert np.abs(keras.ops.convert_to_numpy(stem.gamma) - 1).max() > 0.1


def test_normalizations_get_statistics_and_compute_what_they_did(exported: Path) -> None:
    model = build_model(RECIPE.model, scenes=len(SCENES))
    load_exported(read_exported(exported), model)
    before = heads(model, patterns())
    restore_normalization(model, [patterns()[:5], patterns()[5:]])
    assert_alike(heads(model, patterns()), before, 1e-5)
    # In training they normalize by the batch: by the very photographs that the statistics are of, nothing changes but
    # for dropout, which touches the scene alone here.
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    assert all(np.abs(keras.ops.convert_to_numpy(layer.moving_mean)).max() > 0 for layer in norms)
    first = keras.Model(model.input, norms[0].output)
    np.testing.assert_allclose(first(patterns(), training=True), first(patterns(), training=False), atol=1e-3)


def test_a_run_starts_from_a_file(exported: Path, tmp_path: Path) -> None:
    data = write_shards(tmp_path / "data", train=12, val=5)
    still = replace(RECIPE, optimizer=OptimizerConfig(learning_rate=1e-12, ema=0.0, weight_decay=0.0))
    options = RunOptions(data, tmp_path / "run", start_from=exported)
    train(still, options)
    note = json.loads((tmp_path / "run" / run_folder.START).read_text())
    assert note["run"] == "origin"
    trained = run_folder.open_run(tmp_path / "run").load_model()
    expected = build_model(RECIPE.model, scenes=len(SCENES))
    load_exported(read_exported(exported), expected)
    photographs = open_photographs(data, scenes="scene")
    maker = BatchMaker(photographs, photographs.split("train"), RECIPE.data, batch_size=4, seed=0)
    restore_normalization(expected, (maker.batch(step).lightness for step in range(8)))
    for variable, other in zip(expected.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), other.numpy(), atol=1e-5, err_msg=variable.path)
    with pytest.raises(RecipeError, match="was started from the weights of origin"):
        train(still, replace(options, start_from=None))


def test_a_file_that_does_not_fit_leaves_nothing_behind(exported: Path, tmp_path: Path) -> None:
    data = write_shards(tmp_path / "data", train=4, val=1)
    options = RunOptions(data, tmp_path / "run", start_from=exported)
    no_scenes = write_shards(tmp_path / "plain", train=4, val=1, columns=("key", "shard", "split"))
    cases: list[tuple[Recipe, RunOptions, type[Exception], str]] = [
        (replace(RECIPE, model=wider()), options, CheckpointError, "holds another network"),
        (RECIPE, replace(options, data=no_scenes), RecipeError, "knows other scenes"),
        (RECIPE, replace(options, start_from=data / "labels.csv"), CheckpointError, "cannot be read|has no stamp"),
    ]
    for recipe, changed, error, reason in cases:
        with pytest.raises(error, match=reason):
            train(recipe, changed)
        assert not (tmp_path / "run").exists()


def wider() -> ModelConfig:
    return replace(RECIPE.model, head_channels=RECIPE.model.head_channels + 4)


def test_more_layers_than_the_recipe_has_are_another_network(exported: Path) -> None:
    model = build_model(replace(RECIPE.model, head_channels=0), scenes=len(SCENES))
    with pytest.raises(CheckpointError, match="holds another network"):
        load_exported(read_exported(exported), model)


def test_what_is_no_file_of_ours_is_refused(exported: Path, source: Path, tmp_path: Path) -> None:
    bare = to_onnx(run_folder.open_run(source).load_model(), run_folder.open_run(source).decoder())
    onnx.save(bare, tmp_path / "bare.onnx")
    with pytest.raises(CheckpointError, match="has no stamp"):
        read_exported(tmp_path / "bare.onnx")
    coarse = onnx.load(exported)
    stamp = next(entry for entry in coarse.metadata_props if entry.key == signature.STAMP_KEY)
    stamp.value = stamp.value.replace('"precision": "float32"', '"precision": "int8"')
    onnx.save(coarse, tmp_path / "int8.onnx")
    with pytest.raises(CheckpointError, match="8-bit weights"):
        read_exported(tmp_path / "int8.onnx")
    with pytest.raises(CheckpointError, match=r"cannot be read"):
        read_exported(tmp_path / "nowhere.onnx")


def test_a_run_folder_is_never_written_over(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="is not empty"):
        unpack(exported, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
