from dataclasses import replace

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from training.config import ModelConfig
from training.network.heads import AB_SCALE
from training.network.model import HEADS, build_model
from training.recipes import load_recipe

pytestmark = pytest.mark.training

TINY = load_recipe("tiny").model
MOST_PARAMETERS = 15_000_000


def lightness(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (*shape, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def tiny() -> keras.Model:
    return build_model(TINY, scenes=3)


def test_the_heads_have_the_names_of_the_signature(tiny: keras.Model) -> None:
    assert HEADS == (signature.AB_LOGITS, signature.AB, signature.SCENE_LOGITS)
    assert tiny.input.name == signature.LIGHTNESS
    assert set(tiny.output) == set(HEADS) <= set(signature.OUTPUT_NAMES)


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 32, 96), (2, 160, 32), (1, 32, 32)])
def test_any_multiple_of_32_goes_in_and_a_quarter_comes_out(tiny: keras.Model, shape: tuple[int, int, int]) -> None:
    heads = tiny.predict_on_batch(lightness(*shape))
    batch, height, width = shape
    assert {name: head.shape for name, head in heads.items()} == {
        signature.AB_LOGITS: (batch, height // 4, width // 4, 313),
        signature.AB: (batch, height // 4, width // 4, 2),
        signature.SCENE_LOGITS: (batch, 3),
    }
    assert {head.dtype for head in heads.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(head).all() for head in heads.values())


def test_a_picture_does_not_depend_on_its_company(tiny: keras.Model) -> None:
    batch = lightness(3, 64, 64)
    together = tiny.predict_on_batch(batch)
    alone = tiny.predict_on_batch(batch[1:2])
    for name, head in together.items():
        assert_allclose(head[1:2], alone[name], atol=1e-4, err_msg=name)


def test_the_scene_reaches_the_colors(tiny: keras.Model) -> None:
    """Global context is no dead end: through FiLM it changes the color heads."""
    film = tiny.get_layer("decoder16_film")
    kept = film.get_weights()
    before = tiny.predict_on_batch(lightness(1, 64, 64))
    film.set_weights([np.full_like(weight, 0.3) for weight in kept])
    after = tiny.predict_on_batch(lightness(1, 64, 64))
    film.set_weights(kept)
    assert_array_equal(before["scene_logits"], after["scene_logits"])
    assert np.abs(before["ab"] - after["ab"]).max() > 0.1


def test_the_regression_head_speaks_lab_units(tiny: keras.Model) -> None:
    inner = keras.Model(tiny.input, tiny.get_layer("ab_unit").output)
    unit = inner.predict_on_batch(lightness(1, 32, 32))
    assert_allclose(tiny.predict_on_batch(lightness(1, 32, 32))["ab"], AB_SCALE * unit, rtol=1e-5)


def test_without_scenes_the_network_still_has_its_scene_head() -> None:
    heads = build_model(TINY, scenes=1).predict_on_batch(lightness(2, 32, 32))
    assert heads[signature.SCENE_LOGITS].shape == (2, 1)


@pytest.mark.parametrize("name", ["default", "first_light", "tiny"])
def test_our_recipes_build_networks_of_at_most_15_million_parameters(name: str) -> None:
    model = build_model(load_recipe(name).model, scenes=10, pretrained=False)
    assert set(model.output) == set(HEADS)
    assert model.count_params() <= MOST_PARAMETERS


def test_the_default_network_is_the_pretrained_one_with_few_parameters() -> None:
    model = build_model(ModelConfig(), scenes=10, pretrained=False)
    assert 5_000_000 < model.count_params() <= MOST_PARAMETERS
    heads = model.predict_on_batch(lightness(1, 64, 96))
    assert heads[signature.AB_LOGITS].shape == (1, 16, 24, 313)


def test_the_original_unet_of_full_width_builds_and_runs() -> None:
    config = ModelConfig(encoder="unet", decoder_channels=(512, 256, 256))
    assert config.unet_channels == (64, 128, 256, 512, 1024)
    model = build_model(config, scenes=4)
    assert model.get_layer("encoder_level16_b_conv").filters == 1024
    assert model.predict_on_batch(lightness(1, 32, 32))[signature.AB].shape == (1, 8, 8, 2)


def test_equal_seeds_make_equal_networks_and_others_do_not() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return build_model(TINY, scenes=2).get_weights()

    one, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_pretrained_weights_can_be_declined() -> None:
    keras.utils.set_random_seed(0)
    config = ModelConfig(decoder_channels=(8, 8, 8, 8), head_channels=8)
    fresh = build_model(config, scenes=2, pretrained=False).get_layer("encoder_stem_norm").get_weights()
    never = build_model(replace(config, pretrained=False), scenes=2).get_layer("encoder_stem_norm").get_weights()
    published = build_model(config, scenes=2).get_layer("encoder_stem_norm").get_weights()
    assert_array_equal(fresh[0], never[0])
    assert not np.array_equal(fresh[0], published[0])


def test_mixed_precision_computes_in_bfloat16_and_answers_in_float32() -> None:
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = build_model(TINY, scenes=2)
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("decoder_head_conv").compute_dtype == "bfloat16"
    assert model.get_layer("decoder8_up").compute_dtype == "bfloat16"
    heads = model.predict_on_batch(lightness(1, 64, 64))
    assert {head.dtype for head in heads.values()} == {np.dtype(np.float32)}
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
