"""Counted operations against hand counts and published ones."""

import keras
import pytest

from training.config import ModelConfig
from training.network.cost import count_flops, network_cost
from training.network.encoder import build_encoder
from training.network.layers import Modulate
from training.recipes import load_recipe

pytestmark = pytest.mark.training


def flops(*layers: keras.layers.Layer, shape: tuple[int, ...] = (8, 12, 5)) -> int:
    inputs = keras.Input(shape)
    tensor = inputs
    for layer in layers:
        tensor = layer(tensor)
    return count_flops(keras.Model(inputs, tensor))


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (keras.layers.Conv2D(7, 3, padding="same"), 8 * 12 * 7 * 9 * 5),
        (keras.layers.Conv2D(7, 3, padding="same", strides=2), 4 * 6 * 7 * 9 * 5),
        (keras.layers.Conv2D(7, 3, padding="same", dilation_rate=2), 8 * 12 * 7 * 9 * 5),
        (keras.layers.DepthwiseConv2D(3, padding="same", strides=2), 4 * 6 * 9 * 5),
        # Every input pixel is spread over 4 x 4 places of the output.
        (keras.layers.Conv2DTranspose(7, 4, strides=2, padding="same"), 8 * 12 * 16 * 7 * 5),
        (keras.layers.ReLU(), 0),
    ],
    ids=["convolution", "strided", "dilated", "depthwise", "transposed", "relu"],
)
def test_a_layer_costs_what_a_count_by_hand_says(layer: keras.layers.Layer, multiply_adds: int) -> None:
    assert flops(layer) == 2 * multiply_adds


def test_matrices_count_once_a_picture() -> None:
    assert flops(keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(11)) == 2 * 5 * 11
    features, context = keras.Input((8, 12, 5)), keras.Input((3,))
    film = Modulate()([features, context])
    whole = keras.Model(features, Modulate()([features, keras.layers.GlobalAveragePooling2D()(features)]))
    assert film.shape == (None, 8, 12, 5)
    assert count_flops(whole) == 2 * 2 * 5 * 5


def test_an_unknown_size_cannot_be_counted() -> None:
    inputs = keras.Input((None, None, 1))
    with pytest.raises(ValueError, match="fixed input size"):
        count_flops(keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs)))


def test_efficientnet_lite2_costs_what_its_authors_say() -> None:
    """Published: 899 M multiply-adds at 260 px, with three input channels, a classifier, and more than matrices."""
    inputs = keras.Input((260, 260, 1))
    trunk = keras.Model(inputs, build_encoder(ModelConfig(), inputs)[32])
    stem_of_rgb = 130 * 130 * 32 * 9 * 2
    classifier = 9 * 9 * 352 * 1280 + 1280 * 1000
    assert 0.95 * 899e6 < count_flops(trunk) / 2 + stem_of_rgb + classifier < 899e6


def test_the_eccv16_network_costs_what_openvino_says() -> None:
    """Published: 32.24 M parameters and 83.6 billion operations at 256 px, for classification alone."""
    cost = network_cost(load_recipe("zhang").model)
    assert cost.parameters == pytest.approx(32.24e6, rel=0.01)
    assert cost.gflops == pytest.approx(83.6, rel=0.01)
