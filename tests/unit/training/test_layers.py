from collections.abc import Callable

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.starter import Starter
from training.network.layers import BatchNormalization, DilatedConv2D, Modulate, Up2, conv_block, relu_block

pytestmark = pytest.mark.training


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 2), (1, 8, 2, 1)])
def test_up2_equals_keras_bilinear_upsampling(shape: tuple[int, ...]) -> None:
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = keras.layers.UpSampling2D(2, interpolation="bilinear")(features)
    got = Up2()(features)
    assert_allclose(keras.ops.convert_to_numpy(got), keras.ops.convert_to_numpy(expected), atol=1e-6)


def test_up2_has_half_pixel_centers() -> None:
    got = keras.ops.convert_to_numpy(Up2()(np.array([0, 4], np.float32).reshape(1, 1, 2, 1)))
    assert got.shape == (1, 2, 4, 1)
    assert_allclose(got[0, :, :, 0], [[0, 1, 3, 4], [0, 1, 3, 4]])


def test_up2_traces_with_unknown_height_and_width() -> None:
    import tensorflow as tf

    layer = Up2()
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for height, width in ((2, 3), (5, 1)):
        features = np.random.default_rng(1).normal(size=(2, height, width, 3)).astype(np.float32)
        assert_allclose(traced(features).numpy(), layer(features).numpy(), atol=1e-6)
        assert traced(features).shape == (2, 2 * height, 2 * width, 3)
    inputs = keras.Input((None, None, 3))
    assert layer(inputs).shape == (None, None, None, 3)
    assert Up2()(keras.Input((4, None, 3))).shape == (None, 8, None, 3)


def test_up2_can_repeat_pixels() -> None:
    features = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    got = keras.ops.convert_to_numpy(Up2(interpolation="nearest")(features))
    assert_array_equal(got, features.repeat(2, axis=1).repeat(2, axis=2))


def test_up2_keeps_the_compute_dtype() -> None:
    layer = Up2(dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(np.ones((1, 2, 2, 1), np.float32)).dtype) == "bfloat16"


def test_modulate_starts_as_the_identity() -> None:
    rng = np.random.default_rng(2)
    features, context = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(2, 7)).astype(np.float32)
    got = Modulate()([features, context])
    assert_array_equal(keras.ops.convert_to_numpy(got), features)


def test_modulate_scales_and_shifts_each_picture_by_its_own_context() -> None:
    rng = np.random.default_rng(3)
    features, context = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(2, 7)).astype(np.float32)
    layer = Modulate()
    layer.build([features.shape, context.shape])
    weights = [rng.normal(size=weight.shape).astype(np.float32) for weight in layer.get_weights()]
    layer.set_weights(weights)
    by_name = {v.path.split("/", 1)[1]: w for v, w in zip(layer.weights, weights, strict=True)}
    scale = context @ by_name["scale/kernel"] + by_name["scale/bias"]
    shift = context @ by_name["shift/kernel"] + by_name["shift/bias"]
    expected = features * (1 + scale[:, None, None]) + shift[:, None, None]
    assert_allclose(keras.ops.convert_to_numpy(layer([features, context])), expected, atol=1e-5)


def test_the_layers_survive_saving() -> None:
    layers = (Up2(name="up", interpolation="nearest"), Modulate(name="film"), DilatedConv2D(2, 3, name="dilated"))
    for layer in (*layers, BatchNormalization(name="norm", epsilon=0.5)):
        again = type(layer).from_config(layer.get_config())
        assert again.name == layer.name
        assert again.get_config() == layer.get_config()


