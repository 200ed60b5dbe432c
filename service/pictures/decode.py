"""Bytes -> pixels: upright, in sRGB, at the depth of the file."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from PIL import Image

from service.errors import BrokenPicture, OutOfMemory, RequestError
from service.pictures.decoders import by_imagecodecs, by_opencv, by_own, by_pi_heif, by_pillow, jxl_profile
from service.pictures.formats import Decoder, has_heic, route_of
from service.pictures.header import MOST_PROFILE_BYTES, MULTIPLIED, Crop, Header
from service.pictures.headers import jpegxl
from service.pictures.headers.png import unpack_profile
from service.pictures.levels import Alpha, Pixels, divided, holds_grays, spread
from service.pictures.light import of_signal
from service.pictures.profiles import cmyk_to_srgb, to_srgb
from service.pictures.tiff.pixels import read_pixels

INKS: Final = 4

DECODERS: Final[dict[Decoder, Callable[[bytes | memoryview, Header], tuple[Pixels, Alpha]]]] = {
    "opencv": by_opencv.decode,
    "pillow": by_pillow.decode,
    "imagecodecs": by_imagecodecs.decode,
    "pi-heif": by_pi_heif.decode,
    "own": by_own.decode,
    "tiff": lambda data, header: read_pixels(data, header.directory),
}
"""By the name that the table of formats gives them."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture, upright, in sRGB.

    Attributes:
        pixels: gray (H, W) or RGB (H, W, 3), sRGB-encoded, uint8 or uint16.
        alpha: opacity (H, W), dtype of the pixels, as it was in the file; or None.
    """

    pixels: Pixels
    alpha: Alpha = None

    @property
    def height(self) -> int:
        """Rows, px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, px."""
        return int(self.pixels.shape[1])

    @property
    def is_deep(self) -> bool:
        """Whether it has 16 bits a channel."""
        return self.pixels.dtype == np.uint16


def prepare_codecs() -> None:
    """Set the libraries up for untrusted files; call once at start.

    Pillow's own limit of 89 megapixels would contradict a higher setting, and every picture passes `probe` first;
    OpenCV would print a line for each broken file, and Pillow warn of every odd tag, of which there can be thousands.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def load_decoders() -> None:
    """Load the libraries that load their parts when they are first asked for, so that workers share them."""
    by_imagecodecs.load()
    if has_heic():
        by_pi_heif.load()


def decode(data: bytes | memoryview, header: Header) -> Picture:
    """Decode a picture that `probe` has passed.

    Orientation is applied; embedded color profiles, and what a file says of its colors in numbers, are converted to
    sRGB, and without either the values count as sRGB. A color file that holds only grays gives a gray picture.

    Args:
        data: the whole file.
        header: from `probe` of the same bytes.

    Returns:
        The picture, of the header's size, upright.

    Raises:
        BrokenPicture: truncated or damaged, or its pixels contradict its header.
        UnsupportedPicture: a TIFF holds what its directory does not tell.
        OutOfMemory: the machine had too little memory; nothing is said of the picture.
    """
    size = (header.height, header.width)
    try:
        if header.kind == jpegxl.MADE_OF_JPEG:
            data, header = by_imagecodecs.as_jpeg(data, header)
        elif header.kind.startswith(jpegxl.WITH_PROFILE):
            header = replace(header, icc_profile=jxl_profile.read_profile(bytes(data)))
        pixels, alpha = _stored(data, header)
        if pixels.shape[:2] != size or (alpha is not None and alpha.shape != size):
            raise ValueError("size differs from the header's")
    except MemoryError as error:
        raise OutOfMemory() from error
    except RequestError:
        raise
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise OutOfMemory() from error
        # The same as in probe: whatever a decoder throws at these bytes, the bytes are at fault.
        raise BrokenPicture("The picture starts well, but its pixels cannot be decoded.") from error
    pixels = _in_srgb(pixels, header)
    if pixels.ndim == 3 and holds_grays(pixels):
        pixels = pixels[..., 0]
    pixels = np.ascontiguousarray(_upright(pixels, header.orientation))
    return Picture(pixels, None if alpha is None else np.ascontiguousarray(_upright(alpha, header.orientation)))


def _stored(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    """Return levels over the whole range, of the part that is the picture, and opacity that is not multiplied in."""
    pixels, alpha = DECODERS[route_of(header).decoder](data, header)
    if header.format == "TIFF":  # There all that is done with the levels of each layout.
        return pixels, alpha
    if header.mode == "CMYK" and (pixels.ndim != 3 or pixels.shape[2] != INKS):
        raise ValueError("other channels than the header's")
    if header.crop and header.format != "HEIC":  # There the decoder does it.
        pixels = _cropped(pixels, header, header.crop)
        alpha = None if alpha is None else _cropped(alpha, header, header.crop)
    pixels, alpha = spread(pixels, header.bits), None if alpha is None else spread(alpha, header.bits)
    if alpha is not None and header.kind.endswith(MULTIPLIED):
        pixels = divided(pixels, alpha)
    return pixels, alpha


def _cropped(levels: Pixels, header: Header, crop: Crop) -> Pixels:
    if levels.shape[:2] != (crop.stored_height, crop.stored_width):
        raise ValueError("size differs from the header's")
    return levels[crop.top : crop.top + header.height, crop.left : crop.left + header.width]


def _in_srgb(pixels: Pixels, header: Header) -> Pixels:
    profile = header.icc_profile
    if profile and header.is_profile_packed:
        profile = unpack_profile(profile, MOST_PROFILE_BYTES)
    if header.mode == "CMYK":
        return cmyk_to_srgb(pixels, profile)
    if profile:
        return to_srgb(pixels, profile)
    return of_signal(header.signal, 1 if pixels.ndim == 2 else 3).apply(pixels) if header.signal else pixels


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112); returns a view."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
