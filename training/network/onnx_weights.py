"""An exported ONNX file -> the Keras network it was made from, to train on: what was paid for once is not paid again.

Export folds most batch normalizations into the convolutions before them; what comes back is an equal network whose
normalizations do nothing. `restore_normalization` then gives them the statistics of photographs and takes these out of
scale and offset again, so that training, which normalizes by its batches, begins where the file left off.

Weights are found in the order of the graph, checked by shape and by name where it has one, and proven: the network must
answer as the file does.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, numpy_helper

from chroma import signature
from chroma.signature import STAMP_KEY, SignatureError, Stamp
from training import CheckpointError
from training.network.layers import Modulate

PROOF_PX: Final = 64
"""Side of the patterns on which the network is compared with the file."""

TOLERANCE: Final = 2e-3
"""They may differ by this share of an output's largest value."""

FOLDED: Final = ""
"""Stands for the name of a part that lost its own."""


@dataclass(frozen=True)
class OnnxNetwork:
    """What an ONNX file holds.

    Attributes:
        path: of the file.
        stamp: what it says of itself.
        model: the graph.
    """

    path: Path
    stamp: Stamp
    model: ModelProto


def read_exported(path: Path) -> OnnxNetwork:
    """Read an ONNX file of ours.

    Raises:
        CheckpointError: no such file, not ONNX, or none of ours.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # the parser of protocol buffers raises its own errors, onnx others
        raise CheckpointError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from error
    stamps = [entry.value for entry in model.metadata_props if entry.key == STAMP_KEY]
    if not stamps:
        raise CheckpointError(f"{path} is no model of Photochrom: it has no stamp")
    try:
        stamp = Stamp.from_json(stamps[0])
    except SignatureError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if stamp.precision == "int8":
        raise CheckpointError(f"{path} has 8-bit weights, which are too coarse to train on: take a float16 file")
    return OnnxNetwork(path, stamp, model)


def load_exported(exported: OnnxNetwork, model: keras.Model) -> None:
    """Put a file's weights into the network that it was made from.

    Args:
        exported: the file.
        model: of the same recipe; gets the weights. Its batch normalizations have no statistics then, see
            `restore_normalization`.

    Raises:
        CheckpointError: the file holds another network.
    """
    wanted = list(_linear_layers(model))
    names = {layer.name for layer in wanted}
    parts: dict[str, deque[_Part]] = defaultdict(deque)
    for part in _linear_parts(exported.model):
        # A convolution with which a normalization was folded has lost its name, but not its place.
        parts[part.name if part.name in names else FOLDED].append(part)
    for layer in wanted:
        queue = parts[layer.name] or parts[FOLDED]
        if not queue or not _fill(layer, queue.popleft()):
            raise CheckpointError(f"{exported.path} holds another network: nothing in it fits {layer.name}")
    if any(parts.values()):
        raise CheckpointError(f"{exported.path} holds another network, with more layers")
    _prove(exported, model)


def restore_normalization(model: keras.Model, lightness: Iterable[np.ndarray]) -> None:
    """Give batch normalizations without statistics those of photographs; the network computes what it did.

    Args:
        model: from `load_exported`.
        lightness: batches of photographs as in training: CIE L, float32, (batch, H, W, 1), of any sizes.
    """
    bare = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and _is_bare(layer)]
    if not bare:
        return
    probe = keras.Model(model.input, [layer.input for layer in bare])
    sums = [np.zeros((2, layer.gamma.shape[0])) for layer in bare]
    count = [0] * len(bare)
    for batch in lightness:
        for place, value in enumerate(probe.predict_on_batch(batch)):
            rows = np.asarray(value, np.float64).reshape(-1, value.shape[-1])
            sums[place] += rows.sum(axis=0), np.square(rows).sum(axis=0)
            count[place] += len(rows)
    for layer, (total, squares), rows_seen in zip(bare, sums, count, strict=True):
        mean = total / rows_seen
        variance = np.maximum(squares / rows_seen - np.square(mean), 0)
        gamma, beta = (keras.ops.convert_to_numpy(value) for value in (layer.gamma, layer.beta))
        layer.gamma.assign(gamma * np.sqrt(variance + layer.epsilon))
        layer.beta.assign(beta + gamma * mean)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _is_bare(layer: Any) -> bool:
    mean, variance = (keras.ops.convert_to_numpy(value) for value in (layer.moving_mean, layer.moving_variance))
    return not mean.any() and bool(np.allclose(variance, 1 - layer.epsilon))


@dataclass(frozen=True, eq=False)
class _Part:
    """A convolution or matrix of the graph, with what is multiplied and added channel by channel behind it."""

    name: str
    kernel: np.ndarray
    scale: np.ndarray | None
    offset: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Linear:
    """A layer with a kernel, and the normalization right behind it."""

    name: str
    layer: Any
    norm: Any | None = None


def _linear_parts(model: ModelProto) -> Iterator[_Part]:
    """Yield the parts of the network in the order of the graph; those of the decode are none of it."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]].astype(np.float32)
        for value in node.input:
            readers[value].append(node)
    for node in model.graph.node:
        if node.op_type not in ("Conv", "MatMul") or node.name.startswith("decode/") or node.input[1] not in constants:
            continue
        kernel = constants[node.input[1]]
        channels = kernel.shape[1] if node.op_type == "MatMul" else kernel.shape[0]
        scale, offset = None, constants[node.input[2]] if len(node.input) > 2 else None
        value = node.output[0]
        for kind in ("Mul", "Add"):
            constant = _channel_constant(readers[value], kind, channels, constants)
            if constant is None:
                continue
            scale, offset = (constant, offset) if kind == "Mul" else (scale, constant)
            value = readers[value][0].output[0]
        yield _Part(node.name.partition("_")[2], kernel, scale, offset)