def test_a_block_is_convolution_normalization_and_relu() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, conv_block(inputs, 6, 3, name="block"))
    got = model.predict_on_batch(np.random.default_rng(4).normal(size=(1, 5, 7, 3)).astype(np.float32))
    assert got.shape == (1, 5, 7, 6)
    assert got.min() == 0
    assert [layer.name for layer in model.layers[1:]] == ["block_conv", "block_norm", "block_relu"]
    assert not model.get_layer("block_conv").use_bias


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, *, stride: int = 1, dilation: int = 1) -> np.ndarray:
    """3x3 convolution of (h, w, c) with one pixel of zeros around (times the dilation), pixel by pixel."""
    padded = np.pad(x, ((dilation, dilation), (dilation, dilation), (0, 0)))
    rows, columns = range(0, x.shape[0], stride), range(0, x.shape[1], stride)
    patch = slice(0, 2 * dilation + 1, dilation)
    return np.array(
        [[np.tensordot(padded[y:, z:][patch, patch], kernel, axes=3) + bias for z in columns] for y in rows]
    )


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"dilation": 3}])
def test_a_relu_block_is_convolutions_with_a_border_on_every_side(options: dict[str, int]) -> None:
    rng = np.random.default_rng(5)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, relu_block(inputs, (4, 5), name="block", **options))
    model.set_weights([rng.normal(size=weight.shape).astype(np.float32) for weight in model.weights])
    first, first_bias, second, second_bias = model.get_weights()
    x = rng.normal(size=(6, 8, 3)).astype(np.float32)
    hidden = np.maximum(convolve(x, first, first_bias, dilation=options.get("dilation", 1)), 0)
    expected = np.maximum(convolve(hidden, second, second_bias, **options), 0)
    assert_allclose(model.predict_on_batch(x[None])[0], expected, atol=1e-4)


def test_a_dilated_convolution_trains_as_keras_own() -> None:
    import tensorflow as tf

    x = np.random.default_rng(6).normal(size=(2, 7, 9, 3)).astype(np.float32)
    ours, theirs = (layer(4, 3, dilation_rate=2) for layer in (DilatedConv2D, keras.layers.Conv2D))
    gradients = []
    for layer in (ours, theirs):
        layer.build(x.shape)
        layer.set_weights(ours.get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(layer(x)))
        gradients.append(tape.gradient(loss, layer.kernel.value).numpy())
    assert_allclose(gradients[0], gradients[1], atol=1e-5)


NORMS = """
import keras, numpy as np
from training.network.layers import BatchNormalization

def gradients(layer, x, weight):
    if keras.backend.backend() == "torch":
        import torch
        tensor = torch.tensor(x, requires_grad=True)
        outputs = layer(tensor, training=True)
        wanted = [tensor] + [v.value for v in layer.trainable_variables]
        loss = (outputs * torch.tensor(weight)).sum()
        return outputs.detach().numpy(), [slope.numpy() for slope in torch.autograd.grad(loss, wanted)]
    import tensorflow as tf
    with tf.GradientTape() as tape:
        tensor = tf.constant(x)
        tape.watch(tensor)
        outputs = layer(tensor, training=True)
        loss = tf.reduce_sum(outputs * weight)
    wanted = [tensor] + [v.value for v in layer.trainable_variables]
    return outputs.numpy(), [slope.numpy() for slope in tape.gradient(loss, wanted)]

rng = np.random.default_rng(7)
for shape in ((2, 5, 3, 4), (1, 1, 1, 3), (3, 1, 2, 1)):
    for trainable in (True, False):
        x, weight = (rng.normal(1, 2, size=shape).astype(np.float32) for _ in range(2))
        start = [rng.uniform(0.5, 2, size=shape[-1]).astype(np.float32) for _ in range(4)]
        answers = []
        for kind in (BatchNormalization, keras.layers.BatchNormalization):
            layer = kind(momentum=0.8, epsilon=0.01, trainable=trainable)
            layer.build(shape)
            layer.set_weights(start)
            outputs, slopes = gradients(layer, x, weight)
            after = keras.ops.convert_to_numpy(layer(x, training=False))
            answers.append([outputs, *slopes, after, *layer.get_weights()])
        for ours, theirs in zip(*answers, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-4)
print("same")
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("torch", marks=pytest.mark.torch)])
def test_the_fused_normalization_is_keras_own(backend: str, starter: Callable[[str], Starter]) -> None:
    child = starter(backend).code(NORMS)
    child.finish()
    assert child.stdout == "same\n"
