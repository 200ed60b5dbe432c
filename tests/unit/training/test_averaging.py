import keras
import numpy as np
import pytest

from training.config import OptimizerConfig
from training.network.averaging import averaged_weights
from training.network.optimization import build_optimizer

pytestmark = pytest.mark.training


def trained(ema: float) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization(name="norm")]
    )
    model.compile(build_optimizer(OptimizerConfig(learning_rate=0.1, ema=ema)), loss="mse")
    rng = np.random.default_rng(0)
    for _ in range(4):
        model.train_on_batch(rng.normal(size=(8, 4)).astype(np.float32), rng.normal(size=(8, 3)).astype(np.float32))
    return model


def copies(model: keras.Model) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in model.trainable_variables]


def test_the_average_is_in_place_inside_and_gone_after() -> None:
    model = trained(ema=0.5)
    kept, statistics = copies(model), model.get_layer("norm").get_weights()[2].copy()
    averages = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.optimizer._model_variables_moving_average]
    with averaged_weights(model):
        for inside, average, outside in zip(copies(model), averages, kept, strict=True):
            assert inside.tobytes() == average.tobytes()
            assert np.abs(inside - outside).max() > 1e-3
    for after, before in zip(copies(model), kept, strict=True):
        assert after.tobytes() == before.tobytes()
    assert model.get_layer("norm").get_weights()[2].tobytes() == statistics.tobytes()


def test_the_weights_come_back_after_an_error() -> None:
    model = trained(ema=0.5)
    kept = copies(model)
    with pytest.raises(ZeroDivisionError), averaged_weights(model):
        raise ZeroDivisionError
    assert all(after.tobytes() == before.tobytes() for after, before in zip(copies(model), kept, strict=True))


def test_training_goes_on_as_if_nothing_had_been_looked_at() -> None:
    looked, straight = trained(ema=0.5), trained(ema=0.5)
    inputs, targets = np.ones((8, 4), np.float32), np.zeros((8, 3), np.float32)
    with averaged_weights(looked):
        looked.predict_on_batch(inputs)
    for model in (looked, straight):
        model.train_on_batch(inputs, targets)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(copies(looked), copies(straight), strict=True))


def test_without_an_average_the_weights_stay() -> None:
    model = trained(ema=0.0)
    kept = copies(model)
    with averaged_weights(model):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(copies(model), kept, strict=True))
