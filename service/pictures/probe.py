"""Bytes -> header: what a file is, judged before a pixel of it is decoded."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from PIL import Image

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    EmptyUpload,
    InvalidOption,
    OutOfMemory,
    PictureTooLarge,
    RequestError,
    SeveralFrames,
    UnsupportedPicture,
)
from service.pictures.cost import why_costly_scans
from service.pictures.decoders import jxl_profile
from service.pictures.formats import TITLES, Format, format_of, has_heic, name_of_other
from service.pictures.header import Header
from service.pictures.headers import gif, heif, jpeg, jpeg2000, jpegxl, png, pnm, webp
from service.pictures.metadata.reading import stated_orientation
from service.pictures.spooled import open_data
from service.pictures.tiff import judging

MAX_SIDE_PX: Final = 65_500
"""Longest side of a picture: libjpeg's limit, the lowest of the formats that hold large pictures."""

READERS: Final[dict[str, Callable[[bytes], Header]]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "GIF": gif.read,
    "JPEG2000": jpeg2000.read,
    "JPEGXL": jpegxl.read,
    "AVIF": heif.read,
    "HEIC": heif.read,
    "PPM": pnm.read,
    "WEBP": webp.read,
}
"""Who reads the header of which format; of the others Pillow does."""

ORIENTED_BY_METADATA: Final = ("JPEG", "PNG", "WEBP")
"""Formats whose readers here leave that to the metadata; newer ones say in their structure how they lie."""

UNSUPPORTED_BY_PILLOW: Final = "Unsupported BMP"
"""How its errors begin where a file is not damaged, but of a kind that it does not read."""


def probe(data: bytes, *, max_megapixels: float, page: int | None = None) -> Header:
    """Read and judge a picture's header; takes well below a millisecond and allocates no pixels.

    `prepare_codecs` must have run.

    Args:
        data: the whole file.
        max_megapixels: largest picture, millions of pixels.
        page: number of the picture in a TIFF of several, from 1; None for the only one.

    Returns:
        The header.

    Raises:
        EmptyUpload: no bytes.
        UnsupportedPicture: not a picture, or of a format or pixel layout that is not read.
        BrokenPicture: the header is damaged.
        PictureTooLarge: more pixels, or a longer side, than allowed.
        CostlyPicture: decoding it would take more than a picture of its size may.
        SeveralFrames: an animation, or more than one page and none chosen.
        InvalidOption: there is no such page.
        OutOfMemory: the machine had too little memory; nothing is said of the picture.
    """
    if not data:
        raise EmptyUpload("The picture is empty: it has no bytes.")
    kind = format_of(data)
    if kind is None:
        raise _unknown(data)
    try:
        header, costly, has_more = _read(data, kind, page)
    except MemoryError as error:
        raise OutOfMemory() from error
    except RequestError:
        raise
    except Exception as error:
        # Readers answer damaged headers with nearly any exception; each means that this is no good picture.
        if str(error).startswith(UNSUPPORTED_BY_PILLOW):
            raise UnsupportedPicture(f"This kind of {kind.title} is not read here: save it as PNG.") from error
        raise BrokenPicture("The header of the picture cannot be read.") from error
    _check_size(header, max_megapixels)
    if header.format == "JPEG":
        costly = why_costly_scans(header.megapixels, data)
    if costly:
        raise CostlyPicture(f"Decoding the picture would cost too much: {costly}. Save it anew, and it is taken.")
    if has_more:
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)
    _check_readable(header)
    return header


_MODES: Final = frozenset({"1", "L", "LA", "I;16", "I;16B", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


def _read(data: bytes, kind: Format, page: int | None) -> tuple[Header, str, bool]:
    """Return the header, why it is costly, or empty, and whether there are more frames."""
    if kind.name == "TIFF":
        return *_read_tiff(data, page), False
    if page not in (None, 1):
        raise InvalidOption(f"There is no page {page}: only TIFFs have several.")
    reader = READERS.get(kind.name)
    header, has_more = (reader(data), False) if reader else _read_with_pillow(data, kind)
    if kind.name in ORIENTED_BY_METADATA:
        header = replace(header, orientation=stated_orientation(data))
    return header, "", has_more


def _unknown(data: bytes) -> UnsupportedPicture:
    name = name_of_other(data)
    what = f"The file is {name}, which is not read here" if name else "The bytes are not a picture that is read here"
    return UnsupportedPicture(f"{what}: send one of {', '.join(TITLES)}.", formats=sorted(TITLES))


def _check_size(header: Header, max_megapixels: float) -> None:
    if max(header.width, header.height) > MAX_SIDE_PX:
        raise PictureTooLarge(
            f"The picture is {header.width} x {header.height} px; a side may have {MAX_SIDE_PX}.",
            limit=MAX_SIDE_PX,
            unit="px",
        )
    if header.megapixels > max_megapixels:
        raise PictureTooLarge(
            f"The picture is {header.width} x {header.height} px, {header.megapixels:.1f} megapixels; "
            f"at most {max_megapixels:g} are taken.",
            limit=max_megapixels,
            unit="megapixels",
        )


def _check_readable(header: Header) -> None:
    if header.mode not in _MODES:
        raise UnsupportedPicture(f"Pictures with {header.mode!r} pixels are not read here.")
    if header.kind.startswith(jpegxl.WITH_PROFILE) and not jxl_profile.is_available():
        raise UnsupportedPicture(
            "The picture is a JPEG XL with an ICC profile, which cannot be read here: save it as PNG or TIFF."
        )
    if header.format == "HEIC" and not has_heic():
        raise UnsupportedPicture(
            "The picture is a HEIC, which this service reads only where it was installed with the extra `heic` "
            "(pip install 'photochrom[heic]'): save it as JPEG."
        )


def _read_tiff(data: bytes, page: int | None) -> tuple[Header, str]:
    """Return a TIFF's header, and why it is costly, or empty."""
    facts = judging.judge(data, page)
    header = Header(
        format="TIFF",
        width=facts.width,
        height=facts.height,
        mode=facts.mode,
        # Its own tag comes before what XMP says.
        orientation=stated_orientation(data) if facts.orientation == 1 and page is None else facts.orientation,
        wide=facts.is_deep,
        icc_profile=facts.icc_profile,
        bits=16 if facts.is_deep else 8,
        directory=facts.directory,
        cpu_factor=facts.cpu_factor,
        stored_bytes=facts.stored_bytes,
    )
    return header, facts.costly


def _read_with_pillow(data: bytes, kind: Format) -> tuple[Header, bool]:
    """Return the header, and whether there are more frames."""
    with Image.open(open_data(data), formats=(kind.name,)) as image:
        header = Header(
            format=str(image.format),
            width=image.width,
            height=image.height,
            mode=image.mode,
            orientation=stated_orientation(data),
            wide=False,
            icc_profile=image.info.get("icc_profile"),
        )
        return header, bool(getattr(image, "is_animated", False))
