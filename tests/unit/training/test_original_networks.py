"""The networks of the original systems against their publications."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.original_recipes import CLASSES, NAMES, SCENES, make_batch, narrow, narrow_backbones
from tests.synthetic_run import make_prior
from training import RecipeError
from training.config import ModelConfig
from training.network.encoder import LITE2_LEVELS, build_encoder, load_pretrained
from training.network.losses import compile_model
from training.network.model import HEADS, build_model, without_segmentation
from training.network.optimization import build_optimizer
from training.recipes import load_recipe

pytestmark = pytest.mark.training


def lightness(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (*shape, 1)).astype(np.float32)


@pytest.fixture
def small() -> Iterator[None]:
    with narrow_backbones():
        yield


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", NAMES)
def test_the_heads_have_a_quarter_of_any_size(name: str) -> None:
    config = narrow(name).model
    model = build_model(config, scenes=SCENES)
    for batch, height, width in ((1, 64, 96), (2, 32, 32)):
        heads = model.predict_on_batch(lightness(batch, height, width))
        channels = {"ab_logits": 313, "ab": 2, "segmentation_logits": CLASSES}
        for head in config.heads:
            expected = (batch, SCENES) if head == "scene_logits" else (batch, height // 4, width // 4, channels[head])
            assert heads[head].shape == expected
            assert heads[head].dtype == np.float32
            assert np.isfinite(heads[head]).all()
        assert set(heads) == set(config.heads)


def test_only_label_maps_add_a_head() -> None:
    assert load_recipe("scene_context_unet").model.heads == HEADS
    assert load_recipe("seg_scene_context_unet").model.heads == (*HEADS, "segmentation_logits")


@pytest.mark.usefixtures("small")
def test_without_its_segmentation_a_network_answers_the_same() -> None:
    model = build_model(narrow("seg_scene_context_unet").model, scenes=SCENES)
    part, batch = without_segmentation(model), lightness(1, 64, 64)
    assert set(part.output) == set(HEADS)
    assert_array_equal(part.predict_on_batch(batch)["ab_logits"], model.predict_on_batch(batch)["ab_logits"])
    assert without_segmentation(part) is part


def widths(model: keras.Model, prefix: str) -> list[tuple[int, int]]:
    """Channels in and out of the 3x3 and larger convolutions of a part, in order."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return [(layer.kernel.shape[-2], layer.filters) for layer in layers if layer.name.startswith(prefix)]


def test_the_unet_is_that_of_the_published_figure() -> None:
    """Down 64-128-256-512-1024, two convolutions a level; up: enlarge to half the channels, join, two convolutions."""
    model = build_model(load_recipe("scene_context_unet").model, scenes=365)
    down = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 1024)]
    assert widths(model, "encoder_") == [*down, (1024, 1024)]
    assert widths(model, "decoder8_") == [(1024, 512), (1024, 512), (512, 512)]
    assert widths(model, "decoder4_") == [(512, 256), (512, 256), (256, 256)]
    assert sorted(widths(model, "ab_")) == [(256, 2), (256, 313)]
    assert model.get_layer("context_dense").kernel.shape == (1024, 1024)
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == 4
    # One normalization a level on the way down, two on the way up, each right after a ReLU.
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 5 + 2 * 2
    relus = {id(layer.output) for layer in model.layers if isinstance(layer, keras.layers.ReLU)}
    assert all(id(norm.input) in relus for norm in norms)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["scene_context_unet", "zhang"])
def test_the_originals_scene_head_feeds_nothing_back_and_ours_does(name: str) -> None:
    config = narrow(name).model
    for fusion in (False, True):
        model = build_model(replace(config, scene_fusion=fusion), scenes=SCENES)
        for film in [layer for layer in model.layers if layer.name.endswith("_film")]:
            film.set_weights([np.full_like(weight, 0.3) for weight in film.get_weights()])
        before = model.predict_on_batch(lightness(1, 32, 32))
        dense = model.get_layer("context_dense")
        dense.set_weights([dense.get_weights()[0], np.full(dense.units, 3.0, np.float32)])
        after = model.predict_on_batch(lightness(1, 32, 32))
        assert np.abs(before["scene_logits"] - after["scene_logits"]).max() > 0
        assert (np.abs(before["ab_logits"] - after["ab_logits"]).max() > 0) == fusion


def test_the_originals_regression_stays_within_128() -> None:
    with narrow_backbones():
        model = build_model(narrow("scene_context_unet").model, scenes=SCENES)
    unit = model.get_layer("ab_unit")
    unit.set_weights([unit.get_weights()[0], np.array([50.0, -50.0], np.float32)])
    ab = model.predict_on_batch(lightness(1, 32, 32))["ab"]
    assert_allclose(ab, np.broadcast_to([128, -128], ab.shape))


def torch_eccv16(model: keras.Model, L: np.ndarray) -> np.ndarray:
    """The ECCV16 network written down a second time, in PyTorch's terms; returns logits of the bins."""
    import torch
    from torch.nn import functional

    def weights(name: str) -> list[Any]:
        return [torch.from_numpy(weight) for weight in model.get_layer(name).get_weights()]

    def convolve(x: Any, name: str, **options: int) -> Any:
        kernel, bias = weights(name)
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, **options)

    x = torch.from_numpy((L - 50) / 50).permute(0, 3, 1, 2)
    for block, (convolutions, stride, dilation) in enumerate(
        ((2, 2, 1), (2, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2), (3, 1, 2), (3, 1, 1)), start=1
    ):
        for place in range(1, convolutions + 1):
            step = stride if place == convolutions else 1
            name = f"encoder_conv{block}_conv{place}"
            x = functional.relu(convolve(x, name, stride=step, padding=dilation, dilation=dilation))
        mean, variance = weights(f"encoder_conv{block}_norm")
        x = functional.batch_norm(x, mean, variance, training=False, eps=1e-5)
    kernel, bias = weights("decoder4_up")
    x = functional.relu(functional.conv_transpose2d(x, kernel.permute(3, 2, 0, 1), bias, stride=2, padding=1))
    for place in (1, 2):
        x = functional.relu(convolve(x, f"decoder4_conv{place}", padding=1))
    return convolve(x, "ab_logits").permute(0, 2, 3, 1).numpy()


