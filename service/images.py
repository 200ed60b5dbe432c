"""Bytes <-> pixels: probe a header, decode a picture, encode the answer.

Three rules. The header is read, and judged, before any pixel is decoded. What is kept is kept exactly: 16-bit levels,
alpha, size. Whatever a file holds, the outcome is a picture or a `RequestError`.

Pillow reads the headers, and decodes what OpenCV gets wrong (TIFF with alpha or a palette, CMYK, color profiles);
OpenCV decodes and encodes the rest, several times faster; PNG is written by `service.png`.
"""

import io
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import BmpImagePlugin, Image, ImageCms, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from service import planes, png
from service.errors import BrokenPicture, EmptyUpload, PictureTooLarge, SeveralFrames, UnfitFormat, UnsupportedPicture

READABLE: Final = {
    plugin.format: signatures
    for plugin, signatures in (
        (JpegImagePlugin.JpegImageFile, (b"\xff\xd8\xff",)),
        (PngImagePlugin.PngImageFile, (b"\x89PNG\r\n\x1a\n",)),
        (WebPImagePlugin.WebPImageFile, (b"RIFF",)),
        (TiffImagePlugin.TiffImageFile, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        (BmpImagePlugin.BmpImageFile, (b"BM",)),
    )
}
"""Formats that are read, by Pillow's names, with the first bytes of such files. Nothing else ever reaches a decoder."""
HEADER_BYTES: Final = 1 << 21
"""How much of a JPEG or PNG is searched for its header. Both keep it in front of the pixels, color profile included; a
hostile file can fill megabytes with comments that take seconds to walk through."""
MAX_SIDE_PX: Final = 65_500
"""Longest side of a picture: libjpeg's limit, the lowest of the formats that hold large pictures."""
WEBP_MAX_SIDE_PX: Final = 16_383
"""Longest side that WebP can hold (RFC 9649, section 2.5)."""
LOSSY_QUALITY: Final = 95
"""Quality of JPEG and WebP answers; at 95 their own damage is well below that of the guessed colors."""

TIFF_BITS_PER_SAMPLE: Final = 258
TIFF_PHOTOMETRIC: Final = 262
EXIF_ORIENTATION: Final = 0x0112

OutputFormat = Literal["png", "jpeg", "webp"]
PNG_CHUNK_FRAME: Final = 12
"""Bytes of a PNG chunk beside its content: length, type, checksum."""
PNG_CHUNK_HEAD: Final = 8
"""...and of them those in front of it."""
MAX_PNG_CHUNKS: Final = 1 << 16
"""Encoders cut 32 MiB into some thousand; a file of empty ones would take a second to walk."""
READABLE_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp")
"""The media types of what is read; the bytes decide, whatever type they are sent with."""
MEDIA_TYPES: Final[dict[OutputFormat, str]] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
SUFFIXES: Final[dict[OutputFormat, str]] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}

