"""The options of the original recipe against hand-written formulas: weights, losses, optimizers, learning rates."""

import math
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chroma.bins import load_centers
from chroma.decoding import log_softmax
from chroma.prior import rebalancing_weights, smooth_prior
from tests.golden.test_prior import original_smoothing, raw_prior
from training.config import LossConfig, OptimizerConfig
from training.network.losses import bin_weights, build_losses, mean_squared_loss, scene_loss
from training.network.optimization import Grouped, build_optimizer, learning_rate_at

pytestmark = pytest.mark.training

SHAPES = {"encoder_a": (3, 2), "decoder_a": (2, 4), "decoder_b": (4,)}
RATE = 0.01


def mean(values: object) -> float:
    return float(np.mean(keras.ops.convert_to_numpy(values)))


# -------------------------------------------------------------------------------------------------------------- weights


def test_weights_come_from_the_prior_smoothed_along_the_index_as_published() -> None:
    """Zhang's factor, (p/2 + u/2)^-1 with mean 1 under p, of the published smoothing of the raw prior."""
    prior = raw_prior()
    smoothed = original_smoothing(prior)
    occurs = smoothed != 0
    factor = 1 / (0.5 * smoothed + 0.5 * occurs / occurs.sum())
    factor = factor / np.sum(smoothed * factor)
    got = bin_weights(LossConfig(rebalance=True, prior_smoothing="index"), prior)
    assert got is not None
    assert_allclose(got, factor, rtol=1e-9)


def test_weights_come_from_the_prior_smoothed_in_ab() -> None:
    prior = raw_prior()
    got = bin_weights(LossConfig(rebalance=True, rebalance_lambda=0.3, rebalance_alpha=0.5), prior)
    assert got is not None
    assert_array_equal(got, rebalancing_weights(smooth_prior(prior, load_centers()), lam=0.3, alpha=0.5))


def test_the_two_smoothings_make_different_weights() -> None:
    """One common bin: over the index its neighbors in b share its weight, those in a do not; in the plane both do."""
    centers = load_centers()
    prior = np.full(313, 1e-3)
    gray = int(np.flatnonzero((centers == 0).all(axis=1))[0])
    prior[gray] = 1.0
    along_b, along_a = (int(np.flatnonzero((centers == place).all(axis=1))[0]) for place in ((0, 10), (10, 0)))
    index = bin_weights(LossConfig(rebalance=True, prior_smoothing="index"), prior)
    plane = bin_weights(LossConfig(rebalance=True, prior_smoothing="ab"), prior)
    assert index is not None
    assert plane is not None
    assert index[along_a] > 5 * index[along_b]
    assert plane[along_a] == pytest.approx(plane[along_b], rel=1e-6)


def test_without_rebalancing_there_are_no_weights() -> None:
    assert bin_weights(LossConfig(), raw_prior()) is None


# --------------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize(
    ("error", "expected"),
    # 1/2 (a^2 + b^2) in units of 128 Lab units, and no kink.
    [((0, 0), 0.0), ((128, 0), 0.5), ((0, -64), 0.125), ((64, 64), 0.25), ((-256, 128), 2.5)],
)
def test_the_mean_squared_loss_is_half_the_squared_error_in_units_of_128(
    error: tuple[int, int], expected: float
) -> None:
    target = np.random.default_rng(1).uniform(-60, 60, (2, 4, 4, 3)).astype(np.float32)
    target[..., 2] = 1
    got = mean(mean_squared_loss(target, target[..., :2] + np.float32(error)))
    assert got == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_the_mean_squared_loss_leaves_gray_pictures_out() -> None:
    loss = build_losses(LossConfig(regression="mse"), raw_prior())["ab"]
    assert loss is mean_squared_loss
    target = np.zeros((2, 2, 2, 3), np.float32)
    target[0, ..., 2] = 1
    prediction = np.full((2, 2, 2, 2), 128.0, np.float32)
    assert mean(loss(target, prediction)) == pytest.approx(1.0)
    prediction[1] = 50
    assert mean(loss(target, prediction)) == pytest.approx(1.0)


