"""How to color: the options, and the queries that bring them, checked; over HTTP and on the command line alike."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from chroma.compose import Enlargement
from chroma.decoding import MIN_TEMPERATURE
from chroma.hints import Hint
from chroma.looks import VIVIDNESS_OF, Look
from chroma.modes import Mode
from chroma.regions import Region
from chroma.signature import SIZE_MULTIPLE
from chroma.variants import MOST_VARIANTS
from service.engine.hint_text import HintsText, parse_hints
from service.engine.region_text import RegionsText, parse_regions
from service.errors import UnfitFormat
from service.pictures.answer_formats import LOSSLESS, Depth, OutputFormat
from service.pictures.probe import MAX_SIDE_PX
from service.pictures.tiff.pages import MOST_DIRECTORIES

MetadataChoice = Literal["keep", "none"]
Tone = Literal["auto", "off"]


@dataclass(frozen=True)
class Options:
    """What a caller may choose for one picture.

    Attributes:
        look: whose colors it leans toward, or which place on the curve it is; see `chroma.looks`.
        mode: which decode; `annealed` is the default and the best on average.
        vividness: 0 calm to 1 vivid; picks the knobs off the model's own curve.
        temperature: overrides the curve's temperature; >= 1e-3.
        saturation: factor on the curve's gain; >= 0.
        size: inference size, px; None means the model's own.
        tone: `auto`, so that the network sees the tones of a faded picture stretched, or `off`.
        enlargement: how ab grows to full size, `bilinear` or `guided`.
        variants: which of the plausible versions of the picture to make, of 1 to `MOST_VARIANTS`; 1 is the likeliest.
        hints: points whose color is known.
        regions: things whose color is known.
        reference_strength: how far a reference photograph counts, [0, 1].
        max_side: the answer's longest side at most, px; None means the picture's own size.
        depth: bits a channel of the answer; None means the picture's own, where the format holds them.
        metadata: whether what the picture's file says beside its pixels goes over to the answer.
        note: whether the answer says that its colors are computed.
        page: which picture of a file of several, from 1; None for the only one.
    """

    look: Look = "natural"
    mode: Mode = "annealed"
    vividness: float = 0.5
    temperature: float | None = None
    saturation: float = 1.0
    size: int | None = None
    tone: Tone = "auto"
    enlargement: Enlargement = "bilinear"
    variants: tuple[int, ...] = (1,)
    hints: tuple[Hint, ...] = ()
    regions: tuple[Region, ...] = ()
    reference_strength: float = 0.5
    max_side: int | None = None
    depth: Depth | None = None
    metadata: MetadataChoice = "keep"
    note: bool = True
    page: int | None = None

    def is_deep(self, output_format: OutputFormat, *, asked_deep: bool) -> bool:
        """Return whether the answer has 16 bits a channel.

        Args:
            output_format: of the answer.
            asked_deep: whether the picture has.
        """
        return output_format in LOSSLESS and (asked_deep if self.depth is None else self.depth == 16)


def check_depth(options: Options, output_format: OutputFormat) -> None:
    """Refuse a depth that the format of the answer cannot hold.

    Raises:
        UnfitFormat: it cannot.
    """
    if options.depth == 16 and output_format not in LOSSLESS:
        raise UnfitFormat(
            f"{output_format} holds 8 bits a channel: ask for png or tiff, or leave 'depth' out.", limit=8, unit="bits"
        )


MAX_TEMPERATURE = 10.0
"""Above this the annealed mean is the mean of all bins, a gray."""

MAX_SATURATION = 4.0
"""Above this nearly every color lies on the border of sRGB."""

MAX_SIZE = 1024
"""Largest inference size, px; time and memory grow with its square."""

LEAST_PREVIEW_PX = 64
"""Smallest `max_side`."""

Page = Annotated[
    int | None,
    Field(ge=1, le=MOST_DIRECTORIES, description="Which picture of a TIFF of several pages, the first being 1."),
]

AnswerFormat = Literal[OutputFormat, "json"]

ToneOption = Annotated[
    Tone,
    Field(
        description="`auto`: the network sees the tones of a faded photograph stretched; the answer keeps its own. "
        "`off`: it sees them as they are."
    ),
]


def _as_number(value: object) -> object:
    """Return a number that came as text: `Literal` takes no text for one."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 4 else value


