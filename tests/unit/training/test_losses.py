"""The losses against dense NumPy formulas, and their gradients."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma import signature
from chroma.bins import load_centers
from chroma.decoding import log_softmax, softmax
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.soft_encoding import build_table, densify, soft_encode
from training.config import LossConfig
from training.network.color_ops import TableEncoder
from training.network.losses import (
    build_losses,
    compile_model,
    loss_weights,
    make_loss_trackers,
    regression_loss,
    scene_loss,
    soft_encoding_loss,
)
from training.network.optimization import build_optimizer
from training.recipes import load_recipe

pytestmark = pytest.mark.training

CENTERS = load_centers()
PRIOR = smooth_prior(np.random.default_rng(9).pareto(0.7, 313), CENTERS)


def numpy(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def colors(seed: int, batch: int = 2, side: int = 4) -> np.ndarray:
    """Integer ab values with weight 1, (batch, side, side, 3)."""
    rng = np.random.default_rng(seed)
    ab = rng.integers(-90, 90, (batch, side, side, 2))
    return np.concatenate([ab, np.ones((batch, side, side, 1))], axis=-1).astype(np.float32)


def logits_for(target: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (*target.shape[:-1], 313)).astype(np.float32)


def dense_targets(target: np.ndarray, config: LossConfig) -> np.ndarray:
    index, weight = soft_encode(target[..., :2], CENTERS, k=config.neighbors, sigma=config.sigma)
    return densify(index, weight, 313).astype(np.float64)


def cross_entropy(config: LossConfig) -> Any:
    return build_losses(config, PRIOR)[signature.AB_LOGITS]


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(neighbors=5), LossConfig(neighbors=32, sigma=8.0)])
def test_the_sparse_cross_entropy_equals_the_dense_one(config: LossConfig) -> None:
    target = colors(1)
    logits = logits_for(target, 2)
    expected = -(dense_targets(target, config) * log_softmax(logits.astype(np.float64))).sum(axis=-1)
    got = numpy(cross_entropy(config)(target, logits))
    assert got.shape == (2,)
    assert_allclose(got, expected.mean(axis=(1, 2)), rtol=1e-5)


def test_fractional_colors_count_as_the_nearest_integers() -> None:
    target = colors(3)
    nudged = target + np.array([0.4, -0.4, 0], np.float32)
    logits = logits_for(target, 4)
    loss = cross_entropy(LossConfig())
    assert_array_equal(numpy(loss(target, logits)), numpy(loss(nudged, logits)))


def gradient(loss: Any, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        variable = tf.convert_to_tensor(prediction)
        tape.watch(variable)
        value = tf.reduce_mean(loss(target, variable))
    return np.asarray(tape.gradient(value, variable))


def test_the_gradient_is_softmax_minus_target() -> None:
    config, target = LossConfig(), colors(5)
    target[0, :2, :, 2] = 0
    logits = logits_for(target, 6)
    weighted = target[..., 2:]
    expected = weighted * (softmax(logits) - dense_targets(target, config)) / weighted.sum()
    got = gradient(cross_entropy(config), target, logits)
    assert_allclose(got, expected, atol=1e-7)
    assert not got[0, :2].any()


def test_gray_pixels_neither_count_nor_teach() -> None:
    """The value is the mean over weighted pixels, whatever the others hold and however many there are."""
    for loss, prediction in (
        (cross_entropy(LossConfig()), logits_for(colors(7), 8)),
        (regression_loss, np.random.default_rng(9).normal(0, 40, (2, 4, 4, 2)).astype(np.float32)),
    ):
        target = colors(7)
        target[1, :, :, 2] = 0
        disturbed = prediction.copy()
        disturbed[1] += 5
        value = numpy(loss(target, prediction)).mean()
        assert value == pytest.approx(numpy(loss(target[:1], prediction[:1])).mean(), rel=1e-5)
        assert numpy(loss(target, disturbed)).mean() == pytest.approx(value, rel=1e-6)
        assert not gradient(loss, target, prediction)[1].any()


def test_a_batch_of_gray_pictures_has_loss_zero() -> None:
    target = colors(10)
    target[..., 2] = 0
    losses = build_losses(LossConfig(), PRIOR)
    assert_array_equal(numpy(losses["ab_logits"](target, logits_for(target, 11))), 0)
    assert_array_equal(numpy(losses["ab"](target, target[..., :2] + 3)), 0)
    assert not gradient(losses["ab_logits"], target, logits_for(target, 11)).any()


@pytest.mark.parametrize("ties", ["lowest_index", "ball_tree"])
def test_rebalancing_is_the_original_formula(ties: Any) -> None:
    """Zhang et al., equations 2 to 4, written dense: v = w[argmax Z], w = ((1 - lam) p + lam / Q)^-1, mean 1."""
    lam, prior = 0.3, smooth_prior(PRIOR, CENTERS)
    inverse = 1 / ((1 - lam) * prior + lam / 313)
    weights = inverse / (prior * inverse).sum()
    config = LossConfig(neighbors=5, ties=ties, rebalance=True, rebalance_lambda=lam)
    # Whole tens and fives tie between bins more often than not.
    target = np.round(colors(12, side=24) / 5) * 5
    target[..., 2] = 1
    index, weight = build_table(CENTERS, k=5, ties=ties).encode(target[..., :2])
    dense = densify(index, weight, 313)
    assert ((dense == dense.max(axis=-1, keepdims=True)).sum(axis=-1) > 1).mean() > 0.2
    logits = logits_for(target, 13)
    value = -(dense * log_softmax(logits.astype(np.float64))).sum(axis=-1) * weights[dense.argmax(axis=-1)]
    assert_allclose(numpy(cross_entropy(config)(target, logits)), value.mean(axis=(1, 2)), rtol=1e-5)


def test_rebalancing_with_lambda_one_or_alpha_zero_is_none() -> None:
    target = colors(14)
    logits = logits_for(target, 15)
    plain = numpy(cross_entropy(LossConfig())(target, logits))
    for config in (LossConfig(rebalance=True, rebalance_lambda=1.0), LossConfig(rebalance=True, rebalance_alpha=0.0)):
        assert_allclose(numpy(cross_entropy(config)(target, logits)), plain, rtol=1e-5)
    rebalanced = numpy(cross_entropy(LossConfig(rebalance=True))(target, logits))
    assert np.abs(rebalanced / plain - 1).min() > 0.05


def test_a_weight_a_bin_scales_the_pixels_of_that_bin() -> None:
    target = colors(16, side=1)
    logits = logits_for(target, 17)
    encode = TableEncoder(build_table(CENTERS, k=10))
    weights = rebalancing_weights(PRIOR)
    nearest = soft_encode(target[..., :2], CENTERS, k=1)[0][:, 0, 0, 0]
    plain, weighted = (numpy(soft_encoding_loss(encode, w)(target, logits)) for w in (None, weights))
    assert_allclose(weighted, plain * weights[nearest], rtol=1e-5)


@pytest.mark.parametrize(
    ("error", "expected"),
    # In units of 50 Lab units, both channels summed: quadratic below 1, linear above.
    [((0, 0), 0.0), ((25, 0), 0.125), ((0, -50), 0.5), ((100, -25), 1.5 + 0.125), ((-200, 200), 7.0)],
)
def test_the_regression_loss_is_smooth_l1_in_units_of_50(error: tuple[int, int], expected: float) -> None:
    target = colors(18)
    got = numpy(regression_loss(target, target[..., :2] + np.array(error, np.float32)))
    assert_allclose(got, expected, rtol=1e-4, atol=1e-7)


def test_the_scene_loss_is_cross_entropy_over_known_scenes() -> None:
    logits = np.random.default_rng(19).normal(size=(4, 5)).astype(np.float32)
    target = np.eye(5, dtype=np.float32)[[2, 0, 4, 0]] * np.array([[1], [0], [1], [0]], np.float32)
    log_p = log_softmax(logits)
    got = numpy(scene_loss(0.0)(target, logits))
    assert_array_equal(got[[1, 3]], 0)
    assert got.mean() == pytest.approx(-(log_p[0, 2] + log_p[2, 4]) / 2, rel=1e-5)
    assert not gradient(scene_loss(0.0), target, logits)[[1, 3]].any()


def test_label_smoothing_mixes_in_the_uniform_distribution() -> None:
    logits = np.random.default_rng(20).normal(size=(3, 5)).astype(np.float32)
    target = np.eye(5, dtype=np.float32)[[0, 1, 4]]
    mixed = 0.9 * np.eye(5)[[0, 1, 4]] + 0.1 / 5
    expected = -(mixed * log_softmax(logits)).sum(axis=1)
    assert_allclose(numpy(scene_loss(0.1)(target, logits)), expected, rtol=1e-5)


def test_a_batch_without_known_scenes_has_scene_loss_zero() -> None:
    target = np.zeros((3, 1), np.float32)
    assert_array_equal(numpy(scene_loss(0.1)(target, np.ones((3, 1), np.float32))), 0)


def test_a_training_step_reports_each_head_and_their_weighted_sum() -> None:
    from training.network.model import build_model

    recipe = load_recipe("tiny")
    model = build_model(replace(recipe.model, segmentation_classes=3), scenes=5)
    config = LossConfig(
        ab_logits=0.7, ab=3.0, scene_logits=0.2, segmentation_logits=0.4, segmentation_cross_entropy=0.0
    )
    compile_model(model, build_optimizer(recipe.optimizer), config, PRIOR)
    lightness = np.random.default_rng(21).uniform(0, 100, (2, 32, 32, 1)).astype(np.float32)
    target = colors(22, side=8)
    scene = np.eye(5, dtype=np.float32)[[3, 0]] * np.array([[1], [0]], np.float32)
    labels = np.random.default_rng(23).integers(-1, 3, (2, 8, 8, 1)).astype(np.float32)
    targets = {"ab_logits": target, "ab": target, "scene_logits": scene, "segmentation_logits": labels}
    heads = model(lightness, training=False)
    expected = {
        name: float(numpy(loss(targets[name], heads[name])).mean())
        for name, loss in build_losses(config, PRIOR).items()
    }
    got = model.evaluate(lightness, targets, batch_size=2, return_dict=True, verbose=0)
    assert {name for name in got if name != "loss"} == {f"{name}_loss" for name in expected}
    for name, value in expected.items():
        assert got[f"{name}_loss"] == pytest.approx(value, rel=1e-4)
    # Dice alone, as the recipe asks, is within [0, 1].
    assert 0 < expected["segmentation_logits"] <= 1
    total = sum(loss_weights(config)[name] * value for name, value in expected.items())
    assert got["loss"] == pytest.approx(total, rel=1e-4)


def test_a_step_is_traced_once() -> None:
    from training.network.model import build_model

    recipe = load_recipe("tiny")
    model = build_model(recipe.model, scenes=5)
    compile_model(model, build_optimizer(recipe.optimizer), LossConfig(), PRIOR)
    model.optimizer.build(model.trainable_variables)
    lightness = np.random.default_rng(21).uniform(0, 100, (2, 32, 32, 1)).astype(np.float32)
    target = colors(22, side=8)
    targets = {"ab_logits": target, "ab": target, "scene_logits": np.eye(5, dtype=np.float32)[[3, 0]]}
    make_loss_trackers(model, lightness, targets)
    traced = 0
    compute_loss = model.compute_loss

    def count(*given: Any, **named: Any) -> Any:
        nonlocal traced
        traced += 1
        return compute_loss(*given, **named)

    model.compute_loss = count
    for _ in range(3):
        model.train_on_batch(lightness, targets)
    assert traced == 1
