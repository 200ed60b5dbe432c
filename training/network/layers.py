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
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization over the channels, in one operation of the backend where it has one.

    Keras composes it of a dozen operations, each of which reads and writes the whole feature; that is a quarter of a
    training step on a CPU. Values and statistics are the same. Networks in inference mode are left to Keras, so that
    what is exported stays what it was.

    Input shape: (batch, h, w, channels). Output shape: the same.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize (batch, h, w, channels); a layer that is not trainable uses its moving statistics."""
        fused = {"tensorflow": self._fused_tensorflow, "torch": self._fused_torch}.get(keras.backend.backend())
        plain = mask is not None or not (self.scale and self.center) or len(inputs.shape) != 4
        if fused is None or not training or plain:
            return super().call(inputs, training=training, mask=mask)
        return fused(inputs)

    def _fused_tensorflow(self, inputs: Any) -> Any:
        import tensorflow as tf

        scale, offset = self.gamma.value, self.beta.value
        operation = tf.compat.v1.nn.fused_batch_norm
        if not self.trainable:
            mean, variance = self.moving_mean.value, self.moving_variance.value
            return operation(inputs, scale, offset, mean, variance, self.epsilon, is_training=False)[0]
        outputs, mean, variance = operation(inputs, scale, offset, epsilon=self.epsilon, is_training=True)
        self._follow(mean, variance, tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32))
        return outputs

    def _fused_torch(self, inputs: Any) -> Any:
        import torch

        mean, variance = self.moving_mean.value, self.moving_variance.value
        scale, offset = self.gamma.value, self.beta.value
        operation = torch.nn.functional.batch_norm
        count = inputs.numel() / inputs.shape[-1]
        if count == 1 and self.trainable:  # which torch refuses
            return super().call(inputs, training=True)
        channels_first = inputs.permute(0, 3, 1, 2)
        if not self.trainable:
            outputs = operation(channels_first, mean, variance, scale, offset, False, 0.0, self.epsilon)
        else:
            mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
            # With a momentum of 1 they become those of the batch.
            outputs = operation(channels_first, mean, variance, scale, offset, True, 1.0, self.epsilon)
            self._follow(mean, variance, count)
        return outputs.permute(0, 2, 3, 1)

    def _follow(self, mean: Any, variance: Any, count: Any) -> None:
        """Move the statistics towards a batch's; both backends give the variance of a sample, Keras keeps the other."""
        variance = variance * ((count - 1) / count)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving.value * self.momentum + value * (1 - self.momentum))


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
    tensor = BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(tensor)
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
