"""Bytes -> RGB: a photograph's header is judged before its pixels are decoded.

Upright by EXIF, 16 bits rounded to 8, CMYK turned to RGB, palettes looked up, alpha laid over white. Refused: what has
more pixels than `MOST_PX` (a small file may claim gigabytes), several frames, pixels that are no 8- or 16-bit color,
and most TIFFs whose channels lie in planes apart, except 8-bit color.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from training import DataError

MIN_SIDE_PX: Final = 16
"""A smaller photograph teaches nothing."""

MOST_PX: Final = 89_000_000
"""Pixels of the largest photograph that is read; Pillow warns above."""

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
"""What is read, by Pillow's names."""

JPEGS: Final = ("JPEG", "MPO")
"""To Pillow, a JPEG with a depth map or a preview behind it is an MPO."""

MODES: Final = frozenset({"1", "L", "LA", "I;16", "I;16B", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
"""Pixel layouts that are read, by Pillow's names."""

ORIENTATION: Final = 0x0112
"""EXIF tag (CIPA DC-008)."""

TIFF_STARTS: Final = {b"II*\0": 8, b"MM\0*": 8, b"II+\0": 16}
"""First bytes of a TIFF or BigTIFF, and the length of its header."""

BITS: Final = 258

COMPRESSION: Final = 259

PHOTOMETRIC: Final = 262

SAMPLES: Final = 277

PLANAR_CONFIGURATION: Final = 284

EXTRA_SAMPLES: Final = 338
"""TIFF tags (TIFF 6.0, sections 8 and 18)."""

COLORS: Final = {2: 3, 5: 4, 6: 3}
"""By PhotometricInterpretation (RGB, CMYK, YCbCr): how many channels are color; of others one."""

REDUCTIONS: Final = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


@dataclass(frozen=True)
class PictureHeader:
    """What a file says of itself.

    Attributes:
        format: Pillow's name.
        mode: Pillow's name of the pixel layout.
        width: of the stored picture, px, before it is turned upright.
        height: likewise.
        turned: it is stored in another orientation than it is shown in.
        has_alpha: some of it may be transparent.
        icc_profile: embedded color profile; empty where there is none.
    """

    format: str
    mode: str
    width: int
    height: int
    turned: bool
    has_alpha: bool
    icc_profile: bytes


def probe(data: bytes) -> PictureHeader:
    """Read and judge a picture's header; no pixel is decoded.

    Raises:
        DataError: not a picture, too small or too large, several frames, or pixels of a strange kind or layout.
    """
    if not data:
        raise DataError("empty file")
    _check_planes(data)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            header = PictureHeader(
                str(image.format),
                image.mode,
                image.width,
                image.height,
                _orientation(image) != 1,
                "A" in image.mode or "transparency" in image.info,
                image.info.get("icc_profile") or b"",
            )
            several = _has_more_frames(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"more than {MOST_PX / 1e6:.0f} megapixels") from None
    # Decoders answer damaged headers with nearly any exception; each means that this is no good picture.
    except Exception as error:
        raise DataError("not a picture") from error
    _check_size(header.width, header.height)
    if several:
        raise DataError("several frames or pages")
    if header.mode not in MODES:
        raise DataError(f"{header.mode} pixels are not read")
    return header


def _check_planes(data: bytes) -> None:
    """Refuse a TIFF whose channels lie in planes apart, with 16 bits or in a layout of 8 that is not read right.

    Of 16 bits Pillow takes the low ones; opacity that does not belong to RGB it puts into a wrong channel.
    """
    length = TIFF_STARTS.get(data[:4])
    if length is None:
        return
    try:
        tags = ImageFileDirectory_v2(data[:length])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        channels = tags.get(SAMPLES, 1)
        if tags.get(PLANAR_CONFIGURATION, 1) != 2 or channels == 1:
            return
        bits, photometric, extra = max(tags.get(BITS, (1,))), tags.get(PHOTOMETRIC), tags.get(EXTRA_SAMPLES, ())
        is_compressed = tags.get(COMPRESSION, 1) != 1
    except Exception as error:  # The same as in probe.
        raise DataError("not a picture") from error
    if bits > 8:
        raise DataError(f"{bits}-bit channels in planes apart are not read: save them interleaved, or as PNG")
    is_known = not extra or (is_compressed and not any(extra))
    is_opacity = photometric == 2 and (extra == (2,) or (is_compressed and len(extra) == 1))
    if channels != COLORS.get(photometric, 1) + len(extra) or not (is_known or is_opacity):
        raise DataError("channels in planes apart are not read in this layout: save them interleaved, or as PNG")


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise DataError(f"{width} x {height} px: smaller than {MIN_SIDE_PX} px")
    if width * height > MOST_PX:
        raise DataError(f"{width} x {height} px: more than {MOST_PX / 1e6:.0f} megapixels")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return int(image.tag_v2.get(ORIENTATION, 1))  # type: ignore[attr-defined]
    # Not image.getexif(): for a PNG that decodes the whole picture.
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        value = exif.get(ORIENTATION, 1)
    except Exception:  # Broken EXIF is common and harmless; nearly any exception can come out of it.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":
        return False
    if image.format == "TIFF":
        try:
            image.seek(1)
        except EOFError:
            return False
        return True
    return bool(getattr(image, "is_animated", False))


def decode_photograph(data: bytes) -> np.ndarray:
    """Decode an encoded picture as training reads it; embedded color profiles are left alone.

    Returns:
        RGB, uint8, (H, W, 3).

    Raises:
        DataError: not a picture, truncated, smaller than 16 px, larger than `MOST_PX`, several frames, or pixels of a
            strange kind.
    """
    size = jpeg_size(data)
    if size:
        # Nearly every photograph: its size is found in microseconds, and OpenCV gets all of them right.
        _check_size(*size)
    else:
        header = probe(data)
        if header.has_alpha:
            return _with_pillow(data, header)
    return _with_opencv(data, cv2.IMREAD_COLOR)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height, px, of a JPEG by its frame header (ITU-T T.81, B.2.2); None where there is none."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        # A marker may be padded by further 0xFF bytes.
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def read_small(data: bytes, *, short_side: int) -> tuple[np.ndarray, bool]:
    """Decode a picture for good: colors brought to sRGB, the short side shrunk to a given length.

    Args:
        data: the whole file.
        short_side: what the short side is shrunk to, px; a smaller picture keeps its size.

    Returns:
        RGB, uint8, (H, W, 3), and whether the file is a JPEG that holds just this, so that it may be kept as it is.

    Raises:
        DataError: as `decode_photograph`.
    """
    header = probe(data)
    # Gray profiles, and those of CMYK, go with the mode of the file; a profile that says sRGB changes nothing.
    profile = header.icc_profile if _is_foreign(header.icc_profile) else b""
    if header.has_alpha or profile:
        picture = _with_pillow(data, header, profile)
    else:
        # JPEG decodes at a half, a quarter or an eighth for a fraction of the cost.
        side = min(header.width, header.height)
        fits = [flag for factor, flag in REDUCTIONS if header.format in JPEGS and side >= factor * short_side]
        picture = _with_opencv(data, fits[0] if fits else cv2.IMREAD_COLOR)
    is_whole = header.format == "JPEG" and header.mode == "RGB" and not header.turned and not profile
    side = min(picture.shape[:2])
    if side <= short_side:
        return np.ascontiguousarray(picture), is_whole and min(header.width, header.height) == side
    height, width = (max(round(length * short_side / side), short_side) for length in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), False


def _with_opencv(data: bytes, flags: int) -> np.ndarray:
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"not decoded: {error.err}") from error
    if bgr is None:
        raise DataError("truncated or damaged")
    return bgr[..., ::-1]


def _with_pillow(data: bytes, header: PictureHeader, profile: bytes = b"") -> np.ndarray:
    """Decode with Pillow, several times slower, what OpenCV gets wrong: transparency and color profiles."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            upright = image if image.format == "TIFF" else ImageOps.exif_transpose(image)
            if profile:
                upright = _to_srgb(upright, profile)
            if not header.has_alpha:
                return np.asarray(upright.convert("RGB"))
            rgba = np.asarray(upright.convert("RGBA"))
    # The same as in probe: whatever a decoder throws at these bytes, the bytes are at fault.
    except Exception as error:
        raise DataError("truncated or damaged") from error
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    if image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    kept = image.getchannel("A") if image.mode == "RGBA" else None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        colors = image.convert("RGB") if kept else image
        made: Any = ImageCms.profileToProfile(colors, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A profile that does not fit its picture is ignored, as every viewer does.
        return image
    if kept:
        made.putalpha(kept)
    return made


def _is_foreign(profile: bytes) -> bool:
    """Whether a color profile says something else than sRGB, which most do."""
    if not profile:
        return False
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError):
        return False
    return "srgb" not in name.lower()
