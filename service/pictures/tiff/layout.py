"""How the pixels of a TIFF lie in it, and the one table of which layouts are read, where each goes, and why.

Pixels are read with imagecodecs' decoders, by the directory that was judged: a second reader might see another one, and
what Pillow and OpenCV make of many layouts is wrong in silence (16-bit planes apart, 12 bits, extra channels).

References:
    TIFF 6.0 (Aldus, 1992), sections 4 to 23. Adobe Photoshop TIFF Technical Notes (2002): ICCLab, more compressions.
    TIFF Technical Note 2 (1995): JPEG. Digital Negative 1.7.1 (Adobe, 2023): LinearRaw, CFA.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np

from service.errors import BrokenPicture, UnsupportedPicture
from service.pictures.tiff import directory as tags
from service.pictures.tiff.directory import Directory, Order

Kind = Literal["u", "i", "f"]
"""Of a sample: unsigned, signed, or floating-point."""

MOST_SAMPLES: Final = 64
"""A picture with more channels is a stack of measurements."""

APART: Final = 2
"""PlanarConfiguration of channels that lie one after the other."""

LAST_BIT_FIRST: Final = 2
"""FillOrder of bits from the other end."""

ASSOCIATED, UNASSOCIATED = 1, 2
"""ExtraSamples: opacity with which the colors have been multiplied, or not. All else is no opacity."""

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
MOSAIC, LINEAR_RAW = 32803, 34892

DEPTHS: Final[dict[Kind, frozenset[int]]] = {
    "u": frozenset({*range(1, 33), 64}),
    "i": frozenset({8, 16, 32, 64}),
    "f": frozenset({16, 32, 64}),
}
"""Bits of a sample that are read, by its kind."""

_WHOLE: Final[dict[Kind, frozenset[int]]] = {"u": frozenset({8, 16}), "i": frozenset({8, 16})}


@dataclass(frozen=True)
class Colors:
    """What a PhotometricInterpretation means here.

    Attributes:
        name: in words.
        channels: how many of the samples are color; the others are extra ones.
        depths: bits of a sample that are read, by its kind.
        why: where it goes, or why not.
    """

    name: str
    channels: int
    depths: dict[Kind, frozenset[int]]
    why: str


COLORS: Final[dict[int, Colors]] = {
    WHITE_IS_ZERO: Colors("gray, 0 is white", 1, DEPTHS, "gray, turned"),
    BLACK_IS_ZERO: Colors("gray, 0 is black", 1, DEPTHS, "gray"),
    RGB: Colors("RGB", 3, DEPTHS, "RGB by the embedded profile, else sRGB"),
    PALETTE: Colors("palette", 1, {"u": frozenset(range(1, 17))}, "RGB of the palette, with as many bits as that has"),
    CMYK: Colors("CMYK", 4, DEPTHS, "RGB by the embedded profile"),
    YCBCR: Colors("YCbCr", 3, {"u": frozenset({8})}, "RGB by the file's coefficients"),
    CIELAB: Colors("CIE Lab", 3, _WHOLE, "RGB, from D50"),
    ICCLAB: Colors("ICC Lab", 3, _WHOLE, "RGB, from D50"),
    LINEAR_RAW: Colors("linear raw", 3, {"u": frozenset(range(8, 17)), "f": frozenset({16, 32})}, "RGB, by the DNG"),
}
"""By PhotometricInterpretation: what is read."""

UNREAD_COLORS: Final = {
    4: "a transparency mask alone",
    10: "ITU Lab",
    MOSAIC: "a sensor's mosaic: develop it first and send a TIFF or JPEG",
    32844: "LogL high-dynamic-range levels",
    32845: "LogLuv high-dynamic-range levels",
    51177: "a depth map",
    52527: "a semantic mask",
}
"""...and what is not, by name."""

Packing = Literal["bytes", "bits", "picture"]
"""What a codec gives: the bytes of samples, bilevel rows, or samples of a type of its own."""


@dataclass(frozen=True)
class Compression:
    """A compression of strips and tiles.

    Attributes:
        name: in words.
        packing: what its decoder gives; None where it is not read.
        predictable: whether a Predictor counts; for others libtiff ignores it, too.
        cpu_factor: how many times the processor time of ordinary files a pixel may take.
    """

    name: str
    packing: Packing | None = None
    predictable: bool = False
    cpu_factor: float = 1.0


COMPRESSIONS: Final[dict[int, Compression]] = {
    1: Compression("none", "bytes"),
    2: Compression("CCITT run lengths", "bits"),
    3: Compression("CCITT G3", "bits"),
    4: Compression("CCITT G4", "bits"),
    5: Compression("LZW", "bytes", predictable=True),
    6: Compression("old-style JPEG"),
    7: Compression("JPEG", "picture"),
    8: Compression("deflate", "bytes", predictable=True),
    9: Compression("JBIG (T.85)"),
    10: Compression("JBIG (T.43)"),
    32766: Compression("NeXT"),
    32771: Compression("CCITT run lengths in words"),
    32773: Compression("PackBits", "bytes"),
    32809: Compression("ThunderScan"),
    32908: Compression("Pixar's run lengths"),
    32909: Compression("PixarLog"),
    32946: Compression("deflate (32946)", "bytes", predictable=True),
    33003: Compression("JPEG 2000 (YCbCr)", "picture", cpu_factor=6),
    33004: Compression("JPEG 2000 (lossy)", "picture", cpu_factor=6),
    33005: Compression("JPEG 2000 (RGB)", "picture", cpu_factor=6),
    34661: Compression("JBIG"),
    34676: Compression("SGI LogLuv"),
    34677: Compression("SGI LogLuv of 24 bits"),
    34712: Compression("JPEG 2000", "picture", cpu_factor=6),
    34713: Compression("Nikon's raw compression"),
    34887: Compression("LERC", "picture"),
    34892: Compression("lossy JPEG of a DNG", "picture"),
    34925: Compression("LZMA", "bytes", predictable=True, cpu_factor=4),
    34926: Compression("Zstandard (34926)", "bytes", predictable=True),
    34927: Compression("WebP (34927)", "picture"),
    34933: Compression("PNG"),
    34934: Compression("JPEG XR"),
    50000: Compression("Zstandard", "bytes", predictable=True),
    50001: Compression("WebP", "picture"),
    50002: Compression("JPEG XL", "picture", cpu_factor=4),
    52546: Compression("JPEG XL (DNG)", "picture", cpu_factor=4),
}
"""By Compression: what is read, and what is not, by name."""

JPEG, OLD_JPEG, LOSSY_DNG_JPEG = 7, 6, 34892
JPEG_2000_YCBCR: Final = 33003
"""Its channels are YCbCr whatever PhotometricInterpretation says, to OpenSlide as well."""

_JPEG_2000_AS_SAID: Final = (33004, 34712)
"""JPEG 2000 without word of its own of what its channels are."""

PREDICTORS: Final = {1: "none", 2: "differences", 3: "floating-point differences"}
"""By Predictor; DNG has more."""

_KINDS: Final[dict[int, Kind]] = {1: "u", 2: "i", 3: "f", 4: "u"}
"""By SampleFormat; 4 is "undefined", of which nothing else is known either."""


@dataclass(frozen=True)
class Layout:
    """How the pixels of one directory lie in the file.

    Attributes:
        width: px.
        height: px.
        photometric: what the samples mean, a key of `COLORS`.
        kind: of a sample.
        bits: of a sample.
        samples: channels, extra ones included.
        colors: how many of them are color.
        alpha: index of the channel that is opacity; None where none is.
        is_associated: whether the colors have been multiplied by it.
        compression: a key of `COMPRESSIONS`.
        predictor: a key of `PREDICTORS`.
        is_apart: whether the channels lie one after the other.
        is_mirrored: whether each byte's bits are to be turned round.
        is_tiled: whether there are tiles, else strips.
        part_width: of a strip or tile, px.
        part_height: of a whole one, px.
        subsampling: horizontal and vertical, of the chroma of YCbCr whose samples are not a codec's.
        order: of bytes, `<` or `>`.
    """

    width: int
    height: int
    photometric: int
    kind: Kind
    bits: int
    samples: int
    colors: int
    alpha: int | None
    is_associated: bool
    compression: int
    predictor: int
    is_apart: bool
    is_mirrored: bool
    is_tiled: bool
    part_width: int
    part_height: int
    subsampling: tuple[int, int]
    order: Order

    @property
    def packing(self) -> Packing | None:
        """What the decoder of its compression gives."""
        return COMPRESSIONS[self.compression].packing

    @property
    def is_deep(self) -> bool:
        """Whether the levels have more than 8 bits."""
        return self.bits > 8

    @property
    def is_ycbcr(self) -> bool:
        """Whether the samples are still YCbCr once they are decoded; most codecs for pictures make RGB of it."""
        if self.photometric != YCBCR or self.compression == JPEG_2000_YCBCR:
            return self.compression == JPEG_2000_YCBCR
        return self.packing != "picture" or self.is_apart or self.compression in _JPEG_2000_AS_SAID

    @property
    def across(self) -> int:
        """Parts side by side."""
        return -(-self.width // self.part_width)

    @property
    def down(self) -> int:
        """Parts one below the other."""
        return -(-self.height // self.part_height)

    @property
    def parts(self) -> int:
        """All parts, of all channels."""
        return self.across * self.down * (self.samples if self.is_apart else 1)

    @cached_property
    def stored_bytes(self) -> float:
        """What a pixel takes when all is decompressed, bytes."""
        return self.samples * self.bits / 8

    @cached_property
    def sample_type(self) -> "np.dtype[Any]":
        """The NumPy type that holds a sample, in this machine's order."""
        size = next(size for size in (1, 2, 4, 8) if 8 * size >= self.bits)
        return np.dtype(f"{self.kind}{size}")