@pytest.mark.torch
def test_the_eccv16_network_equals_an_independent_forward_pass() -> None:
    keras.utils.set_random_seed(0)
    model = build_model(load_recipe("zhang").model, scenes=1)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            mean, variance = (weight.shape for weight in layer.weights)
            layer.set_weights([rng.normal(0, 0.3, mean), rng.uniform(0.5, 1.5, variance)])
    batch = lightness(1, 64, 96)
    expected = torch_eccv16(model, batch)
    got = model.predict_on_batch(batch)["ab_logits"]
    assert got.shape == (1, 16, 24, 313)
    assert np.abs(expected).max() > 0.1
    assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_multi_level_embedding_reads_pretrained_features_of_every_level() -> None:
    """Each level reaches its skip and the deepest level, and is what EfficientNet-Lite2 gives by itself."""
    config = replace(load_recipe("mleu").model, unet_channels=(4, 8, 8, 16, 16), decoder_channels=(8, 8))
    inputs = keras.Input((None, None, 1), name="lightness")
    joined = build_encoder(config, inputs)
    assert {stride: feature.shape[-1] for stride, feature in joined.items()} == {4: 8 + 4, 8: 16 + 8, 16: 16 + 4 * 4}
    whole = keras.Model(inputs, joined)
    load_pretrained(whole)
    alone_inputs = keras.Input((None, None, 1))
    alone = keras.Model(alone_inputs, build_encoder(ModelConfig(), alone_inputs))
    load_pretrained(alone)
    names = {4: "encoder_stage1_block2_add", 8: "encoder_stage2_block2_add", 16: "encoder_stage4_block3_add"}
    names[32] = "encoder_stage6_block0_project_norm"
    assert set(names) == set(LITE2_LEVELS.values())
    inside = keras.Model(inputs, {stride: whole.get_layer(name).output for stride, name in names.items()})
    batch = lightness(1, 64, 64)
    got, expected = inside.predict_on_batch(batch), alone.predict_on_batch(batch)
    for stride in names:
        assert_array_equal(got[stride], expected[stride])


@pytest.mark.usefixtures("small")
def test_pretrained_features_stay_frozen_and_the_rest_trains() -> None:
    recipe = narrow("mleu")
    keras.utils.set_random_seed(0)  # Some starts let a layer as narrow as these be blind to a single batch.
    model = build_model(recipe.model, scenes=SCENES)
    compile_model(model, build_optimizer(recipe.optimizer), recipe.loss, make_prior())
    before = {weight.path: keras.ops.convert_to_numpy(weight.value).copy() for weight in model.weights}
    model.train_on_batch(*make_batch(recipe.model))
    changed = {path for path, value in before.items() if not np.array_equal(value, _now(model, path))}
    pretrained = {path for path in before if path.startswith(("encoder_stem", "encoder_stage"))}
    assert len(pretrained) > 50
    assert not changed & pretrained
    assert {path for path in before if path.startswith("encoder_embed") and path.endswith("kernel")} <= changed
    assert {path for path in before if path.startswith("encoder_level") and path.endswith("kernel")} <= changed


def _now(model: keras.Model, path: str) -> np.ndarray:
    return keras.ops.convert_to_numpy(next(weight for weight in model.weights if weight.path == path).value)


@pytest.mark.parametrize("channels", [(4, 4, 4), (4, 4, 4, 4), (4, 4, 4, 4, 4, 4)])
@pytest.mark.usefixtures("small")
def test_embedding_fits_a_unet_of_any_depth(channels: tuple[int, ...]) -> None:
    """Levels finer than the deepest are pooled, coarser ones enlarged."""
    inputs = keras.Input((None, None, 1))
    config = ModelConfig(
        "multi_level", "unet", pretrained=False, unet_channels=channels, decoder_channels=(4,) * (len(channels) - 3)
    )
    features = keras.Model(inputs, build_encoder(config, inputs)).predict_on_batch(lightness(1, 64, 32))
    for stride, feature in features.items():
        assert feature.shape[:3] == (1, 64 // stride, 32 // stride)
    assert max(features) == 2 ** (len(channels) - 1)


@pytest.mark.parametrize(
    ("options", "entries"),
    [
        ({"encoder": "unet"}, 3),
        ({"encoder": "unet", "decoder": "unet"}, 2),
        ({"encoder": "unet", "decoder": "plain", "unet_channels": (4, 4, 4, 4)}, 1),
        ({"encoder": "vgg"}, 2),
        ({"encoder": "vgg", "decoder": "plain"}, 1),
        ({"encoder": "efficientnet_lite2", "decoder": "plain"}, 3),
        ({"encoder": "multi_level", "unet_channels": (4,) * 6}, 4),
    ],
)
def test_decoder_channels_are_counted_by_encoder_and_decoder(options: dict[str, Any], entries: int) -> None:
    assert len(ModelConfig(decoder_channels=(8,) * entries, **options).decoder_channels) == entries
    for wrong in (entries - 1, entries + 1):
        with pytest.raises(RecipeError, match=f"needs {entries} entries .* has {wrong}"):
            ModelConfig(decoder_channels=(8,) * wrong, **options)
