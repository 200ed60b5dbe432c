"""Bytes -> pixels: upright, in sRGB, at the depth of the file."""

import io
import logging
import warnings
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Shaped
from PIL import Image

from service.errors import BrokenPicture, OutOfMemory, RequestError
from service.pictures.levels import Alpha, Pixels, to_8_bits, to_depth
from service.pictures.probe import HEADER_BYTES, Header
from service.pictures.profiles import cmyk_to_srgb, to_srgb
from service.pictures.tiff.pixels import read_pixels


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
    """Set the libraries up for strangers' files; call once at start.

    Pillow's own limit of 89 megapixels would contradict a higher setting, and every picture passes `probe` first;
    OpenCV would print a line for each broken file, and Pillow warn of every odd tag, of which there can be thousands.
    """
    Image.MAX_IMAGE_PIXELS = None
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes | memoryview, header: Header) -> Picture:
    """Decode a picture that `probe` has passed.

    Orientation is applied; embedded color profiles are converted to sRGB, and without one the values count as sRGB. A
    color file that holds only grays gives a gray picture.

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
    try:
        if header.format == "TIFF":
            pixels, alpha = _decode_tiff(data, header)
        else:
            by_pillow = header.format == "BMP" or header.mode == "CMYK"
            pixels, alpha = (_decode_with_pillow if by_pillow else _decode_with_opencv)(data, header)
        if pixels.shape[:2] != (header.height, header.width):
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
    if header.icc_profile and header.mode != "CMYK":
        pixels = to_srgb(pixels, header.icc_profile)
    if pixels.ndim == 3 and _is_gray(pixels):
        pixels = pixels[..., 0]
    pixels = np.ascontiguousarray(_upright(pixels, header.orientation))
    return Picture(pixels, None if alpha is None else np.ascontiguousarray(_upright(alpha, header.orientation)))


def _decode_tiff(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    pixels, alpha = read_pixels(data, header.directory)
    if header.mode != "CMYK":
        return pixels, alpha
    narrow = pixels if pixels.dtype == np.uint8 else to_8_bits(pixels)
    inks = Image.frombuffer("CMYK", (header.width, header.height), np.ascontiguousarray(narrow))
    return np.asarray(cmyk_to_srgb(inks, header.icc_profile)), to_depth(alpha, deep=False)


def _decode_with_opencv(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    if header.format == "JPEG" and header.mode == "RGB":
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if rgb is None:
            raise ValueError("OpenCV does not decode it")
        return rgb, None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        raise ValueError("OpenCV does not decode it")
    if decoded.ndim == 2:
        return decoded, _color_key_alpha(bytes(data[:HEADER_BYTES]), decoded) if header.format == "PNG" else None
    if decoded.shape[2] == 4:
        # A view of the opacity would keep all four channels in memory.
        return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB), np.ascontiguousarray(decoded[..., 3])
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), None


def _color_key_alpha(front: bytes, gray: Shaped[np.ndarray, "H W"]) -> Alpha:
    """Return the alpha of a gray PNG in which one level is transparent; OpenCV leaves it out."""
    with Image.open(io.BytesIO(front), formats=("PNG",)) as image:
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return None
        if image.mode == "1":
            key = 255 if key else 0
    opaque = gray.dtype.type(np.iinfo(gray.dtype).max)
    return np.asarray(np.where(gray == key, gray.dtype.type(0), opaque))


def _decode_with_pillow(data: bytes | memoryview, header: Header) -> tuple[Pixels, Alpha]:
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if image.mode == "CMYK":
            return np.asarray(cmyk_to_srgb(image, header.icc_profile)), None
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.asarray(image.convert("L")), None
        if "A" in image.mode or "transparency" in image.info:
            rgba = np.asarray(image.convert("RGBA"))
            return rgba[..., :3], rgba[..., 3]
        return np.asarray(image.convert("RGB")), None


def _is_gray(rgb: Shaped[np.ndarray, "H W 3"]) -> bool:
    # Color shows within the first rows of most color pictures: look there before at all of it.
    for rows in (rgb[:16], rgb):
        red, green, blue = rows[..., 0], rows[..., 1], rows[..., 2]
        if not (np.array_equal(red, green) and np.array_equal(green, blue)):
            return False
    return True


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112); returns a view."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