Pixels = Shaped[np.ndarray, "H W *channels"]
"""Gray (H, W) or color (H, W, 3), uint8 or uint16."""
Alpha = Shaped[np.ndarray, "H W"] | None
"""Opacity (H, W), uint8 or uint16, of pictures that have it."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before any pixel is decoded.

    Attributes:
        format: Pillow's name: JPEG, PNG, WEBP, TIFF or BMP.
        width: of the stored picture, px, before its orientation is applied.
        height: likewise.
        mode: Pillow's name of the pixel layout.
        orientation: EXIF orientation that is still to be applied, 1 to 8.
        wide: stored with 16 bits a channel in more than one channel, which Pillow would cut to 8.
        inverted: 0 means white, and Pillow does not mind.
        icc_profile: embedded color profile.
    """

    format: str
    width: int
    height: int
    mode: str
    orientation: int
    wide: bool
    inverted: bool
    icc_profile: bytes | None

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.width * self.height / 1e6

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture once its orientation is applied, px."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


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
    OpenCV would print a line for each broken file.
    """
    Image.MAX_IMAGE_PIXELS = None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def probe(data: bytes, *, max_megapixels: float) -> Header:
    """Read and judge a picture's header; takes well below a millisecond and allocates no pixels.

    `prepare_codecs` must have run.

    Args:
        data: the whole file.
        max_megapixels: largest picture, millions of pixels.

    Returns:
        The header.

    Raises:
        EmptyUpload: no bytes.
        UnsupportedPicture: not a picture, or of a format or pixel layout that is not read.
        BrokenPicture: the header is damaged.
        PictureTooLarge: more pixels, or a longer side, than allowed.
        SeveralFrames: an animation, or more than one page.
    """
    if not data:
        raise EmptyUpload("The body is empty: send the bytes of a picture.")
    if data.startswith(READABLE["PNG"]):
        _check_png_lengths(data)
    if data.startswith(READABLE["TIFF"]) and (reason := planes.why_unread(data)):
        raise UnsupportedPicture(reason)
    try:
        with Image.open(io.BytesIO(_front(data)), formats=tuple(READABLE)) as image:
            header = _header(image)
            has_more = _has_more_frames(image)
    except Exception as error:
        # Decoders answer damaged headers with nearly any exception; each means that this is no good picture.
        if any(data.startswith(signature) for signatures in READABLE.values() for signature in signatures):
            raise BrokenPicture("The header of the picture cannot be read.") from error
        raise UnsupportedPicture(
            "The bytes are not a picture of a format that is read here.", formats=sorted(READABLE)
        ) from error
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
    if has_more:
        raise SeveralFrames("Animations and files of several pages are not taken: send one picture.", limit=1)
    if header.mode not in _MODES:
        raise UnsupportedPicture(f"Pictures with {header.mode!r} pixels are not read here.")
    return header


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


def _front(data: bytes) -> bytes:
    return data[:HEADER_BYTES] if data.startswith((*READABLE["JPEG"], *READABLE["PNG"])) else data


def _header(image: Image.Image) -> Header:
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(TIFF_BITS_PER_SAMPLE, ())
    is_tiff = image.format == "TIFF"
    return Header(
        # A phone's JPEG that also carries a depth map or a small preview is "MPO" to Pillow.
        format="JPEG" if image.format == "MPO" else str(image.format),
        width=image.width,
        height=image.height,
        mode=image.mode,
        # Both Pillow and OpenCV turn TIFF upright by themselves.
        orientation=1 if is_tiff else _orientation(image.info.get("exif")),
        wide=is_tiff and len(bits) > 1 and max(bits) > 8,
        inverted=is_tiff and image.mode.startswith("I;16") and tags.get(TIFF_PHOTOMETRIC) == 0,
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
    if image.format == "TIFF":
        # n_frames would walk the whole chain of pages, which a hostile file can make very long.
        try:
            image.seek(1)
        except EOFError:
            return False
        return True
    return bool(getattr(image, "is_animated", False))


def decode(data: bytes, header: Header) -> Picture:
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
    """
    try:
        by_pillow = header.format == "BMP" or (header.format == "TIFF" and not header.wide) or header.mode == "CMYK"
        pixels, alpha = (_decode_with_pillow if by_pillow else _decode_with_opencv)(data, header)
        if pixels.shape[:2] != (header.height, header.width):
            raise ValueError("size differs from the header's")
    except Exception as error:
        # The same as in probe: whatever a decoder throws at these bytes, the bytes are at fault.
        raise BrokenPicture("The picture starts well, but its pixels cannot be decoded.") from error
    if header.icc_profile and header.mode != "CMYK":
        pixels = _to_srgb(pixels, header.icc_profile)
    if pixels.ndim == 3 and _is_gray(pixels):
        pixels = pixels[..., 0]
    pixels = np.ascontiguousarray(_upright(pixels, header.orientation))
    return Picture(pixels, None if alpha is None else np.ascontiguousarray(_upright(alpha, header.orientation)))


