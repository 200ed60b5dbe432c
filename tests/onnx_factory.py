"""A tiny model file that keeps the whole contract of `chroma.signature`, made without any training stack.

Its "network" is a straight line: the logits of the bins follow the lightness of each 4 x 4 block, so dark blocks get
one color and light ones another. Everything else is real: names, shapes, dynamic sizes, the decode inside the graph
with its prior correction and hue guard, and the stamp.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chroma import decoding
from chroma.bins import load_centers
from chroma.decoding import Knobs, VividnessCurve
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.signature import INPUT_NAMES, LIGHTNESS, OUTPUT_NAMES, STAMP_KEY, Stamp
from chroma.zones import ZONES, zone_bins, zone_columns
from tests.synthetic_run import make_prior

SCENES = ("indoor", "outdoor", "café")
DARK_AB = np.array([-10.0, -35.0], np.float32)
"""Most probable color of black, Lab units."""
LIGHT_AB = np.array([30.0, 45.0], np.float32)
"""Most probable color of white, Lab units."""
DECODE_PREFIX = "decode/"
"""As `export.precision.DECODE_PREFIX`, which needs the training stack."""
SHARPNESS = 12.0
"""Width of the posterior, Lab units."""
CURVE = VividnessCurve(
    ((0.0, Knobs(1.0, 0.0, 1.0, 1.0)), (0.5, Knobs(0.4, 0.5, 5.0, 1.1)), (1.0, Knobs(0.3, 1.0, 8.0, 1.3)))
)


def make_stamp() -> Stamp:
    """Return the stamp of the tiny model."""
    return Stamp(
        run_id="tiny-0001",
        recipe="tiny",
        created="2026-11-23",
        prior=tuple(make_prior().tolist()),
        vividness_curve=CURVE,
        scenes=SCENES,
        size=64,
        license="CC0-1.0",
        parameters=2 * 313,
        scores={"psnr_db": 0.0},
        tolerances={"ab": 1e-3},
    )


def logits_line() -> tuple[np.ndarray, np.ndarray]:
    """Return slope and offset of the logits over L/100, float32, each (313,)."""
    centers = load_centers().astype(np.float64)
    toward = centers / SHARPNESS**2
    offset = toward @ DARK_AB.astype(np.float64) - 0.5 * np.square(centers).sum(axis=1) / SHARPNESS**2
    return (toward @ (LIGHT_AB - DARK_AB).astype(np.float64)).astype(np.float32), offset.astype(np.float32)


class _Graph:
    """Collects nodes and constants; `op` returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.prefix = ""

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: object) -> str:
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def _decode(g: _Graph, logits: str, L: str, prior: np.ndarray) -> None:
    """Append `chroma.decoding.decode` and `posterior_spread`; their constants are the decode's, as in an export."""
    g.prefix = DECODE_PREFIX
    centers = load_centers()
    log_weights = np.log(rebalancing_weights(smooth_prior(prior, centers))).astype(np.float32)
    knob_shape = g.constant([-1, 1, 1, 1], np.int64)
    temperature, tau, cap, gain = (g.op("Reshape", name, knob_shape) for name in INPUT_NAMES[1:])
    temperature = g.op("Max", temperature, g.constant(decoding.MIN_TEMPERATURE))
    highest = g.op("Add", g.op("Log", g.op("Max", cap, g.constant(1.0))), g.constant(log_weights.min()))
    corrected = g.op("Add", logits, g.op("Mul", tau, g.op("Min", g.constant(log_weights), highest)))
    centers_name = g.constant(centers)
    annealed = g.op("Softmax", g.op("Div", corrected, temperature), axis=-1)
    ab = g.op("Mul", g.op("MatMul", annealed, centers_name), gain)

    posterior = g.op("Softmax", logits, axis=-1)
    backing = g.op("MatMul", posterior, g.constant(zone_bins(centers, ZONES)))
    directions, full, none, unbacked, backed, dark, passes = (g.constant(column) for column in zone_columns(ZONES))
    zero, one, last = g.constant(0.0), g.constant(1.0), g.constant([-1], np.int64)
    chroma = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", ab, ab), last, keepdims=1))
    divisor = g.op("Max", chroma, g.constant(1e-6))
    watched = g.op("Sub", g.op("MatMul", g.op("Div", ab, divisor), directions), none)
    watched = g.op("Clip", g.op("Div", watched, g.op("Sub", full, none)), zero, one)
    light = g.constant(decoding.GUARD_LIGHT_L)
    shadow = g.op("Div", g.op("Sub", light, L), g.op("Sub", light, g.constant(decoding.GUARD_DARK_L)))
    shadow = g.op("Clip", shadow, zero, one)
    doubt = g.op("Sub", g.op("Add", backed, g.op("Mul", dark, shadow)), backing)
    doubt = g.op("Clip", g.op("Div", doubt, g.op("Sub", backed, unbacked)), zero, one)
    excess = g.op("Max", g.op("Sub", chroma, passes), zero)
    lost = g.op("ReduceMax", g.op("Mul", g.op("Mul", excess, watched), doubt), axes=[-1], keepdims=1)
    g.op("Mul", ab, g.op("Sub", one, g.op("Div", lost, divisor)), output="ab_decoded")

    mean = g.op("MatMul", posterior, centers_name)
    second = g.op("MatMul", posterior, g.constant(np.square(centers).sum(axis=1, keepdims=True)))
    square = g.op("ReduceSum", g.op("Mul", mean, mean), last, keepdims=1)
    g.op("Sqrt", g.op("Max", g.op("Sub", second, square), g.constant(0.0)), output="spread")


def build_model(stamp: Stamp | None = None) -> onnx.ModelProto:
    """Return the tiny model, stamped.

    Args:
        stamp: what to write into the file; None means `make_stamp`.
    """
    stamp = stamp or make_stamp()
    g = _Graph()
    share = g.op("Div", LIGHTNESS, g.constant(100.0))
    quarter = g.op("AveragePool", g.op("Transpose", share, perm=[0, 3, 1, 2]), kernel_shape=[4, 4], strides=[4, 4])
    L = g.op("Transpose", quarter, perm=[0, 2, 3, 1])
    slope, offset = logits_line()
    logits = g.op("Add", g.op("Mul", L, g.constant(slope)), g.constant(offset), output="ab_logits")
    g.op("Add", g.op("Mul", L, g.constant(LIGHT_AB - DARK_AB)), g.constant(DARK_AB), output="ab")
    mean_L = g.op("Flatten", g.op("GlobalAveragePool", quarter))
    g.op("MatMul", mean_L, g.constant([[-2.0, 1.0, 3.0][: len(stamp.scenes)]]), output="scene_logits")
    _decode(g, logits, g.op("Mul", L, g.constant(100.0)), np.asarray(stamp.prior))

    size = ["batch", "height", "width"]
    small = ["batch", "quarter_height", "quarter_width"]
    channels = {"ab": 2, "ab_decoded": 2, "ab_logits": 313, "spread": 1}
    shapes = {name: [*small, count] for name, count in channels.items()} | {
        "scene_logits": ["batch", len(stamp.scenes)],
        LIGHTNESS: [*size, 1],
    }
    graph = helper.make_graph(
        g.nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes.get(name, ["batch"])) for name in INPUT_NAMES],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in OUTPUT_NAMES],
        list(g.constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {STAMP_KEY: stamp.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_model(path: Path, **changes: object) -> Path:
    """Write the tiny model to a file; `changes` replace fields of its stamp."""
    onnx.save(build_model(replace(make_stamp(), **changes)), path)
    return path