def read_layout(found: Directory) -> Layout:
    """Return how a directory's pixels lie in the file.

    Args:
        found: the directory.

    Raises:
        BrokenPicture: it contradicts itself.
        UnsupportedPicture: it is not read here; the detail has its true name.
    """
    width, height = (found.integer(tag, 0) for tag in (tags.WIDTH, tags.HEIGHT))
    if width <= 0 or height <= 0:
        raise BrokenPicture("The TIFF does not say how large its picture is.")
    photometric, colors, samples = _colors_of(found)
    compression = found.integer(tags.COMPRESSION, 1)
    bits, kind = _depth_of(found, samples)
    alpha, is_associated = _alpha_of(found, colors, samples)
    is_apart = samples > 1 and found.integer(tags.PLANAR_CONFIGURATION, 1) == APART
    is_tiled, part_width, part_height = _parts_of(found, width, height)
    layout = Layout(
        width=width,
        height=height,
        photometric=photometric,
        kind=kind,
        bits=bits,
        samples=samples,
        colors=colors,
        alpha=alpha,
        is_associated=is_associated,
        compression=compression,
        predictor=_predictor_of(found, compression),
        is_apart=is_apart,
        is_mirrored=found.integer(tags.FILL_ORDER, 1) == LAST_BIT_FIRST,
        is_tiled=is_tiled,
        part_width=part_width,
        part_height=part_height,
        subsampling=_subsampling_of(found, photometric, compression),
        order=found.tiff.order,
    )
    if reason := _why_unread(layout, has_other_inks=found.integer(tags.INK_SET, 1) != 1):
        raise UnsupportedPicture(f"The TIFF holds {reason}.")
    return layout