def _decode_with_opencv(data: bytes, header: Header) -> tuple[Pixels, Alpha]:
    if header.format == "JPEG" and header.mode == "RGB":
        rgb = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if rgb is None:
            raise ValueError("OpenCV does not decode it")
        return rgb, None
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.dtype not in (np.uint8, np.uint16):
        raise ValueError("OpenCV does not decode it")
    if decoded.ndim == 2:
        return decoded, _color_key_alpha(data, decoded) if header.format == "PNG" else None
    if decoded.shape[2] == 4:
        return cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB), decoded[..., 3]
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB, dst=decoded), None


def _color_key_alpha(data: bytes, gray: Shaped[np.ndarray, "H W"]) -> Alpha:
    """Return the alpha of a gray PNG in which one level is transparent; OpenCV leaves it out."""
    with Image.open(io.BytesIO(_front(data)), formats=("PNG",)) as image:
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return None
        if image.mode == "1":
            key = 255 if key else 0
    opaque = gray.dtype.type(np.iinfo(gray.dtype).max)
    return np.asarray(np.where(gray == key, gray.dtype.type(0), opaque))


def _decode_with_pillow(data: bytes, header: Header) -> tuple[Pixels, Alpha]:
    with Image.open(io.BytesIO(data), formats=(header.format,)) as image:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            _join_single_plane(image)
        if image.mode.startswith("I;16"):
            levels = np.asarray(image).astype(np.uint16)
            return (~levels if header.inverted else levels), None
        if image.mode == "CMYK":
            return np.asarray(_cmyk_to_srgb(image, header.icc_profile)), None
        if image.mode in ("1", "L") and "transparency" not in image.info:
            return np.asarray(image.convert("L")), None
        if "A" in image.mode or "transparency" in image.info:
            rgba = np.asarray(image.convert("RGBA"))
            return rgba[..., :3], rgba[..., 3]
        return np.asarray(image.convert("RGB")), None


def _join_single_plane(image: TiffImagePlugin.TiffImageFile) -> None:
    """Call the only channel of a TIFF interleaved, which comes to the same.

    Where it is said to lie apart, Pillow takes its layout for the first letter alone: `L` for `L;I`, a negative.
    """
    if image.tag_v2.get(planes.PLANAR_CONFIGURATION) == planes.APART and image.tag_v2.get(planes.SAMPLES, 1) == 1:
        image.tag_v2[planes.PLANAR_CONFIGURATION] = 1
        image._setup()


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


def _to_srgb(pixels: Pixels, icc_profile: bytes) -> Pixels:
    """Convert from an embedded profile to sRGB; a profile that is broken or does not fit counts as absent.

    Deep gray keeps its 16 bits. Deep color comes back with 8, since Pillow converts no more.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if "sRGB" in (ImageCms.getProfileDescription(profile) or ""):
            return pixels
        if pixels.ndim == 2:
            return np.asarray(_gray_curve(profile, pixels.dtype)[pixels])
        narrow = pixels if pixels.dtype == np.uint8 else to_8_bits(pixels)
        return np.asarray(_convert(Image.fromarray(narrow), profile))
    except (ImageCms.PyCMSError, OSError):
        return pixels


def _gray_curve(profile: ImageCms.ImageCmsProfile, dtype: np.dtype[Any]) -> Shaped[np.ndarray, "levels"]:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    # Unasked, lcms tabulates a gray curve so coarsely that dark levels are off by 10.
    curve = np.asarray(_convert(ramp, profile, ImageCms.Flags.NOOPTIMIZE))[0, :, 1]
    if dtype == np.uint8:
        return curve
    levels = np.interp(np.arange(65536) / 257, np.arange(256), curve.astype(np.float64) * 257)
    return np.rint(levels).astype(np.uint16)


def _cmyk_to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    if icc_profile:
        try:
            return _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)))
        except (ImageCms.PyCMSError, OSError):
            image.load()
    return image.convert("RGB")


def _convert(
    image: Image.Image, profile: ImageCms.ImageCmsProfile, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    return cast("Image.Image", ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB", flags=flags))


def to_8_bits(levels: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Return 16-bit levels rounded to 8 bits; uint16 of any shape in, uint8 of the same shape out."""
    return ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_rgb_u8(pixels: Pixels) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture's pixels as 8-bit RGB; gray (H, W) or color (H, W, 3), uint8 or uint16 in."""
    narrow = pixels if pixels.dtype == np.uint8 else to_8_bits(pixels)
    return np.dstack([narrow] * 3) if narrow.ndim == 2 else narrow


