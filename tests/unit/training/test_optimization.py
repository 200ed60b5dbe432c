"""AdamW with groups against a NumPy AdamW, and the schedule's values."""

import math

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from training import RecipeError
from training.config import OptimizerConfig
from training.network.model import build_model
from training.network.optimization import GroupedAdamW, build_optimizer, learning_rate_at
from training.recipes import load_recipe

pytestmark = pytest.mark.training

CONFIG = OptimizerConfig(learning_rate=0.01, encoder_factor=0.2, weight_decay=0.3, clip_norm=1.5, ema=0.9)
SHAPES = {"encoder_a": (3, 2), "encoder_b": (2,), "decoder_a": (2, 2, 1, 3), "decoder_b": (3,)}


class NumpyAdamW:
    """Decoupled weight decay on kernels, a slower encoder, the global norm clipped, a moving average of the weights."""

    def __init__(self, config: OptimizerConfig, values: dict[str, np.ndarray]) -> None:
        self.config, self.values = config, {name: value.astype(np.float64) for name, value in values.items()}
        self.mean = {name: np.zeros(value.shape) for name, value in values.items()}
        self.square = {name: np.zeros(value.shape) for name, value in values.items()}
        self.average: dict[str, np.ndarray] = {}
        self.steps = 0

    def step(self, gradients: dict[str, np.ndarray], rate: float) -> None:
        c = self.config
        self.steps += 1
        norm = math.sqrt(sum(float(np.square(gradient).sum()) for gradient in gradients.values()))
        for name, gradient in gradients.items():
            clipped = gradient * min(1.0, c.clip_norm / norm)
            own_rate = rate * (c.encoder_factor if name.startswith("encoder_") else 1.0)
            self.mean[name] = c.beta_1 * self.mean[name] + (1 - c.beta_1) * clipped
            self.square[name] = c.beta_2 * self.square[name] + (1 - c.beta_2) * clipped**2
            mean = self.mean[name] / (1 - c.beta_1**self.steps)
            square = self.square[name] / (1 - c.beta_2**self.steps)
            decay = c.weight_decay if gradient.ndim > 1 else 0.0
            self.values[name] = self.values[name] * (1 - own_rate * decay) - own_rate * mean / (np.sqrt(square) + 1e-7)
            before = self.average.get(name, self.values[name])
            decay = min(c.ema, self.steps / (9 + self.steps))  # with t = steps - 1: (1 + t) / (10 + t)
            self.average[name] = decay * before + (1 - decay) * self.values[name]


def test_steps_equal_those_of_a_numpy_adamw() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    variables = [keras.Variable(value, name=name) for name, value in values.items()]
    optimizer, expected = build_optimizer(CONFIG), NumpyAdamW(CONFIG, values)
    optimizer.build(variables)
    for step in range(100):
        gradients = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
        rate = 0.001 * (step + 1)
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in gradients.values()])
        expected.step(gradients, rate)
    for variable, average in zip(variables, optimizer._model_variables_moving_average, strict=True):
        for got, wanted in ((variable, expected.values), (average, expected.average)):
            value = keras.ops.convert_to_numpy(got.value)
            assert_allclose(value, wanted[variable.name], rtol=2e-4, atol=1e-5)


def test_the_average_soon_forgets_the_start() -> None:
    """With a fixed decay of 0.999, 60 steps of change would hardly show; the warm-up makes them count."""
    variable = keras.Variable(np.zeros((1, 1), np.float32))
    optimizer = build_optimizer(OptimizerConfig(learning_rate=1.0, weight_decay=0.0, ema=0.999))
    optimizer.build([variable])
    for _ in range(60):
        optimizer.apply([keras.ops.convert_to_tensor(np.full((1, 1), -1, np.float32))])
    average = float(keras.ops.convert_to_numpy(optimizer._model_variables_moving_average[0].value)[0, 0])
    assert float(keras.ops.convert_to_numpy(variable.value)[0, 0]) == pytest.approx(60, abs=0.1)
    assert 50 < average < 58


def test_every_variable_of_the_network_is_in_its_group() -> None:
    model = build_model(load_recipe("tiny").model, scenes=3)
    optimizer = build_optimizer(CONFIG)
    optimizer.build(model.trainable_variables)
    for variable, rate, decay in zip(model.trainable_variables, optimizer._rates, optimizer._decays, strict=True):
        layer, kind = variable.path.split("/")[0], variable.path.rsplit("/", 1)[1]
        assert rate == (0.2 if layer.startswith("encoder") else 1.0), variable.path
        assert decay == (0.3 if kind == "kernel" else 0.0), variable.path
    assert {0.2, 1.0} == set(optimizer._rates)


def test_without_gradient_only_kernels_shrink() -> None:
    kernel, bias = keras.Variable(np.ones((2, 2), np.float32)), keras.Variable(np.ones(2, np.float32))
    optimizer = GroupedAdamW(learning_rate=0.1, kernel_decay=0.5)
    optimizer.build([kernel, bias])
    optimizer.apply([np.zeros((2, 2), np.float32), np.zeros(2, np.float32)])
    assert_allclose(keras.ops.convert_to_numpy(kernel.value), 0.95, rtol=1e-6)
    assert_array_equal(keras.ops.convert_to_numpy(bias.value), 1)


def test_the_optimizer_survives_its_configuration() -> None:
    optimizer = build_optimizer(CONFIG)
    again = GroupedAdamW.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert (again.kernel_decay, again.encoder_factor, again.ema_momentum) == (0.3, 0.2, 0.9)


def test_no_average_is_kept_where_the_recipe_wants_none() -> None:
    assert not build_optimizer(OptimizerConfig(ema=0.0)).use_ema
    assert build_optimizer(OptimizerConfig()).use_ema


@pytest.mark.parametrize(
    ("progress", "share"),
    [(0.0, 1e-3), (0.05, 0.5), (0.1, 1.0), (0.325, 0.853553), (0.55, 0.5), (0.775, 0.146447), (1.0, 0.0), (1.7, 0.0)],
)
def test_the_learning_rate_rises_then_falls_on_a_cosine(progress: float, share: float) -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup=0.1)
    assert learning_rate_at(config, progress, 3.0) == pytest.approx(2 * share, abs=1e-5)


@pytest.mark.parametrize(("progress", "rate"), [(0.05, 1.0), (0.1, 2.0), (0.55, 1.5), (1.0, 0.5), (1.7, 0.5)])
def test_the_cosine_may_stop_before_its_end(progress: float, rate: float) -> None:
    """At a turn of 120 degrees instead of 180 it is at a quarter of the peak; halfway there, at three quarters."""
    config = OptimizerConfig(learning_rate=2.0, warmup=0.1, cosine_share=2 / 3)
    assert learning_rate_at(config, progress, 3.0) == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize("cosine_share", [0.0, -0.1, 1.1])
def test_a_run_goes_part_of_the_cosine_or_all_of_it(cosine_share: float) -> None:
    with pytest.raises(RecipeError, match="cosine_share"):
        OptimizerConfig(cosine_share=cosine_share)


def test_the_constant_schedule_only_warms_up() -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup=0.1, schedule="constant")
    assert [learning_rate_at(config, progress, 3.0) for progress in (0.05, 0.1, 0.6, 1.0)] == [1.0, 2.0, 2.0, 2.0]


def test_without_warm_up_the_run_starts_at_the_peak() -> None:
    assert learning_rate_at(OptimizerConfig(learning_rate=2.0, warmup=0.0), 0.0, 0.0) == 2.0
