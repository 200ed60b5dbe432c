"""The shapes of what goes over HTTP besides pictures: options, health, model, problems."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chroma.compose import Enlargement
from chroma.decoding import MIN_TEMPERATURE
from chroma.modes import Mode
from chroma.signature import SIZE_MULTIPLE
from service.colorizer import Options
from service.images import OutputFormat

MAX_TEMPERATURE = 10.0
"""Above this the annealed mean is the mean of all bins, a gray."""
MAX_SATURATION = 4.0
"""Above this nearly every color lies on the border of sRGB."""
MAX_SIZE = 1024
"""Largest inference size, px; time and memory grow with its square."""


class ColorizeQuery(BaseModel):
    """The query of ``POST /colorize``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mode: Annotated[Mode, Field(description="Which decode; `annealed` is best on average.")] = "annealed"
    vividness: Annotated[float, Field(ge=0, le=1, description="0 calm, 1 vivid.")] = 0.5
    temperature: Annotated[
        float | None,
        Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE, description="Overrides the temperature that vividness implies."),
    ] = None
    saturation: Annotated[float, Field(ge=0, le=MAX_SATURATION, description="Factor on chroma.")] = 1.0
    size: Annotated[
        int | None,
        Field(ge=SIZE_MULTIPLE, le=MAX_SIZE, description="Inference size, px; left out, the model's own."),
    ] = None
    enlargement: Annotated[
        Enlargement, Field(description="How the colors grow to full size: smoothly, or along the edges of L.")
    ] = "bilinear"
    format: Annotated[
        OutputFormat | None,
        Field(description="Format of the answer; left out, what the `Accept` header likes best, PNG among equals."),
    ] = None

    def to_options(self) -> Options:
        """Return the part of the query that concerns the colors."""
        return Options(
            mode=self.mode,
            vividness=self.vividness,
            temperature=self.temperature,
            saturation=self.saturation,
            size=self.size,
            enlargement=self.enlargement,
        )


class Problem(BaseModel):
    """An error, as RFC 9457 has it; further members, such as ``limit`` and ``unit``, depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Stable name of the problem: a URN.")
    title: str = Field(description="What the type means.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What happened this time.")
    request_id: str = Field(description="The `X-Request-ID` of the answer, to find it in the log.")


class Probe(BaseModel):
    """The answer of the two probes."""

    status: Literal["ok"] = "ok"


class Health(BaseModel):
    """What an operator wants to see at a glance."""

    status: Literal["ok", "draining", "failing"]
    version: str
    model: str = Field(description="Run that the model comes from.")
    model_sha256: str
    provider: str = Field(description="Execution provider really in use.")
    onnxruntime: str
    threads: int
    inflight_megapixels: float
    waiting_requests: int
    queue_depth: int
    uptime_s: float


class Model(BaseModel):
    """What the model file says of itself; see `chroma.signature.Stamp`."""

    run_id: str
    recipe: str
    created: str
    license: str
    parameters: int
    size: int = Field(description="Default inference size, px.")
    scenes: tuple[str, ...]
    vividness_curve: list[list[float]] = Field(description="Rows of vividness, temperature, tau, cap, gain.")
    prior: tuple[float, ...] = Field(description="Share of each ab bin in the training data.")
    scores: dict[str, Any]
    tolerances: dict[str, float]
    precision: str = Field(description="How the file holds the network: float32, float16 or int8.")
    signature_version: int
    bins_sha256: str
    sha256: str = Field(description="Of the model file.")
    provider: str = Field(description="Execution provider really in use.")
