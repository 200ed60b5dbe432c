"""OpenVINO: computes the network in bfloat16 where the processor has units for it; imported only when it is wanted.

The first layers, before the picture has shrunk to an eighth, stay float32: they have few channels of very uneven
ranges, and bfloat16 there changes the colors more than everywhere else together (mean CIEDE2000 .45 with them, .12
without). They are a model of their own, whose one result the rest takes.
"""

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from chroma.signature import HEADS, LIGHTNESS
from service.errors import PrecisionError

CURE: Final = "pip install --require-hashes -r requirements/openvino.txt (the extra `openvino`)"
"""What installs it."""

TELEMETRY: Final = "openvino_telemetry"
"""What OpenVINO sends its makers with."""

FLOAT32, BFLOAT16 = "f32", "bf16"
"""OpenVINO's names of what it computes in."""

EXACT_SHRINKAGE: Final = 4
"""The input's side over that of a layer's result, up to which the layer stays float32."""


def is_installed() -> bool:
    """Return whether OpenVINO is there, without importing it."""
    return find_spec("openvino") is not None


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which tells its makers of every import, in a process of its own.

    Raises:
        ImportError: it is not installed, or broken.
    """
    others = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # To Python: not there. OpenVINO then goes without.
    try:
        import openvino
    finally:
        del sys.modules[TELEMETRY]
        if others is not None:
            sys.modules[TELEMETRY] = others
    return openvino


class OpenVinoRuntime:
    """A model's network in bfloat16, loaded by OpenVINO on the processor. Several threads take turns.

    Attributes:
        name: of the runtime, with its version.
        provider: what of it is really in use.
    """

    provider: Final = "OpenVINO"

    def __init__(self, model: bytes, *, threads: int) -> None:
        """Load a model.

        Args:
            model: content of an ONNX file that ends with the heads.
            threads: of one inference.

        Raises:
            PrecisionError: OpenVINO is not installed, cannot load the model, or cannot compute in bfloat16 here.
        """
        if not is_installed():
            raise PrecisionError(f"bfloat16 needs OpenVINO, which is not installed: {CURE}")
        try:
            openvino = import_openvino()
            core = openvino.Core()
            *first, rest = _split(core.read_model(model))
            parts = [*((part, FLOAT32) for part in first), (rest, BFLOAT16)]
            compiled = [core.compile_model(part, "CPU", _options(kind, threads)) for part, kind in parts]
            computed = compiled[-1].get_property("INFERENCE_PRECISION_HINT").to_string()
        except Exception as error:  # A broken installation, or OpenVINO's own exceptions: no common root but Exception.
            raise PrecisionError(f"OpenVINO cannot load the model: {error}") from error
        if computed != BFLOAT16:
            raise PrecisionError(f"OpenVINO computes in {computed} on this processor, not in bfloat16")
        self.name = f"openvino {openvino.__version__.partition('-')[0]}"
        self._compiled = compiled
        *self._first, self._rest = [part.create_infer_request() for part in compiled]
        self._lock = threading.Lock()

    def run(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of these names, of `HEADS`."""
        with self._lock:
            for first in self._first:
                first.infer({LIGHTNESS: feeds[LIGHTNESS]}, share_inputs=True)
                self._rest.set_tensor(CUT, first.get_output_tensor(0))
            self._rest.infer(feeds, share_inputs=True)
            # The next run writes where these lie.
            return [self._rest.get_tensor(name).data.copy() for name in names]

    def run_and_give_back(self, names: Sequence[str], feeds: dict[str, np.ndarray]) -> None:
        """Return to the system what memory only larger runs need; nothing is run."""
        del names, feeds
        with self._lock:
            for part in self._compiled:
                part.release_memory()


PREPARED_LAYERS: Final = 500
"""Of so many layers OpenVINO keeps what it has prepared for a picture's shape. With its own 5,000 each new shape costs
4 MB (of 144 that were measured); with these the processor's time is the same."""

CUT: Final = "first_layers"
"""Name of what goes from the first layers to the rest."""


def _options(kind: str, threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": kind,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": PREPARED_LAYERS,
        # Other processes, and our own codecs, use the same cores.
        "ENABLE_CPU_PINNING": False,
        # Each core that this process may use counts, also where two share a physical one.
        "ENABLE_HYPER_THREADING": True,
    }


def _split(model: Any) -> list[Any]:
    """Return the first layers and the rest as two models; the one model where it cannot be cut at one place.

    Args:
        model: an `openvino.Model`; changed in place.
    """
    place = _place_of_cut(model)
    if place is None:
        return [model]
    openvino = import_openvino()
    opset8 = openvino.opset8
    parameter = opset8.parameter(place.get_partial_shape(), np.float32, name=CUT)
    parameter.output(0).set_names({CUT})
    for reader in place.get_target_inputs():
        reader.replace_source_output(parameter.output(0))
    lightness = model.input(LIGHTNESS).get_node()
    first = openvino.Model([opset8.result(place)], [lightness], "first")
    rest = openvino.Model(model.get_results(), [*model.get_parameters(), parameter], "rest")
    return [first, rest]


def _place_of_cut(model: Any) -> Any:
    """Return the last output before the picture shrinks further which alone leads from the first layers to the rest."""
    network = _between(model)
    order = {name: place for place, name in enumerate(network)}
    shrunk: dict[str, int] = {}
    found, reach = None, 0
    for name, node in network.items():
        before = [shrunk[each] for each in _sources(node) if each in shrunk]
        strides = node.get_attributes().get("strides", [1]) if before else [1]
        shrunk[name] = max(before, default=1) * int(strides[0])
        # How far what has been computed up to here is read, by others than the one that comes next.
        if reach <= order[name] and before and shrunk[name] <= EXACT_SHRINKAGE and node.get_output_size() == 1:
            found = node.output(0)
        readers = (reader.get_node().get_friendly_name() for reader in node.output(0).get_target_inputs())
        reach = max((reach, *(order[reader] for reader in readers if reader in order)))
    return found


def _between(model: Any) -> dict[str, Any]:
    """Return the nodes that lead from the picture to the heads, by name, each after what it reads."""
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    after = _closure(
        [model.input(LIGHTNESS).get_node()],
        lambda node: [reader.get_node() for output in node.outputs() for reader in output.get_target_inputs()],
    )
    before = _closure(
        [model.output(name).get_node() for name in HEADS],
        lambda node: [source.get_source_output().get_node() for source in node.inputs()],
    )
    return {name: node for name, node in nodes.items() if name in after and name in before}


def _closure(nodes: list[Any], neighbors: Callable[[Any], list[Any]]) -> set[str]:
    """Return the names of nodes and of all that can be reached from them."""
    reached = set[str]()
    while nodes:
        node = nodes.pop()
        if node.get_friendly_name() not in reached:
            reached.add(node.get_friendly_name())
            nodes += neighbors(node)
    return reached


def _sources(node: Any) -> list[str]:
    return [source.get_source_output().get_node().get_friendly_name() for source in node.inputs()]