def encode_gray(levels: UInt8[np.ndarray, "H W"]) -> bytes:
    """Return a gray PNG of levels, uint8, shape (H, W)."""
    return png.encode(levels)


def to_depth(alpha: Alpha, *, deep: bool) -> Alpha:
    """Return opacity with the depth of the answer it goes with: 16 bits stay only when the answer is deep."""
    return alpha if alpha is None or alpha.dtype == np.uint8 or deep else to_8_bits(alpha)


def encode(rgb: Shaped[np.ndarray, "H W 3"], alpha: Alpha, output_format: OutputFormat, *, workers: int = 1) -> bytes:
    """Encode an answer; the same pixels give the same bytes.

    PNG keeps everything. WebP keeps alpha; JPEG has none and shows the picture on white. Both have 8 bits a channel.

    Args:
        rgb: sRGB, uint8 or uint16 (uint16 for PNG alone), shape (H, W, 3).
        alpha: opacity, dtype of rgb, shape (H, W), or None.
        output_format: png, jpeg or webp.
        workers: threads that may work on a PNG; they do not change it.

    Returns:
        The file.

    Raises:
        UnfitFormat: the format cannot hold a picture of this size.
        ValueError: 16 bits for another format than PNG.
    """
    height, width = rgb.shape[:2]
    if output_format != "png" and rgb.dtype != np.uint8:
        raise ValueError(f"{output_format} holds 8 bits a channel")
    if output_format == "png":
        return png.encode(rgb if alpha is None else np.dstack([rgb, alpha]), workers=workers)
    if output_format == "jpeg":
        flat = rgb if alpha is None else _on_white(rgb, alpha)
        return _imencode(".jpg", _to_bgr(flat, None), (cv2.IMWRITE_JPEG_QUALITY, LOSSY_QUALITY))
    if max(height, width) > WEBP_MAX_SIDE_PX:
        raise UnfitFormat(
            f"WebP holds at most {WEBP_MAX_SIDE_PX} px a side, the picture is {width} x {height}: ask for png or jpeg.",
            limit=WEBP_MAX_SIDE_PX,
            unit="px",
        )
    return _imencode(".webp", _to_bgr(rgb, alpha), (cv2.IMWRITE_WEBP_QUALITY, LOSSY_QUALITY))


def _to_bgr(rgb: Shaped[np.ndarray, "H W 3"], alpha: Alpha) -> Shaped[np.ndarray, "H W C"]:
    if alpha is None:
        return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    bgra[..., 3] = alpha
    return bgra


def _on_white(rgb: UInt8[np.ndarray, "H W 3"], alpha: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    opacity: Float[np.ndarray, "H W 1"] = alpha[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(rgb * opacity + 255 * (1 - opacity)), np.uint8)


def _imencode(suffix: str, pixels: Shaped[np.ndarray, "H W C"], settings: tuple[int, ...]) -> bytes:
    done, encoded = cv2.imencode(suffix, pixels, settings)
    if not done:
        raise RuntimeError(f"OpenCV could not encode a {suffix} of shape {pixels.shape}")
    return encoded.tobytes()
