"""Layers of our own, where Keras has none that works with unknown height and width on every backend."""

from collections.abc import Sequence
from typing import Any, Literal

import keras


@keras.saving.register_keras_serializable("photochrom")
class Up2(keras.layers.Layer):
    """Enlargement by 2 with half-pixel centers, bilinear or by the nearest pixel.

    `keras.layers.UpSampling2D` fails to trace under TensorFlow when height and width are unknown (Keras 3.14 to
    3.15); this layer gives the same values and exports as one ONNX Resize.

    Input shape: (batch, h, w, channels). Output shape: (batch, 2 h, 2 w, channels).
    """

    def __init__(self, *, interpolation: Literal["bilinear", "nearest"] = "bilinear", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.interpolation = interpolation

    def call(self, inputs: Any) -> Any:
        """Enlarge; (batch, h, w, channels) -> (batch, 2 h, 2 w, channels)."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            shape = tf.shape(inputs)
            enlarged = tf.image.resize(inputs, (shape[1] * 2, shape[2] * 2), method=self.interpolation)
            enlarged = tf.cast(enlarged, inputs.dtype)
            enlarged.set_shape(self.compute_output_shape(inputs.shape))
            return enlarged
        size = (inputs.shape[1] * 2, inputs.shape[2] * 2)
        return keras.ops.image.resize(inputs, size, interpolation=self.interpolation, data_format="channels_last")

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Return the output's shape for an input's shape; unknown sides stay unknown."""
        batch, height, width, channels = input_shape
        return (batch, height and height * 2, width and width * 2, channels)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {"interpolation": self.interpolation}


@keras.saving.register_keras_serializable("photochrom")
class Modulate(keras.layers.Layer):
    """FiLM: features * (1 + scale) + shift, with one scale and shift a channel from a context vector.

    Both start at zero, so a fresh layer passes its features through.

    Input shapes: features (batch, h, w, channels), context (batch, n). Output shape: that of the features.

    References:
        Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018.
    """

    def build(self, input_shape: Any) -> None:
        """Make the two projections of the context."""
        features, context = input_shape
        self.scale = keras.layers.Dense(features[-1], kernel_initializer="zeros", dtype=self.dtype_policy, name="scale")
        self.shift = keras.layers.Dense(features[-1], kernel_initializer="zeros", dtype=self.dtype_policy, name="shift")
        self.scale.build(context)
        self.shift.build(context)

    def call(self, inputs: Any) -> Any:
        """Modulate [features, context]."""
        features, context = inputs
        scale = keras.ops.expand_dims(keras.ops.expand_dims(self.scale(context), 1), 1)
        shift = keras.ops.expand_dims(keras.ops.expand_dims(self.shift(context), 1), 1)
        return features * (1 + scale) + shift

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the features' shape."""
        return input_shape[0]


@keras.saving.register_keras_serializable("photochrom")
class DilatedConv2D(keras.layers.Conv2D):
    """Convolution with a dilated kernel, stride 1, as one operation under TensorFlow too.

    Keras goes through `tf.nn.convolution`, which cuts the picture into interleaved pieces and back; that exports as
    some 80 ONNX nodes a layer. The values are the same.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve (batch, h, w, channels); no padding but what the layer was made with."""
        if keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        return tf.nn.conv2d(inputs, kernel, strides=1, padding=self.padding.upper(), dilations=self.dilation_rate)


def conv_block(tensor: Any, channels: int, kernel_size: int, *, name: str) -> Any:
    """Convolution, batch normalization, ReLU; stride 1, same padding.

    Args:
        tensor: Keras tensor (batch, h, w, any).
        channels: of the output.
        kernel_size: side of the kernel, px.
        name: prefix of the layers' names.

    Returns:
        Keras tensor (batch, h, w, channels).
    """
    tensor = keras.layers.Conv2D(channels, kernel_size, padding="same", use_bias=False, name=f"{name}_conv")(tensor)
    tensor = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(tensor)
    return keras.layers.ReLU(name=f"{name}_relu")(tensor)


def relu_block(tensor: Any, channels: Sequence[int], *, name: str, dilation: int = 1, stride: int = 1) -> Any:
    """3x3 convolutions with bias, each followed by ReLU: the block of the networks before batch normalization ruled.

    Padding is one pixel on every side (times the dilation), as in Caffe and PyTorch; Keras' same padding puts all of it
    at the bottom and the right when the stride is 2 and the side even, and ONNX Runtime refuses it with a dilation.

    Args:
        tensor: Keras tensor (batch, h, w, any).
        channels: of each convolution's output.
        name: prefix of the layers' names.
        dilation: of every kernel; a dilated block has stride 1.
        stride: of the last convolution.

    Returns:
        Keras tensor (batch, h / stride, w / stride, channels[-1]).
    """
    for place, width in enumerate(channels, start=1):
        options: dict[str, Any] = {"kernel_initializer": "he_normal", "name": f"{name}_conv{place}"}
        strided = stride > 1 and place == len(channels)
        if dilation > 1 or strided:
            tensor = keras.layers.ZeroPadding2D(dilation, name=f"{name}_pad{place}")(tensor)
        if dilation > 1:
            convolution = DilatedConv2D(width, 3, dilation_rate=dilation, **options)
        elif strided:
            convolution = keras.layers.Conv2D(width, 3, strides=stride, **options)
        else:
            convolution = keras.layers.Conv2D(width, 3, padding="same", **options)
        tensor = convolution(tensor)
        tensor = keras.layers.ReLU(name=f"{name}_relu{place}")(tensor)
    return tensor