class _ColorQuery(BaseModel):
    """The options of every request that gives pictures."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    look: Annotated[
        Look,
        Field(
            description="`natural`; `vivid`; or, unless there is a reference, toward the colors of `warm` photographs, "
            "`photochrom` prints of the 1890s, `autochrome` plates of the 1910s, slides of the 1940s (`transparency`)."
        ),
    ] = "natural"
    mode: Annotated[Mode, Field(description="Which decode; `annealed` is best on average.")] = "annealed"
    vividness: Annotated[
        float | None, Field(ge=0, le=1, description="0 calm, 1 vivid; left out, that of the look, 0.5, 0.7 or 0.85.")
    ] = None
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
    depth: Annotated[
        Depth | None,
        BeforeValidator(_as_number),
        Field(description="Bits a channel of PNG and TIFF; left out, those of the photograph. JPEG and WebP have 8."),
    ] = None
    metadata: Annotated[
        MetadataChoice,
        Field(description="Whether resolution, EXIF, XMP, IPTC and comments go over to the answer."),
    ] = "keep"
    note: Annotated[bool, Field(description="Whether the answer's XMP says that its colors are computed.")] = True
    hints: HintsText = ""
    regions: RegionsText = ""
    reference_strength: Annotated[
        float, Field(ge=0, le=1, description="How far a reference photograph counts, where there is one.")
    ] = 0.5

    def to_options(self) -> Options:
        """Return the part of the query that concerns the colors."""
        return Options(
            look=self.look,
            mode=self.mode,
            vividness=VIVIDNESS_OF[self.look] if self.vividness is None else self.vividness,
            temperature=self.temperature,
            saturation=self.saturation,
            enlargement=self.enlargement,
            hints=parse_hints(self.hints),
            regions=parse_regions(self.regions),
            reference_strength=self.reference_strength,
            depth=self.depth,
            metadata=self.metadata,
            note=self.note,
        )

    def picture_format(self) -> OutputFormat | None:
        """Return the format of the pictures in the answer, where the query chooses one."""
        return None if self.format == "json" else self.format


class ColorizeQuery(_ColorQuery):
    """The query of ``POST /colorize``."""

    size: Annotated[
        int | None,
        Field(ge=SIZE_MULTIPLE, le=MAX_SIZE, description="Inference size, px; left out, the model's own."),
    ] = None
    tone: ToneOption = "auto"
    variants: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_VARIANTS,
            description="How many plausible versions to make; the first is the ordinary answer. More than one come as "
            "a ZIP file, or as JSON.",
        ),
    ] = 1
    page: Page = None

    def to_options(self) -> Options:
        """Return the part of the query that concerns the colors."""
        variants = tuple(range(1, self.variants + 1))
        return replace(super().to_options(), size=self.size, tone=self.tone, variants=variants, page=self.page)


class KeepQuery(BaseModel):
    """The query of ``POST /pictures``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[
        int | None,
        Field(ge=SIZE_MULTIPLE, le=MAX_SIZE, description="Inference size, px; left out, the model's own."),
    ] = None
    tone: ToneOption = "auto"
    page: Page = None

    def to_options(self) -> Options:
        """Return what concerns the network, and which picture it sees."""
        return Options(size=self.size, tone=self.tone, page=self.page)


class PlaceQuery(BaseModel):
    """The query of ``GET /pictures/{id}/colors``."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    x: Annotated[
        float, Field(ge=0, le=1, description="From the left border, 0, to the right one of the upright picture.")
    ]
    y: Annotated[float, Field(ge=0, le=1, description="From the top, 0, to the bottom.")]


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
        return replace(super().to_options(), variants=(self.variant,), max_side=self.max_side)
