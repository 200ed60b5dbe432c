"""The pictures that people have: each kind is read right or refused with its reason."""

import io
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageCms

from tests.tiffs import tiff
from tests.unit.training.pictures import encode, landscape
from training import DataError
from training.data.pictures import decode_photograph, jpeg_size, read_small

TEST_PICTURES = Path(__file__).parents[2] / "data"
RGB = landscape(1)


def saved(image: Image.Image, suffix: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return file.getvalue()


def by_opencv(suffix: str, picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1] if picture.ndim == 3 else picture))
    assert done
    return data.tobytes()


def both_ways(data: bytes) -> list[np.ndarray]:
    """What training reads directly, and what `prepare` reads."""
    return [decode_photograph(data), read_small(data, short_side=72)[0]]


# ---------------------------------------------------------------------------------------------------------- read right


IMAGE = Image.fromarray(RGB)
DEEP = RGB.astype(np.uint16) * 257
EXACT = {
    "png": encode(RGB, ".png"),
    "bmp": encode(RGB, ".bmp"),
    "tiff": saved(IMAGE, "TIFF"),
    "lossless webp": saved(IMAGE, "WEBP", lossless=True),
    "16-bit png": by_opencv(".png", DEEP),
    "16-bit tiff": by_opencv(".tiff", DEEP),
    "cmyk tiff": saved(IMAGE.convert("CMYK"), "TIFF"),
    "opaque png": saved(IMAGE.convert("RGBA"), "PNG"),
    "opaque tiff": saved(IMAGE.convert("RGBA"), "TIFF"),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_lossless_picture_is_decoded_to_its_pixels(name: str) -> None:
    for decoded in both_ways(EXACT[name]):
        assert decoded.dtype == np.uint8
        assert_array_equal(decoded, RGB)


NEAR = {
    "jpeg": (encode(RGB), 4.0),
    "progressive jpeg": (saved(IMAGE, "JPEG", progressive=True, quality=95), 3.0),
    "adobe cmyk jpeg": (saved(IMAGE.convert("CMYK"), "JPEG", quality=95), 3.0),
    "palette png": (saved(IMAGE.quantize(128), "PNG"), 3.0),
}


@pytest.mark.parametrize("name", NEAR)
def test_a_lossy_picture_is_decoded_to_nearly_its_pixels(name: str) -> None:
    """An inverted or mistaken color model would be off by a hundred levels."""
    data, limit = NEAR[name]
    for decoded in both_ways(data):
        assert np.abs(decoded.astype(int) - RGB).mean() < limit


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_turned_upright(suffix: str, orientation: int) -> None:
    """A picture whose left is red and whose top is bright: EXIF says how it is stored."""
    truth = np.zeros((40, 64, 3), np.uint8)
    truth[..., 0] = np.linspace(250, 0, 64)
    truth[..., 1] = np.linspace(200, 0, 40)[:, None]
    undo = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](truth)))
    options = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}}.get(suffix, {})
    data = saved(stored, suffix, exif=exif, **options)
    for decoded in both_ways(data):
        assert decoded.shape == truth.shape
        assert np.abs(decoded.astype(int) - truth).mean() < 5


def test_gray_pictures_have_three_equal_channels() -> None:
    level = RGB[..., 1]
    for data in (
        by_opencv(".png", level),
        by_opencv(".png", level.astype(np.uint16) * 257),
        saved(Image.fromarray(level), "TIFF"),
    ):
        for decoded in both_ways(data):
            assert_array_equal(decoded, np.repeat(level[..., None], 3, axis=-1))


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_is_white(suffix: str) -> None:
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[:20] = 0
    alpha[20:40] = 51
    image = Image.fromarray(np.dstack([RGB, alpha]))
    data = saved(image, suffix, **({"lossless": True, "exact": True} if suffix == "WEBP" else {}))
    for decoded in both_ways(data):
        assert (decoded[:20] == 255).all()
        assert_allclose(decoded[20:40], 255 - (255 - RGB[20:40].astype(float)) / 5, atol=0.51)
        assert_array_equal(decoded[40:], RGB[40:])