def _colors_of(found: Directory) -> tuple[int, int, int]:
    """Return the photometric interpretation, the number of color channels, and that of all."""
    compression, samples = found.integer(tags.COMPRESSION, 1), found.integer(tags.SAMPLES, 1)
    photometric = found.integer(tags.PHOTOMETRIC, _unsaid_colors(found, compression, samples))
    if photometric == MOSAIC:
        raise UnsupportedPicture(f"The TIFF holds {UNREAD_COLORS[MOSAIC]}.")
    if COMPRESSIONS.get(compression, COMPRESSIONS[OLD_JPEG]).packing is None:
        name = COMPRESSIONS[compression].name if compression in COMPRESSIONS else f"number {compression}"
        raise UnsupportedPicture(
            f"TIFFs with the compression {name} are not read here: save the picture with LZW or without compression."
        )
    if photometric not in COLORS:
        what = UNREAD_COLORS.get(photometric, f"colors of an unknown kind (PhotometricInterpretation {photometric})")
        raise UnsupportedPicture(f"The TIFF holds {what}.")
    if samples > MOST_SAMPLES:
        raise UnsupportedPicture(f"The TIFF holds {samples} channels: it is a stack of measurements, not a picture.")
    colors = COLORS[photometric].channels
    if photometric in (LINEAR_RAW, CIELAB, ICCLAB) and samples < colors:
        colors = 1  # Cameras without colors, and lightness alone.
    if samples < colors:
        raise BrokenPicture(f"The TIFF says that it is {COLORS[photometric].name}, with {samples} channels.")
    return photometric, colors, samples


def _unsaid_colors(found: Directory, compression: int, samples: int) -> int:
    """Return what a picture is that does not say what its colors are, which it must: by other tags, or as libtiff."""
    colors = samples - len(found.integers(tags.EXTRA_SAMPLES))
    if colors == 3:
        return RGB
    if colors == 4 and tags.INK_SET in found:
        return CMYK
    if colors == 1 and tags.COLOR_MAP in found:
        return PALETTE
    return WHITE_IS_ZERO if COMPRESSIONS.get(compression, Compression("")).packing == "bits" else BLACK_IS_ZERO