def _channel_constant(
    nodes: list[NodeProto], kind: str, channels: int, constants: dict[str, np.ndarray]
) -> np.ndarray | None:
    """Return what the only reader of a value multiplies or adds, one number a channel; None where it does not."""
    if len(nodes) != 1 or nodes[0].op_type != kind:
        return None
    known = [constants[value] for value in nodes[0].input if value in constants]
    return known[0].ravel() if len(known) == 1 and known[0].size == channels else None


def _linear_layers(model: keras.Model) -> Iterator[_Linear]:
    """Yield the layers with a kernel in the order of the network."""
    norms = {
        layer.input._keras_history.operation.name: layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    for layer in model.layers:
        if isinstance(layer, Modulate):
            # In the order of the graph: it multiplies before it adds.
            yield _Linear(layer.name, layer.scale)
            yield _Linear(layer.name, layer.shift)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            yield _Linear(layer.name, layer, norms.get(layer.name))


def _fill(linear: _Linear, part: _Part) -> bool:
    """Put a part of the graph into a layer; return whether it fits."""
    layer, norm, kernel = linear.layer, linear.norm, part.kernel
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = kernel.transpose(2, 3, 0, 1) if kernel.ndim == 4 else kernel
    elif kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    if kernel.shape != tuple(layer.kernel.shape) or (norm is None and part.scale is not None):
        return False
    layer.kernel.assign(kernel)
    channels = part.offset.size if part.offset is not None else (norm.gamma if norm else layer.bias).shape[0]
    offset = np.zeros(channels, np.float32) if part.offset is None else part.offset
    if norm is None:
        layer.bias.assign(offset)
        return True
    if layer.use_bias:
        layer.bias.assign(np.zeros(channels, np.float32))
    norm.gamma.assign(np.ones(channels, np.float32) if part.scale is None else part.scale)
    norm.beta.assign(offset)
    norm.moving_mean.assign(np.zeros(channels, np.float32))
    norm.moving_variance.assign(np.full(channels, 1 - norm.epsilon, np.float32))
    return True


def _prove(exported: OnnxNetwork, model: keras.Model) -> None:
    """Compare the network with its file on noise of every brightness."""
    rng = np.random.default_rng(0)
    lightness = rng.uniform(0, 100, (2, PROOF_PX, PROOF_PX, 1)).astype(np.float32)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    knobs = {name: np.ones(2, np.float32) for name in signature.KNOB_NAMES}
    names = (signature.AB_LOGITS, signature.AB, signature.SCENE_LOGITS)
    said = dict(zip(names, session.run(names, {signature.LIGHTNESS: lightness} | knobs), strict=True))
    ours = model.predict_on_batch(lightness)
    for name in names:
        apart = float(np.abs(np.asarray(ours[name]) - said[name]).max())
        if not apart <= TOLERANCE * float(np.abs(said[name]).max()):
            raise CheckpointError(f"{exported.path} holds another network: {name} differs by {apart:.3g}")
