"""The one table of formats: which are read, how they are recognized, and which decoder takes which, and why.

What the page offers, folders are searched for, and the interface's description names follows from it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from service.pictures.header import Header
from service.pictures.headers import heif, jpeg, jpeg2000, jpegxl

Decoder = Literal["opencv", "pillow", "imagecodecs", "pi-heif", "own", "tiff"]


@dataclass(frozen=True)
class Format:
    """A format that is read.

    Attributes:
        name: by which headers and metrics call it; Pillow's, where it has one.
        title: for people.
        media_types: the usual one first; the bytes decide, whatever type they are sent with.
        suffixes: of files in folders, the usual one first.
        starts: bytes that such files begin with.
        starts_with: tells such files where their first bytes do not.
    """

    name: str
    title: str
    media_types: tuple[str, ...]
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...] = ()
    starts_with: Callable[[bytes], bool] | None = None

    def is_of(self, data: bytes) -> bool:
        """Whether a file is of this format, by its beginning."""
        return data.startswith(self.starts) or bool(self.starts_with and self.starts_with(data))


_PNM_START: Final = re.compile(rb"P[1-7]\s|P[fF]\s")

FORMATS: Final = (
    Format("JPEG", "JPEG", ("image/jpeg",), (".jpg", ".jpeg", ".jpe", ".jfif"), (b"\xff\xd8\xff",)),
    Format("PNG", "PNG", ("image/png",), (".png",), (b"\x89PNG\r\n\x1a\n",)),
    Format("WEBP", "WebP", ("image/webp",), (".webp",), (), lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP"),
    Format("TIFF", "TIFF", ("image/tiff",), (".tif", ".tiff", ".dng"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    Format("BMP", "BMP", ("image/bmp",), (".bmp", ".dib"), (b"BM",)),
    Format("GIF", "GIF", ("image/gif",), (".gif",), (b"GIF87a", b"GIF89a")),
    Format(
        "JPEG2000",
        "JPEG 2000",
        ("image/jp2", "image/jpx", "image/j2c", "image/jph"),
        (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc", ".jph"),
        (jpeg2000.CODESTREAM, jpeg2000.BOX),
    ),
    Format("JPEGXL", "JPEG XL", ("image/jxl",), (".jxl",), (jpegxl.CODESTREAM, jpegxl.CONTAINER)),
    Format("AVIF", "AVIF", ("image/avif",), (".avif",), (), heif.is_avif),
    Format("HEIC", "HEIC", ("image/heic", "image/heif"), (".heic", ".heif", ".hif"), (), heif.is_heif),
    Format(
        "PPM",
        "PNM",
        ("image/x-portable-anymap", "image/x-portable-graymap", "image/x-portable-pixmap", "image/x-portable-bitmap"),
        (".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
        (),
        lambda data: bool(_PNM_START.match(data)),
    ),
)
"""What is read; nothing else ever reaches a decoder."""

READABLE: Final = {each.name: each.starts for each in FORMATS}
"""Formats that are read, with the first bytes of such files, where those tell."""

TITLES: Final = tuple(each.title for each in FORMATS)

READABLE_TYPES: Final = tuple(kind for each in FORMATS for kind in each.media_types)
"""The media types of what is read."""

READABLE_SUFFIXES: Final = tuple(suffix for each in FORMATS for suffix in each.suffixes)
"""The suffixes of what is read."""

NAMES_OF_OTHERS: Final = (
    (b"%PDF-", "a PDF"),
    (b"8BPS", "a Photoshop document"),
    (b"v/1\x01", "an OpenEXR"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"SIMPLE  =", "a FITS"),
    (b"AT&TFORM", "a DjVu"),
    (b"gimp xcf", "a GIMP picture"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)"),
    (b"IIRO", "a camera's raw file (ORF)"),
    (b"IIU\0", "a camera's raw file (RW2)"),
    (b"II\xbc", "a JPEG XR"),
    (b"\0\0\1\0", "an icon"),
    (b"icns", "an icon"),
    (b"\x01\xda", "an SGI picture"),
    (b"\n\5\1", "a PCX"),
    (b"FORM", "an IFF picture"),
    (b"qoif", "a QOI"),
    (b"DDS ", "a DirectDraw surface"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an XML file"),
)
"""What other files are, by their first bytes."""


@dataclass(frozen=True)
class Route:
    """Which decoder takes what.

    Attributes:
        format: its name.
        what: which layouts and depths, in words.
        fits: whether a header is of them; of several routes the first counts.
        decoder: who decodes it.
        why: what was measured.
        cpu_factor: how many times the processor time of ordinary files a pixel may take.
        work_bytes: memory that the decoder takes for a pixel beside what every picture may.
    """

    format: str
    what: str
    fits: Callable[[Header], bool]
    decoder: Decoder
    why: str
    cpu_factor: float = 1.0
    work_bytes: int = 0


def _every(_: Header) -> bool:
    return True


ROUTES: Final = (
    Route(
        "JPEG",
        "CMYK, YCCK",
        lambda h: h.mode == "CMYK" and h.bits == 8,
        "pillow",
        "OpenCV gives its own RGB of the inks",
    ),
    Route(
        "JPEG",
        "8 bits",
        lambda h: h.bits == 8 and h.kind != jpeg.LOSSLESS,
        "opencv",
        "twice as fast as Pillow; arithmetic ones, too",
    ),
    Route("JPEG", "12 bits; lossless of 2 to 16", _every, "imagecodecs", "no other reads them", 4),
    Route("PNG", "every one", _every, "opencv", "the fastest; Pillow cuts 16-bit color to 8"),
    Route("WEBP", "every one", _every, "opencv", "libwebp in both; OpenCV without a copy"),
    Route("TIFF", "most layouts", _every, "tiff", "no library reads half of them right"),
    Route("BMP", "every one", _every, "pillow", "OpenCV loses opacity"),
    Route("GIF", "one frame", _every, "pillow", "OpenCV gives no palette's opacity"),
    Route(
        "JPEG2000",
        "1 to 16 bits",
        _every,
        "imagecodecs",
        "exact; OpenCV refuses gray with alpha, Pillow wraps 16 bits",
        6,
        24,
    ),
    Route("JPEGXL", "1 to 16 bits", _every, "imagecodecs", "no other reads them", 4, 24),
    Route(
        "AVIF", "8, 10, 12 bits", _every, "imagecodecs", "Pillow cuts to 8 bits, OpenCV refuses gray with alpha", 2, 16
    ),
    Route("HEIC", "8, 10, 12 bits", _every, "pi-heif", "no other reads them", 4, 16),
    Route("PPM", "PBM, PGM, PPM, PAM", _every, "own", "nobody else scales by the level of white"),
)
"""Which decoder takes which file."""


def format_of(data: bytes) -> Format | None:
    """Return the format of a file, by its beginning; None where it is not read."""
    return next((each for each in FORMATS if each.is_of(data)), None)


def name_of_other(data: bytes) -> str:
    """Return what a file is that is not read; empty where nobody knows."""
    return next((name for start, name in NAMES_OF_OTHERS if data.startswith(start)), "")


def route_of(header: Header) -> Route:
    """Return which decoder takes a file, by its header."""
    return next(route for route in ROUTES if route.format == header.format and route.fits(header))


def has_heic() -> bool:
    """Whether the decoder of HEIC is installed; it is an extra."""
    return find_spec("pi_heif") is not None
