"""A tiny scene classifier in an ONNX file: its logits are the normalized mean of red, green and blue."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

NAMES = ("a red scene", "a green scene", "a blue scene")


def write_classifier(
    path: Path,
    *,
    layout: str = "NCHW",
    side: int | None = None,
    probabilities: bool = False,
    half: bool = False,
    channels: int = 3,
    batch: int | str = "batch",
    dtype: str = "float",
) -> Path:
    """Write the classifier.

    Args:
        path: of the file.
        layout: of the input, NCHW or NHWC.
        side: of the input, px; None takes any.
        probabilities: the output is a softmax.
        half: input and output are float16.
        channels: of the input.
        batch: how many pictures at once.
        dtype: of the input; another one than float is cast first.
    """
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    taken = {"float": kind, "uint8": TensorProto.UINT8}[dtype]
    size = ["height", "width"] if side is None else [side, side]
    shape = [batch, channels, *size] if layout == "NCHW" else [batch, *size, channels]
    first = "pixels"
    nodes = []
    if taken != kind:
        nodes.append(helper.make_node("Cast", [first], ["cast"], to=kind))
        first = "cast"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [first], ["turned"], perm=[0, 3, 1, 2]))
        first = "turned"
    nodes.append(helper.make_node("GlobalAveragePool", [first], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["logits" if probabilities else "answer"]))
    nodes.append(helper.make_node("Concat", ["pooled", "pooled"], ["features"], axis=1))
    if probabilities:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answer"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "scenes",
        [helper.make_tensor_value_info("pixels", taken, shape)],
        # A second output, as classifiers have that also give their features.
        [helper.make_tensor_value_info("features", kind, None), helper.make_tensor_value_info("answer", kind, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def write_names(path: Path) -> Path:
    """Write the names of its classes, one a line."""
    path.write_text("\n".join(NAMES) + "\n")
    return path
