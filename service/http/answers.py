"""The shapes of what goes out as JSON: what is told of a picture, health, the model."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from chroma.plausible import MOST_COLORS
from chroma.variants import MOST_VARIANTS
from service.settings import Precision


class Scene(BaseModel):
    """What the network takes a picture for."""

    name: str
    probability: float = Field(ge=0, le=1)


class Share(BaseModel):
    """A color of the answer."""

    hex: str = Field(pattern="^#[0-9a-f]{6}$")
    share: float = Field(ge=0, le=1, description="Of the picture.")


class PlausibleColor(BaseModel):
    """A color that a place can have."""

    color: str = Field(pattern="^#[0-9a-f]{6}$", description="sRGB, of the photograph's lightness at the place.")
    share: float = Field(ge=0, le=1, description="How probable the network finds it and what looks like it.")


class Colors(BaseModel):
    """The answer of ``GET /pictures/{id}/colors``."""

    colors: list[PlausibleColor] = Field(
        max_length=MOST_COLORS, description="The likeliest first; no two look alike, and their shares sum to 1 at most."
    )


Tone = Annotated[
    Literal["applied", "none"],
    Field(description="Whether the network saw the photograph's tones stretched, as those of a faded one are."),
]


Notes = Annotated[list[str], Field(description="What is to be said of the photograph, such as that it holds no grays.")]


ComputedIn = Annotated[Precision, Field(description="What the network is computed in.")]


class Confidence(BaseModel):
    """How sure the network is."""

    mean: float = Field(
        ge=0, le=1, description="Mean over the picture of the posterior's mass within 20 Lab units of its mean."
    )


class VariantFile(BaseModel):
    """One picture in a JSON answer."""

    variant: int = Field(ge=1, le=MOST_VARIANTS)
    media_type: str
    data: str = Field(description="The file, base64.")


class JsonAnswer(BaseModel):
    """The JSON answer of ``POST /colorize`` and ``GET /pictures/{id}``."""

    width: int
    height: int
    model: str = Field(description="Run that the model comes from.")
    computed_in: ComputedIn
    scene: list[Scene] = Field(description="The likeliest, at most 5.")
    tone: Tone
    notes: Notes
    palette: list[Share] = Field(description="What the first picture is made of, at most 6 colors.")
    confidence: Confidence
    pictures: list[VariantFile]


class Kept(BaseModel):
    """The answer of ``POST /pictures``."""

    id: str = Field(description="Random; opens the picture to whoever has the same API key.")
    width: int = Field(description="Of the upright picture, px.")
    height: int
    megapixels: float
    model: str = Field(description="Run that the model comes from.")
    computed_in: ComputedIn
    scene: list[Scene] = Field(description="The likeliest, at most 5.")
    tone: Tone
    notes: Notes
    confidence: Confidence
    expires_in_s: float = Field(description="How long it stays after it was last used, unless the room is needed.")


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
    runtime: str = Field(description="What computes the network, with its version.")
    computed_in: ComputedIn
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
    runtime: str = Field(description="What computes the network, with its version.")
    computed_in: ComputedIn
