"""Bytes -> header: what a file is, judged before a pixel of it is decoded."""

import io
from dataclasses import dataclass
from typing import Final

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    EmptyUpload,
    InvalidOption,
    OutOfMemory,
    PictureTooLarge,
    SeveralFrames,
    UnsupportedPicture,
)
from service.pictures.cost import why_costly
from service.pictures.tiff import judging
from service.pictures.tiff.directory import STARTS

READABLE: Final = {"TIFF": STARTS} | {
    plugin.format: signatures
    for plugin, signatures in (
        (JpegImagePlugin.JpegImageFile, (b"\xff\xd8\xff",)),
        (PngImagePlugin.PngImageFile, (b"\x89PNG\r\n\x1a\n",)),
        (WebPImagePlugin.WebPImageFile, (b"RIFF",)),
        (BmpImagePlugin.BmpImageFile, (b"BM",)),
    )
}
"""Formats that are read, by Pillow's names, with the first bytes of such files. Nothing else ever reaches a decoder."""

_BY_PILLOW: Final = tuple(set(READABLE) - {"TIFF"})

HEADER_BYTES: Final = 1 << 21
"""How much of a JPEG or PNG is searched for its header. Both keep it in front of the pixels, color profile included; a
hostile file can fill megabytes with comments that take seconds to walk through."""

MAX_SIDE_PX: Final = 65_500
"""Longest side of a picture: libjpeg's limit, the lowest of the formats that hold large pictures."""

EXIF_ORIENTATION: Final = 0x0112

PNG_CHUNK_FRAME: Final = 12
"""Bytes of a PNG chunk beside its content: length, type, checksum."""

PNG_CHUNK_HEAD: Final = 8
"""...and of them those in front of it."""

MAX_PNG_CHUNKS: Final = 1 << 16
"""Encoders cut 32 MiB into some thousand; a file of empty ones would take a second to walk."""

READABLE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")
"""The media types of what is read; the bytes decide, whatever type they are sent with."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before any pixel is decoded.

    Attributes:
        format: Pillow's name: JPEG, PNG, WEBP, TIFF or BMP.
        width: of the stored picture, px, before its orientation is applied.
        height: likewise.
        mode: Pillow's name of the pixel layout.
        orientation: EXIF orientation that is still to be applied, 1 to 8.
        wide: has 16 bits a channel in more than one channel, which Pillow would cut to 8.
        inverted: 0 means white, and Pillow does not mind.
        icc_profile: embedded color profile.
        directory: where the picture's directory is in a TIFF, which may hold several.
        cpu_factor: how many times the processor time of ordinary files a pixel may take.
        stored_bytes: what a pixel of a TIFF takes once decompressed, bytes; 0 where it is what decoded ones take.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int
    wide: bool
    inverted: bool
    icc_profile: bytes | None
    directory: int = 0
    cpu_factor: float = 1.0
    stored_bytes: float = 0.0

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture once its orientation is applied, px."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


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
        raise EmptyUpload("The body is empty: send the bytes of a picture.")
    if data.startswith(READABLE["PNG"]):
        _check_png_lengths(data)
    header, has_more, costly = _read_tiff(data, page) if data.startswith(READABLE["TIFF"]) else _read(data, page)
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
    if costly:
        raise CostlyPicture(f"Decoding the picture would cost too much: {costly}. Save it anew, and it is taken.")
    if has_more:
        raise SeveralFrames("Animations are not taken: send one picture.", limit=1)
    if header.mode not in _MODES:
        raise UnsupportedPicture(f"Pictures with {header.mode!r} pixels are not read here.")
    return header


def _read_tiff(data: bytes, page: int | None) -> tuple[Header, bool, str]:
    """Return a TIFF's header, that it is one picture, and why it is costly, or empty."""
    facts = judging.judge(data, page)
    header = Header(
        format="TIFF",
        width=facts.width,
        height=facts.height,
        mode=facts.mode,
        orientation=facts.orientation,
        wide=facts.is_deep,
        inverted=False,
        icc_profile=facts.icc_profile,
        directory=facts.directory,
        cpu_factor=facts.cpu_factor,
        stored_bytes=facts.stored_bytes,
    )
    return header, False, facts.costly


def _read(data: bytes, page: int | None) -> tuple[Header, bool, str]:
    """Return the header of a file of another format, whether there are more frames, and why it is costly, or empty."""
    try:
        with Image.open(io.BytesIO(front_of(data)), formats=_BY_PILLOW) as image:
            header = _header(image)
            has_more = _has_more_frames(image)
            costly = why_costly(image, data)
    except MemoryError as error:
        raise OutOfMemory() from error
    except Exception as error:
        # Decoders answer damaged headers with nearly any exception; each means that this is no good picture.
        if any(data.startswith(signature) for signatures in READABLE.values() for signature in signatures):
            raise BrokenPicture("The header of the picture cannot be read.") from error
        raise UnsupportedPicture(
            "The bytes are not a picture of a format that is read here.", formats=sorted(READABLE)
        ) from error
    if page not in (None, 1):
        raise InvalidOption(f"There is no page {page}: only TIFFs have several.")
    return header, has_more, costly


def _check_png_lengths(data: bytes) -> None:
    """Refuse a PNG with a chunk that says it is longer than the file: OpenCV believes it, and takes gigabytes.

    OpenCV reads on behind an end that comes before any pixels, so such a file is refused, too.
    """
    place, has_pixels = len(READABLE["PNG"][0]), False
    for _ in range(MAX_PNG_CHUNKS):
        left = len(data) - place - PNG_CHUNK_HEAD
        if left < 0:
            return
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if length > left:
            raise BrokenPicture("The PNG holds a chunk that is longer than the file.")
        has_pixels |= kind == b"IDAT"
        if kind == b"IEND":
            if not has_pixels:
                raise BrokenPicture("The PNG ends before any pixels.")
            return
        place += PNG_CHUNK_FRAME + length
    raise BrokenPicture(f"The PNG is cut into more than {MAX_PNG_CHUNKS} chunks.")


_MODES: Final = frozenset({"1", "L", "LA", "I;16", "I;16B", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})


def front_of(data: bytes) -> bytes:
    """Return as much of a file as its header may take."""
    return data[:HEADER_BYTES] if data.startswith((*READABLE["JPEG"], *READABLE["PNG"])) else data


def _header(image: Image.Image) -> Header:
    return Header(
        # A phone's JPEG that also carries a depth map or a small preview is "MPO" to Pillow.
        format="JPEG" if image.format == "MPO" else str(image.format),
        width=image.width,
        height=image.height,
        mode=image.mode,
        orientation=_orientation(image.info.get("exif")),
        wide=False,
        inverted=False,
        icc_profile=image.info.get("icc_profile"),
    )


def _orientation(exif_bytes: bytes | None) -> int:
    # Not image.getexif(): for a PNG that decodes the whole picture.
    if not exif_bytes:
        return 1
    exif = Image.Exif()
    try:
        exif.load(exif_bytes)
        value = exif.get(EXIF_ORIENTATION, 1)
    except Exception:  # Broken EXIF is common and harmless; nearly any exception can come out of it.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":
        return False
    return bool(getattr(image, "is_animated", False))