def test_label_smoothing_mixes_soft_labels_with_the_uniform_distribution() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(3, 8)).astype(np.float32)
    labels = np.zeros((3, 8), np.float32)
    labels[0, [1, 4, 5, 6, 7]] = (0.5, 0.2, 0.15, 0.1, 0.05)  # the five likeliest
    labels[1, 3] = 1
    known = labels[:2]
    for smoothing in (0.0, 0.1):
        mixed = (1 - smoothing) * known + smoothing / 8
        expected = -(mixed * log_softmax(logits[:2])).sum(axis=1).mean()
        assert mean(scene_loss(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)


# ----------------------------------------------------------------------------------------------------------- optimizers


def rmsprop(gradient: np.ndarray, slots: dict[str, np.ndarray], step: int) -> np.ndarray:
    """Keras' RMSprop: rho 0.9; Tieleman and Hinton, lecture 6.5."""
    del step
    slots["square"] = 0.9 * slots.get("square", 0) + 0.1 * gradient**2
    return gradient / np.sqrt(slots["square"] + 1e-7)


def sgd(gradient: np.ndarray, slots: dict[str, np.ndarray], step: int) -> np.ndarray:
    """Momentum 0.8: the velocity is a decaying sum of the steps."""
    del step
    slots["velocity"] = 0.8 * slots.get("velocity", 0) + gradient
    return slots["velocity"]


def adam(gradient: np.ndarray, slots: dict[str, np.ndarray], step: int) -> np.ndarray:
    """Kingma and Ba, algorithm 1, with the decays of `OptimizerConfig`."""
    slots["mean"] = 0.9 * slots.get("mean", 0) + 0.1 * gradient
    slots["square"] = 0.99 * slots.get("square", 0) + 0.01 * gradient**2
    return slots["mean"] / (1 - 0.9**step) / (np.sqrt(slots["square"] / (1 - 0.99**step)) + 1e-7)


FORMULAS: dict[str, Callable[[np.ndarray, dict[str, np.ndarray], int], np.ndarray]] = {
    "rmsprop": rmsprop,
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,
}
ORIGINAL = OptimizerConfig(
    learning_rate=RATE, encoder_factor=1.0, weight_decay=0.0, clip_norm=None, momentum=0.8, warmup=0.0, ema=0.0
)


def make(name: str, **options: float) -> tuple[Grouped, list[keras.Variable]]:
    rng = np.random.default_rng(3)
    variables = [keras.Variable(rng.normal(size=shape), name=part) for part, shape in SHAPES.items()]
    optimizer = build_optimizer(replace(ORIGINAL, name=name, **options))  # type: ignore[arg-type]
    optimizer.build(variables)
    return optimizer, variables


def values_of(variables: list[keras.Variable]) -> dict[str, np.ndarray]:
    return {variable.name: np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables}


@pytest.mark.parametrize("name", sorted(FORMULAS))
@pytest.mark.parametrize(("encoder_factor", "decay"), [(1.0, 0.0), (0.2, 0.5)])
def test_steps_equal_the_formula(name: str, encoder_factor: float, decay: float) -> None:
    """Also in groups: the encoder at its share of the rate, decay on kernels alone; `adam` never decays."""
    optimizer, variables = make(name, encoder_factor=encoder_factor, weight_decay=decay)
    expected = {part: value.astype(np.float64) for part, value in values_of(variables).items()}
    slots: dict[str, dict[str, np.ndarray]] = {part: {} for part in SHAPES}
    rng = np.random.default_rng(4)
    for step in range(1, 31):
        gradients = {part: rng.normal(size=shape).astype(np.float32) for part, shape in SHAPES.items()}
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients.values()])
        for part, gradient in gradients.items():
            rate = RATE * (encoder_factor if part.startswith("encoder_") else 1.0)
            shrink = rate * decay if gradient.ndim > 1 and name != "adam" else 0.0
            moved = FORMULAS[name](gradient.astype(np.float64), slots[part], step)
            expected[part] = expected[part] * (1 - shrink) - rate * moved
    for part, value in values_of(variables).items():
        assert_allclose(value, expected[part], rtol=2e-4, atol=2e-5, err_msg=part)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_each_optimizer_survives_its_configuration(name: str) -> None:
    optimizer, _ = make(name, encoder_factor=0.3, weight_decay=0.1, ema=0.9)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.encoder_factor, again.ema_momentum) == (0.3, 0.9)


# ------------------------------------------------------------------------------------------------------- learning rates


@pytest.mark.parametrize(("epoch", "steps"), [(0, 0), (4.99, 0), (5, 1), (9.5, 1), (10, 2), (54.9, 10), (55, 11)])
def test_the_step_schedule_takes_five_percent_off_every_five_epochs(epoch: float, steps: int) -> None:
    config = replace(ORIGINAL, schedule="step", learning_rate=4e-4)
    assert learning_rate_at(config, 0.5, epoch) == pytest.approx(4e-4 * 0.95**steps, rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(0, 2e-4), (1, 3.5e-4), (2, 5e-4), (4, 8e-4), (6, 5e-4), (7, 3.5e-4), (8, 2e-4), (12, 8e-4), (14, 5e-4)],
)
def test_the_cyclic_schedule_is_a_triangle_of_eight_epochs(epoch: float, rate: float) -> None:
    config = replace(ORIGINAL, schedule="cyclic", learning_rate=8e-4, cycle_low=2e-4)
    assert learning_rate_at(config, 0.5, epoch) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize("schedule", ["step", "cyclic", "constant"])
def test_schedules_by_epoch_do_not_depend_on_the_length_of_the_run(schedule: str) -> None:
    config = replace(ORIGINAL, schedule=schedule, learning_rate=8e-4)
    assert len({learning_rate_at(config, progress, 6.0) for progress in (0.0, 0.3, 1.0)}) == 1


def test_every_schedule_warms_up() -> None:
    for schedule in ("step", "cyclic", "constant", "cosine"):
        config = replace(ORIGINAL, schedule=schedule, learning_rate=8e-4, warmup=0.1)
        assert learning_rate_at(config, 0.05, 6.0) == pytest.approx(4e-4)
        assert math.isfinite(learning_rate_at(config, 1.0, 6.0))
