"""The shapes of what goes over HTTP besides pictures: options, health, model, problems."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from chroma.compose import Enlargement
from chroma.decoding import MIN_TEMPERATURE
from chroma.hints import Hint
from chroma.lab import rgb_u8_to_lab
from chroma.modes import Mode
from chroma.signature import SIZE_MULTIPLE
from chroma.variants import MOST_VARIANTS
from service.colorizer import Options
from service.images import MAX_SIDE_PX, OutputFormat

MAX_TEMPERATURE = 10.0
"""Above this the annealed mean is the mean of all bins, a gray."""
MAX_SATURATION = 4.0
"""Above this nearly every color lies on the border of sRGB."""
MAX_SIZE = 1024
"""Largest inference size, px; time and memory grow with its square."""


LEAST_PREVIEW_PX = 64
"""Smallest `max_side`."""
MAX_HINTS = 64
"""How many points of a picture can have a color given."""

_SHARE = r"(?:0(?:\.[0-9]{1,20})?|\.[0-9]{1,20}|1(?:\.0{1,20})?)"
_AB = r"-?(?:12[0-7]|1[01][0-9]|[0-9]{1,2})(?:\.[0-9]{1,20})?"
_HINT = rf"{_SHARE},{_SHARE},(?:[0-9A-Fa-f]{{6}}|{_AB}:{_AB})"
HINTS_PATTERN = rf"^(?:{_HINT}(?:;{_HINT}){{0,{MAX_HINTS - 1}}})?$"
"""`x,y,RRGGBB` or `x,y,a:b`, joined with `;`."""

AnswerFormat = Literal[OutputFormat, "json"]


class _ColorQuery(BaseModel):
    """The options of every request that gives pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mode: Annotated[Mode, Field(description="Which decode; `annealed` is best on average.")] = "annealed"
    vividness: Annotated[float, Field(ge=0, le=1, description="0 calm, 1 vivid.")] = 0.5
    temperature: Annotated[
        float | None,
        Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE, description="Overrides the temperature that vividness implies."),
    ] = None
    saturation: Annotated[float, Field(ge=0, le=MAX_SATURATION, description="Factor on chroma.")] = 1.0
    enlargement: Annotated[
        Enlargement, Field(description="How the colors grow to full size: smoothly, or along the edges of L.")
    ] = "bilinear"
    format: Annotated[
        AnswerFormat | None,
        Field(description="Format of the answer; left out, what the `Accept` header likes best, PNG among equals."),
    ] = None
    hints: Annotated[
        str,
        Field(
            pattern=HINTS_PATTERN,
            description=f"Points whose color is known, at most {MAX_HINTS}: `x,y,RRGGBB` or `x,y,a:b` (Lab), joined "
            "with `;`; x and y are shares of width and height, from the top left.",
            examples=["0.5,0.25,c03020;0.1,0.9,-12:30"],
        ),
    ] = ""
    reference_strength: Annotated[
        float, Field(ge=0, le=1, description="How far a reference photograph counts, where there is one.")
    ] = 0.5

    def picture_format(self) -> OutputFormat | None:
        """Return the format of the pictures in the answer, where the query chooses one."""
        return None if self.format == "json" else self.format


class ColorizeQuery(_ColorQuery):
    """The query of ``POST /colorize``."""

    size: Annotated[
        int | None,
        Field(ge=SIZE_MULTIPLE, le=MAX_SIZE, description="Inference size, px; left out, the model's own."),
    ] = None
    variants: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_VARIANTS,
            description="How many plausible versions to make; the first is the ordinary answer. More than one come as "
            "a ZIP file, or as JSON.",
        ),
    ] = 1

    def to_options(self) -> Options:
        """Return the part of the query that concerns the colors."""
        return Options(
            mode=self.mode,
            vividness=self.vividness,
            temperature=self.temperature,
            saturation=self.saturation,
            size=self.size,
            enlargement=self.enlargement,
            variants=tuple(range(1, self.variants + 1)),
            hints=parse_hints(self.hints),
            reference_strength=self.reference_strength,
        )


class KeepQuery(BaseModel):
    """The query of ``POST /pictures``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[
        int | None,
        Field(ge=SIZE_MULTIPLE, le=MAX_SIZE, description="Inference size, px; left out, the model's own."),
    ] = None


class RenderQuery(_ColorQuery):
    """The query of ``GET /pictures/{id}``."""

    variant: Annotated[
        int, Field(ge=1, le=MOST_VARIANTS, description="Which plausible version; 1 is the ordinary one.")
    ] = 1
    reference: Annotated[
        str | None, Field(description="Id of another kept picture, a color photograph whose palette is followed.")
    ] = None
    max_side: Annotated[
        int | None,
        Field(
            ge=LEAST_PREVIEW_PX,
            le=MAX_SIDE_PX,
            description="Longest side of the answer, px; a larger picture is made smaller, for a preview.",
        ),
    ] = None

    def to_options(self) -> Options:
        """Return the part of the query that concerns the colors."""
        return Options(
            mode=self.mode,
            vividness=self.vividness,
            temperature=self.temperature,
            saturation=self.saturation,
            enlargement=self.enlargement,
            variants=(self.variant,),
            hints=parse_hints(self.hints),
            reference_strength=self.reference_strength,
            max_side=self.max_side,
        )


def parse_hints(text: str) -> tuple[Hint, ...]:
    """Read hints that match `HINTS_PATTERN`; a color in sRGB counts as its a and b."""
    hints = []
    for entry in text.split(";") if text else ():
        x, y, color = entry.split(",")
        if ":" in color:
            a, b = (float(value) for value in color.split(":"))
        else:
            _, a, b = (float(value) for value in rgb_u8_to_lab(np.frombuffer(bytes.fromhex(color), np.uint8)))
        hints.append(Hint(float(x), float(y), (a, b)))
    return tuple(hints)


class Scene(BaseModel):
    """What the network takes a picture for."""

    name: str
    probability: float = Field(ge=0, le=1)


class Share(BaseModel):
    """A color of the answer."""

    hex: str = Field(pattern="^#[0-9a-f]{6}$")
    share: float = Field(ge=0, le=1, description="Of the picture.")


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


class Told(BaseModel):
    """The JSON answer of ``POST /colorize`` and ``GET /pictures/{id}``."""

    width: int
    height: int
    model: str = Field(description="Run that the model comes from.")
    scene: list[Scene] = Field(description="The likeliest, at most 5.")
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
    scene: list[Scene] = Field(description="The likeliest, at most 5.")
    confidence: Confidence
    expires_in_s: float = Field(description="How long it stays after it was last used, unless the room is needed.")


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