def _depth_of(found: Directory, samples: int) -> tuple[int, Kind]:
    """Return bits and kind of a sample."""
    bits = set(found.integers(tags.BITS, (1,))[:samples])
    formats = set(found.integers(tags.SAMPLE_FORMAT, (1,))[:samples])
    if len(bits) > 1 or len(formats) > 1:
        raise UnsupportedPicture(
            "The TIFF holds channels of different depths: save it with as many bits in each of them."
        )
    sample_format = formats.pop()
    if sample_format not in _KINDS:
        raise UnsupportedPicture("The TIFF holds complex numbers, or samples of an unknown kind.")
    return bits.pop(), _KINDS[sample_format]


def _alpha_of(found: Directory, colors: int, samples: int) -> tuple[int | None, bool]:
    """Return which channel is opacity, and whether the colors were multiplied by it."""
    for index, extra in enumerate(found.integers(tags.EXTRA_SAMPLES)[: samples - colors], colors):
        if extra in (ASSOCIATED, UNASSOCIATED):
            return index, extra == ASSOCIATED
    return None, False


def _parts_of(found: Directory, width: int, height: int) -> tuple[bool, int, int]:
    """Return whether there are tiles, and width and height of a strip or tile."""
    if tags.TILE_WIDTH in found or tags.TILE_OFFSETS in found:
        tile = tuple(found.integer(tag, 0) for tag in (tags.TILE_WIDTH, tags.TILE_HEIGHT))
        if min(tile) <= 0:
            raise BrokenPicture("The TIFF does not say how large its tiles are.")
        return True, tile[0], tile[1]
    rows = found.integer(tags.ROWS_PER_STRIP, height)
    return False, width, min(rows, height) if rows > 0 else height


def _predictor_of(found: Directory, compression: int) -> int:
    return found.integer(tags.PREDICTOR, 1) if COMPRESSIONS[compression].predictable else 1


def _subsampling_of(found: Directory, photometric: int, compression: int) -> tuple[int, int]:
    is_apart = found.integer(tags.PLANAR_CONFIGURATION, 1) == APART
    if photometric != YCBCR or (COMPRESSIONS[compression].packing == "picture" and not is_apart):
        return 1, 1
    across, down, *_ = (*found.integers(tags.YCBCR_SUBSAMPLING, (2, 2)), 0, 0)
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise BrokenPicture("The TIFF says that its chroma is sampled in a way that there is not.")
    return across, down


def _why_unread(layout: Layout, *, has_other_inks: bool) -> str:
    """Return what is not read of a layout, by name; empty where all is."""
    colors, compression = COLORS[layout.photometric], COMPRESSIONS[layout.compression]
    if layout.bits not in colors.depths.get(layout.kind, frozenset()):
        kind = {"u": "unsigned", "i": "signed", "f": "floating-point"}[layout.kind]
        return f"{colors.name} of {layout.bits} {kind} bits a channel: save it with 8 or 16 bits a channel"
    if compression.packing == "bits" and (layout.bits, layout.samples) != (1, 1):
        return f"more than one bit a pixel in the compression {compression.name}"
    if layout.predictor not in PREDICTORS:
        return f"levels of an unknown predictor ({layout.predictor}): save it without one"
    if layout.predictor == 2 and layout.bits not in (8, 16, 32, 64):
        return f"differences (Predictor 2) of {layout.bits} bits: save it without a predictor"
    if layout.predictor == 3 and layout.kind != "f":
        return "floating-point differences (Predictor 3) of whole numbers: save it without a predictor"
    if layout.photometric == CMYK and has_other_inks:
        return "other inks than those of CMYK: save it as RGB"
    if layout.is_associated and layout.photometric in (PALETTE, CIELAB, ICCLAB):
        return f"{colors.name} that is multiplied by its opacity: save it as RGB"
    if layout.subsampling != (1, 1) and (layout.samples > 3 or layout.predictor != 1 or compression.packing != "bytes"):
        return "YCbCr that is sampled in a rare way: save it as RGB"
    if layout.compression == JPEG_2000_YCBCR and (layout.bits, layout.colors) != (8, 3):
        return f"YCbCr of {layout.bits} bits in JPEG 2000: save it as RGB"
    if layout.photometric == LINEAR_RAW and layout.compression == LOSSY_DNG_JPEG:
        return "raw levels in lossy compression: develop it first and send a TIFF or JPEG"
    if layout.photometric == LINEAR_RAW and layout.colors == 1 and layout.samples == 2 and layout.alpha is None:
        return "raw levels of two colors: develop it first and send a TIFF or JPEG"
    return ""