def test_a_transparent_color_of_a_palette_is_white() -> None:
    image = IMAGE.quantize(16)
    index = np.asarray(image)[0, 0]
    for decoded in both_ways(saved(image, "PNG", transparency=int(index))):
        assert (decoded[np.asarray(image) == index] == 255).all()
        assert (decoded[np.asarray(image) != index] != 255).any()


def test_prepare_converts_color_profiles() -> None:
    """A profile that calls its red channel blue: the picture is shown with its colors changed about."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert data.count(b"rXYZ") == data.count(b"bXYZ") == 1
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    plain = saved(IMAGE, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    swapped = saved(IMAGE, "PNG", icc_profile=bytes(data).replace(b"s\0R\0G\0B", b"X\0R\0G\0B"))
    assert_array_equal(read_small(plain, short_side=72)[0], RGB)
    converted, _ = read_small(swapped, short_side=72)
    assert np.abs(converted.astype(int) - RGB[..., ::-1]).mean() < 3


# -------------------------------------------------------------------------------------------------------------- shrunk


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("factor", [1, 2, 5, 9])
def test_the_short_side_is_shrunk(suffix: str, factor: int) -> None:
    big = np.kron(RGB, np.ones((factor, factor, 1), np.uint8))
    small, _ = read_small(encode(big, suffix), short_side=48)
    assert small.shape == (48, 64, 3)
    expected = cv2.resize(RGB, (64, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - expected).mean() < 4


def test_a_small_picture_keeps_its_size() -> None:
    assert read_small(encode(RGB, ".png"), short_side=100)[0].shape == RGB.shape


def test_only_a_jpeg_that_is_just_the_picture_may_be_kept_as_it_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    kept = {
        "jpeg": read_small(encode(RGB), short_side=72)[1],
        "large jpeg": read_small(encode(RGB), short_side=64)[1],
        "png": read_small(encode(RGB, ".png"), short_side=72)[1],
        "turned jpeg": read_small(saved(IMAGE, "JPEG", exif=exif), short_side=72)[1],
        "cmyk jpeg": read_small(saved(IMAGE.convert("CMYK"), "JPEG"), short_side=72)[1],
    }
    assert kept == {"jpeg": True, "large jpeg": False, "png": False, "turned jpeg": False, "cmyk jpeg": False}


# ------------------------------------------------------------------------------------------------------------- refused


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that claims to be larger than it is."""
    data = bytearray(encode(RGB, ".png"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    # The header's checksum, as of these very bytes.
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(encode(RGB))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


TWO = [Image.fromarray(landscape(2))]
REFUSED = {
    "empty": (b"", "empty file"),
    "text": (b"no picture", "not a picture"),
    "truncated jpeg": (encode(RGB)[:-400], "truncated or damaged"),
    "truncated png": (encode(RGB, ".png")[:-400], "truncated or damaged"),
    "half a header": (encode(RGB, ".png")[:20], "not a picture"),
    "jpeg without a frame": (encode(RGB)[:30], "not a picture"),
    "too small": (encode(RGB[:15]), "96 x 15 px: smaller than 16 px"),
    "too small png": (encode(RGB[:, :3], ".png"), "3 x 72 px: smaller than 16 px"),
    "png bomb": (png_of_size(60_000, 60_000), "more than 89 megapixels"),
    "large png": (png_of_size(10_000, 9_000), "more than 89 megapixels"),
    "jpeg bomb": (jpeg_of_size(65_000, 65_000), "more than 89 megapixels"),
    "animated webp": (saved(IMAGE, "WEBP", save_all=True, append_images=TWO), "several frames"),
    "animated png": (saved(IMAGE, "PNG", save_all=True, append_images=TWO), "several frames"),
    "animated gif": (saved(IMAGE, "GIF", save_all=True, append_images=TWO), "not a picture"),
    "pages": (saved(IMAGE, "TIFF", save_all=True, append_images=TWO), "several frames or pages"),
    "Lab tiff": (
        saved(
            ImageCms.applyTransform(
                IMAGE,
                ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
            ),
            "TIFF",
        ),
        "LAB pixels are not read",
    ),
    "32-bit tiff": (saved(Image.fromarray(RGB[..., 1].astype(np.float32)), "TIFF"), "F pixels are not read"),
}


LAYOUTS: list[dict[str, Any]] = [
    parts | packed | kind
    for parts in ({}, {"rows": 16}, {"tile": 32})
    for packed in ({}, {"compression": "lzw"}, {"compression": "deflate", "predictor": True})
    for kind in ({}, {"order": ">"}, {"big": True})
]
LEVEL = RGB[..., 1]
RGBA = np.dstack([RGB, np.full_like(LEVEL, 255)])
APART = {
    "gray": (LEVEL, None),
    "16-bit gray": (LEVEL.astype(np.uint16) * 257, None),
    "color": (RGB, None),
    "opaque": (RGBA, None),
    "gray with alpha": (RGBA[..., 2:], "in planes apart are not read in this layout"),
    "16-bit gray with alpha": (DEEP[..., :2], "16-bit channels in planes apart are not read"),
    "16-bit color": (DEEP, "16-bit channels in planes apart are not read"),
    "16-bit opaque": (RGBA.astype(np.uint16) * 257, "16-bit channels in planes apart are not read"),
}
"""Channels in planes apart, and why they are refused."""


@pytest.mark.parametrize("name", APART)
def test_channels_in_planes_apart_are_read_right_or_refused_with_the_reason(name: str) -> None:
    stored, reason = APART[name]
    for data in (tiff(stored, **layout) for layout in LAYOUTS):
        if reason is None:
            for decoded in both_ways(data) + both_ways(data):
                assert_array_equal(decoded, RGB if stored.ndim == 3 else np.repeat(LEVEL[..., None], 3, axis=-1))
        else:
            for read in (decode_photograph, lambda data: read_small(data, short_side=64)):
                with pytest.raises(DataError, match=reason):
                    read(data)


@pytest.mark.parametrize(
    ("channels", "extra", "uncompressed", "compressed"),
    [(4, [0], False, True), (4, [1], False, True), (2, [0], False, True), (4, None, False, False)],
    ids=["unspecified channel", "associated alpha", "unspecified beside gray", "fourth channel unsaid"],
)
def test_further_channels_in_planes_apart(
    channels: int, extra: list[int] | None, uncompressed: bool, compressed: bool
) -> None:
    stored = np.dstack([RGB, LEVEL])[..., -channels:]
    for is_read, packed in ((uncompressed, {}), (compressed, {"compression": "deflate"})):
        data = tiff(stored, tags={338: extra}, **packed)
        if is_read:
            expected = both_ways(tiff(stored, planes=False, tags={338: extra}, **packed))
            assert_array_equal(both_ways(data), expected)
        else:
            with pytest.raises(DataError, match="in planes apart are not read in this layout"):
                decode_photograph(data)


def test_a_tiff_cut_inside_its_header_is_no_picture() -> None:
    data = tiff(DEEP, planes=False)
    for length in range(4, 100):
        with pytest.raises(DataError, match="not a picture"):
            decode_photograph(data[:length])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_good_picture_is_refused_with_the_reason(name: str) -> None:
    data, reason = REFUSED[name]
    for read in (decode_photograph, lambda data: read_small(data, short_side=64)):
        with pytest.raises(DataError, match=reason):
            read(data)


def test_the_size_of_a_jpeg_is_in_its_frame_header() -> None:
    for path in TEST_PICTURES.glob("*.jpg"):
        with Image.open(path) as image:
            assert jpeg_size(path.read_bytes()) == image.size
    assert jpeg_size(saved(IMAGE, "JPEG", progressive=True)) == (96, 72)
    # Fill bytes before a marker are allowed.
    data = encode(RGB)
    assert jpeg_size(data[:2] + b"\xff\xff" + data[2:]) == (96, 72)
    assert jpeg_size(encode(RGB, ".png")) is None
    assert jpeg_size(data[:20]) is None
    assert jpeg_size(b"\xff\xd8\xff" + bytes(40)) is None
