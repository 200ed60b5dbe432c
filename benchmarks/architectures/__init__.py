"""Networks that color photographs, as others published them, as ONNX graphs with random weights.

What a network costs depends on its layers and on the size of the picture, not on its weights. Each is built layer by
layer from its authors' source, so that nobody's weights need to be fetched or licensed; `PUBLISHED` says what others
count, and the tests hold our graphs to it.

Not in the graphs, because a network that has been put in order for inference would not have it either: spectral and
weight norm (part of the weights here), dropout, and heads that only training looks at. All this is in favor of the
others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.architectures.ddcolor import ddcolor_tiny
from benchmarks.architectures.deoldify import deoldify_artistic
from benchmarks.architectures.graph import Graph, Tensor
from benchmarks.architectures.zhang import eccv16, siggraph17


@dataclass(frozen=True)
class Published:
    """What others say of a network.

    Attributes:
        build: makes its graph, and names its output, for square pictures of a side in px, a multiple of 32.
        title: as one would call it.
        own_px: side of the picture that its authors' program gives it by default, px.
        parameters: number of weights, millions.
        digits: of `parameters` after the point.
        gflops: for a picture of 256 x 256, a multiplication and an addition being two; None where nobody says.
        source: of the layers.
        counted_by: source of the two numbers.
    """

    build: Callable[[int], tuple[Graph, Tensor]]
    title: str
    own_px: int
    parameters: float
    digits: int
    gflops: float | None
    source: str
    counted_by: str


PUBLISHED: Final = {
    "eccv16": Published(
        build=eccv16,
        title="ECCV16",
        own_px=256,
        parameters=32.2360,
        digits=4,
        gflops=83.6045,
        source="richzhang/colorization, colorizers/eccv16.py; Zhang, Isola, Efros, ECCV 2016",
        counted_by="openvinotoolkit/open_model_zoo, models/public/colorization-v2/README.md",
    ),
    "siggraph17": Published(
        build=siggraph17,
        title="SIGGRAPH17",
        own_px=256,
        parameters=34.0511,
        digits=4,
        gflops=150.5441,
        source="richzhang/colorization, colorizers/siggraph17.py; Zhang, Zhu et al., SIGGRAPH 2017",
        counted_by="openvinotoolkit/open_model_zoo, models/public/colorization-siggraph/README.md",
    ),
    "deoldify_artistic": Published(
        build=deoldify_artistic,
        title="DeOldify, artistic",
        own_px=560,
        parameters=63.6,
        digits=1,
        gflops=None,
        source="jantic/DeOldify, deoldify/unet.py (DynamicUnetDeep), deoldify/generators.py; fastai 1, layers.py",
        counted_by="Kang et al., DDColor, ICCV 2023, table 1",
    ),
    "ddcolor_tiny": Published(
        build=ddcolor_tiny,
        title="DDColor-tiny",
        own_px=512,
        parameters=55.0,
        digits=1,
        gflops=None,
        source="piddnad/DDColor, ddcolor/model.py, ddcolor/pipeline.py; Kang et al., ICCV 2023",
        counted_by="Kang et al., DDColor, ICCV 2023, table 1",
    ),
}
"""By name, in the order of the tables."""
