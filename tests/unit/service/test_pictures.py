"""service.pictures: headers judged before pixels, pixels kept exactly, broken bytes answered with types."""

import io
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    EmptyUpload,
    PictureTooLarge,
    RequestError,
    SeveralFrames,
    UnfitFormat,
    UnsupportedPicture,
)
from service.pictures.answer_formats import OutputFormat
from service.pictures.decode import Picture, decode, prepare_codecs
from service.pictures.encode import WEBP_MAX_SIDE_PX, encode
from service.pictures.levels import has_two_levels, to_8_bits, to_depth
from service.pictures.probe import MAX_SIDE_PX, probe
from tests.pictures import bomb_png, by_opencv, by_pillow, icc_profile, levels, png_chunk, smooth_gray, with_orientation

GRAY = levels(23, 31)
RGB = levels(23, 31, 3)
RGBA = levels(23, 31, 4)
DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(autouse=True)
def _codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # Put back afterwards.
    prepare_codecs()


def read(data: bytes, max_megapixels: float = 1.0) -> Picture:
    return decode(data, probe(data, max_megapixels=max_megapixels))


def decoded(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else cv2.cvtColor(image, {3: 4, 4: 5}[image.shape[2]])


@pytest.mark.parametrize(
    "data",
    [
        by_pillow(GRAY, "PNG"),
        by_pillow(GRAY, "TIFF"),
        by_pillow(GRAY, "TIFF", compression="tiff_lzw"),
        by_pillow(GRAY, "BMP"),
        by_pillow(np.dstack([GRAY] * 3), "PNG"),
        by_pillow(np.dstack([GRAY] * 3), "WEBP", lossless=True),
        by_opencv(np.dstack([GRAY] * 3), ".tif"),
    ],
    ids=["png", "tiff", "tiff-lzw", "bmp", "png-rgb", "webp-rgb", "tiff-rgb"],
)
def test_gray_comes_out_gray_and_exact(data: bytes) -> None:
    picture = read(data)
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.pixels, GRAY)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_color_is_exact(kind: str) -> None:
    picture = read(by_pillow(RGB, kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(picture.pixels, RGB)
    assert (picture.height, picture.width, picture.is_deep) == (23, 31, False)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_untouched(kind: str) -> None:
    # WebP may drop the colors below full transparency.
    rgba = RGBA.copy()
    rgba[..., 3] |= 1
    picture = read(by_pillow(rgba, kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(picture.pixels, rgba[..., :3])
    np.testing.assert_array_equal(picture.alpha, rgba[..., 3])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_gray_with_alpha_is_untouched(kind: str) -> None:
    picture = read(by_pillow(Image.fromarray(np.dstack([GRAY, RGB[..., 0]]), "LA"), kind))
    np.testing.assert_array_equal(picture.pixels, GRAY)
    np.testing.assert_array_equal(picture.alpha, RGB[..., 0])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=["gray", "rgb", "rgba"])
def test_sixteen_bits_are_exact(suffix: str, channels: tuple[int, ...]) -> None:
    deep = levels(23, 31, *channels, dtype=np.uint16)
    picture = read(by_opencv(deep, suffix))
    assert picture.is_deep
    np.testing.assert_array_equal(picture.pixels, deep[..., :3] if channels else deep)
    if channels == (4,) and suffix == ".png":
        np.testing.assert_array_equal(picture.alpha, deep[..., 3])
    else:  # OpenCV does not say what the fourth channel of a TIFF is, so it is no opacity.
        assert picture.alpha is None


@pytest.mark.parametrize(("photometric", "order"), [(0, "<"), (0, ">"), (1, "<"), (1, ">")])
def test_deep_gray_tiff_of_either_kind(photometric: int, order: str) -> None:
    deep = levels(23, 31, dtype=np.uint16)
    picture = read(_gray_tiff(deep, photometric, order))
    np.testing.assert_array_equal(picture.pixels, deep if photometric else ~deep)


def _gray_tiff(deep: np.ndarray, photometric: int, order: str) -> bytes:
    """Write an uncompressed 16-bit gray TIFF by hand (TIFF 6.0, section 3)."""
    height, width = deep.shape
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, photometric), (273, 8), (277, 1)]
    entries += [(278, height), (279, deep.nbytes)]
    pixels = deep.astype(f"{order}u2").tobytes()
    byteorder = "little" if order == "<" else "big"

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, byteorder)

    ifd = number(len(entries), 2)
    for tag, value in entries:
        ifd += number(tag, 2) + number(4, 2) + number(1, 4) + number(value, 4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + number(8 + len(pixels), 4)
    return head + pixels + ifd + bytes(4)


def test_palettes_and_bilevel() -> None:
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(read(by_pillow(palette, "PNG")).pixels, np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(read(by_pillow(palette, "TIFF")).pixels, np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(read(by_pillow(GRAY > 127, "PNG")).pixels, np.where(GRAY > 127, 255, 0))
    np.testing.assert_array_equal(read(by_pillow(GRAY > 127, "TIFF")).pixels, np.where(GRAY > 127, 255, 0))


def test_transparency_of_palettes_and_color_keys() -> None:
    palette = Image.fromarray(RGB).quantize(4)
    picture = read(by_pillow(palette, "PNG", transparency=bytes([0, 100, 255, 255])))
    np.testing.assert_array_equal(picture.alpha, np.array([0, 100, 255, 255])[np.asarray(palette)])
    picture = read(by_pillow(GRAY, "PNG", transparency=int(GRAY[0, 0])))
    np.testing.assert_array_equal(picture.pixels, GRAY)
    np.testing.assert_array_equal(picture.alpha, np.where(GRAY[0, 0] == GRAY, 0, 255))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    data = with_orientation(smooth_gray(24, 40), orientation, kind)
    header = probe(data, max_megapixels=1)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    picture = decode(data, header)
    assert picture.pixels.shape == expected.shape == ((40, 24) if orientation > 4 else (24, 40))
    assert np.abs(picture.pixels.astype(int) - expected).max() <= (3 if kind == "JPEG" else 0)


def test_deep_color_tiff_is_left_to_opencv() -> None:
    deep = levels(5, 7, 3, dtype=np.uint16)
    data = by_opencv(deep, ".tif")
    header = probe(data, max_megapixels=1)
    assert header.wide
    assert header.orientation == 1
    np.testing.assert_array_equal(decode(data, header).pixels, deep)


def test_nonsense_orientation_is_ignored() -> None:
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        data = by_pillow(GRAY, "PNG", exif=exif)
        np.testing.assert_array_equal(read(data).pixels, GRAY)
    np.testing.assert_array_equal(read(with_orientation(GRAY, 99, "PNG")).pixels, GRAY)


def test_cmyk_jpeg_shows_its_colors() -> None:
    colors = np.zeros((16, 48, 3), np.uint8)
    colors[:, :16], colors[:, 16:32], colors[:, 32:] = (200, 30, 30), (240, 240, 240), (10, 10, 10)
    data = by_pillow(Image.fromarray(colors).convert("CMYK"), "JPEG", quality=100)
    pixels = read(data).pixels.astype(int)
    for column, expected in ((8, (200, 30, 30)), (24, (240, 240, 240)), (40, (10, 10, 10))):
        assert np.abs(pixels[8, column] - expected).max() < 12


def test_cmyk_tiff_is_read() -> None:
    data = by_pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF")
    np.testing.assert_array_equal(read(data).pixels, RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_profile_is_converted_to_srgb(kind: str) -> None:
    linear = np.full((8, 8, 3), (55, 128, 200), np.uint8)
    data = by_pillow(linear, kind, icc_profile=icc_profile("gamma1"), **({"quality": 100} if kind == "JPEG" else {}))
    encoded = 255 * (1.055 * (linear[0, 0] / 255) ** (1 / 2.4) - 0.055)
    assert np.abs(read(data).pixels[4, 4] - encoded).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_gray_profile_keeps_the_depth(dtype: type) -> None:
    top = np.iinfo(dtype).max
    ramp = np.linspace(0, top, 512).astype(dtype)[None]
    picture = read(_png_with_profile(ramp, icc_profile("gray1")))
    share = ramp[0] / top
    encoded = np.where(share <= 0.0031308, 12.92 * share, 1.055 * share ** (1 / 2.4) - 0.055)
    assert picture.pixels.dtype == dtype
    # A straight line between the 256 points that lcms gives is furthest off near black, where the curve is steep.
    assert np.abs(picture.pixels[0] / top - encoded)[8:].max() < 0.006
    assert (np.diff(picture.pixels[0].astype(int)) >= 0).all()
    assert dtype == np.uint8 or len(np.unique(picture.pixels)) > 400


def _png_with_profile(pixels: np.ndarray, profile: bytes) -> bytes:
    import zlib

    data = by_opencv(pixels, ".png")
    return data[:33] + png_chunk(b"iCCP", b"test\0\0" + zlib.compress(profile)) + data[33:]


def test_deep_color_with_a_profile_keeps_its_depth() -> None:
    deep = np.full((4, 4, 3), (20_000, 30_000, 40_000), np.uint16)
    picture = read(_png_with_profile(deep, icc_profile("gamma1")))
    encoded = 65535 * (1.055 * (deep[0, 0] / 65535) ** (1 / 2.4) - 0.055)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels[0, 0] - encoded).max() <= 2


@pytest.mark.parametrize("profile", [icc_profile("srgb"), b"garbage", icc_profile("gray1")])
def test_srgb_and_unusable_profiles_change_nothing(profile: bytes) -> None:
    np.testing.assert_array_equal(read(by_pillow(RGB, "PNG", icc_profile=profile)).pixels, RGB)


def test_a_phone_picture_with_a_second_image_inside_is_read() -> None:
    first, second = Image.fromarray(RGB), Image.fromarray(GRAY)
    data = by_pillow(first, "MPO", save_all=True, append_images=[second])
    assert probe(data, max_megapixels=1).format == "JPEG"
    assert read(data).pixels.shape == RGB.shape


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(kind: str) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(RGBA[..., :3])]
    with pytest.raises(SeveralFrames) as caught:
        read(by_pillow(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert caught.value.facts == {"limit": 1} | ({"pages": 2} if kind == "TIFF" else {})


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    data = bomb_png()
    assert len(data) < 60_000
    tracemalloc.start()
    with pytest.raises(PictureTooLarge) as caught:
        read(data, max_megapixels=50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert caught.value.facts == {"limit": 50, "unit": "megapixels"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_endless_headers_are_not_walked_through(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file full of comments in front of its pixels; the limit is lowered here to keep the file small."""
    monkeypatch.setattr("service.pictures.headers.jpeg.MOST_SEGMENTS", 1000)
    monkeypatch.setattr("service.pictures.headers.png.MOST_CHUNKS", 1000)
    whole = by_pillow(GRAY, kind)
    comment, place = (png_chunk(b"tEXt", b"a\0b"), 33) if kind == "PNG" else (b"\xff\xfe\0\2", 2)
    few, many = (whole[:place] + comment * count + whole[place:] for count in (9, 5000))
    assert read(few).pixels.shape == GRAY.shape
    with pytest.raises(CostlyPicture, match="cut into more than"):
        read(many)


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"IEND"])
def test_a_png_chunk_longer_than_the_file_is_told_before_anything_is_decoded(kind: bytes) -> None:
    """OpenCV takes as many bytes as the chunk claims to have: 3.4 GB for a file of 1,509."""
    data = by_pillow(GRAY, "PNG")[:33] + (3_556_769_792).to_bytes(4, "big") + kind + bytes(1468)
    with pytest.raises(BrokenPicture, match="longer than the file"):
        probe(data, max_megapixels=1)


def test_a_png_that_is_cut_inside_a_chunk_too_long_is_refused_as_well() -> None:
    head = by_pillow(GRAY, "PNG")[:33]
    for more in (b"", b"x\x9cc"):
        with pytest.raises(BrokenPicture, match="longer than the file"):
            probe(head + (134_217_773).to_bytes(4, "big") + b"IDAT" + more, max_megapixels=1)


def test_behind_an_end_without_pixels_nothing_is_read() -> None:
    """OpenCV goes on there, and believes the next chunk's length."""
    behind = (268_435_585).to_bytes(4, "big") + b"tRNS" + bytes(744)
    with pytest.raises(BrokenPicture, match="before any pixels"):
        probe(by_pillow(GRAY, "PNG")[:33] + png_chunk(b"IEND", b"") + behind, max_megapixels=1)
    whole = by_pillow(GRAY, "PNG")
    np.testing.assert_array_equal(read(whole + behind).pixels, GRAY)


def test_a_side_may_be_too_long() -> None:
    data = by_opencv(np.zeros((1, MAX_SIDE_PX + 1), np.uint8), ".png")
    with pytest.raises(PictureTooLarge) as caught:
        read(data)
    assert caught.value.facts == {"limit": MAX_SIDE_PX, "unit": "px"}
    assert read(by_opencv(np.zeros((1, MAX_SIDE_PX), np.uint8), ".png")).width == MAX_SIDE_PX


def test_empty_and_foreign_bytes() -> None:
    with pytest.raises(EmptyUpload):
        read(b"")
    for data in (b"hello", b"\0" * 100, b"%PDF-1.7 ...", b"RIFF....WAVE", b"P9 1 1 1", b"<svg/>"):
        with pytest.raises(UnsupportedPicture):
            read(data)


WHOLE = {
    "JPEG": by_pillow(RGB, "JPEG"),
    "PNG": by_pillow(RGB, "PNG"),
    "WEBP": by_pillow(RGB, "WEBP"),
    "TIFF": by_pillow(RGB, "TIFF", compression="tiff_lzw"),
    "BMP": by_pillow(RGB, "BMP"),
    "deep TIFF": by_opencv(levels(9, 9, 3, dtype=np.uint16), ".tif"),
    "CMYK": by_pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_files_are_refused_by_type(kind: str, share: float) -> None:
    whole = WHOLE[kind]
    with pytest.raises(RequestError) as caught:
        read(whole[: max(int(share * len(whole)), 1)])
    assert caught.value.status in (415, 422)
    if share > 0.5:
        assert isinstance(caught.value, BrokenPicture)


@pytest.mark.parametrize("kind", WHOLE)
def test_flipped_bytes_never_escape_as_anything_else(kind: str) -> None:
    rng = np.random.default_rng(5)
    whole = np.frombuffer(WHOLE[kind], np.uint8)
    outcomes = set()
    for _ in range(60):
        damaged = whole.copy()
        places = rng.integers(0, len(damaged), rng.integers(1, 6))
        damaged[places] = rng.integers(0, 256, len(places))
        try:
            picture = read(damaged.tobytes())
            outcomes.add(picture.pixels.dtype.name)
        except RequestError as error:
            outcomes.add(type(error).__name__)
    assert outcomes <= {
        "uint8", "uint16", "BrokenPicture", "UnsupportedPicture", "PictureTooLarge", "SeveralFrames"
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_png_answers_are_lossless(dtype: type, with_alpha: bool) -> None:
    rgba = levels(23, 31, 4, dtype=dtype)
    alpha = rgba[..., 3] if with_alpha else None
    data = encode(rgba[..., :3], alpha, "png")
    np.testing.assert_array_equal(decoded(data), rgba if with_alpha else rgba[..., :3])
    assert data == encode(rgba[..., :3], alpha, "png")


def test_jpeg_answers_stand_on_white() -> None:
    rgb = np.full((16, 32, 3), 40, np.uint8)
    alpha = np.zeros((16, 32), np.uint8)
    alpha[:, 16:] = 255
    pixels = decoded(encode(rgb, alpha, "jpeg")).astype(int)
    assert np.abs(pixels[:, :8] - 255).max() <= 3
    assert np.abs(pixels[:, 24:] - 40).max() <= 3


def test_webp_answers_keep_alpha() -> None:
    rgba = np.dstack([smooth_gray(32, 48)] * 3 + [levels(32, 48)])
    pixels = decoded(encode(rgba[..., :3], rgba[..., 3], "webp"))
    np.testing.assert_array_equal(pixels[..., 3], rgba[..., 3])


def test_webp_says_when_a_picture_is_too_long() -> None:
    rgb = np.zeros((1, WEBP_MAX_SIDE_PX + 1, 3), np.uint8)
    with pytest.raises(UnfitFormat) as caught:
        encode(rgb, None, "webp")
    assert caught.value.facts["limit"] == WEBP_MAX_SIDE_PX
    assert len(encode(rgb[:, :-1], None, "webp")) > 0


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_lossy_answers_have_8_bits(output_format: OutputFormat) -> None:
    with pytest.raises(ValueError, match="8 bits"):
        encode(levels(4, 4, 3, dtype=np.uint16), None, output_format)


def test_every_level_rounds_to_its_nearest() -> None:
    deep = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_8_bits(deep), np.rint(deep / 257).astype(np.uint8))
    assert to_depth(None, deep=False) is None
    assert to_depth(deep, deep=True) is deep
    assert to_depth(deep, deep=False).dtype == np.uint8


def test_photographs_of_the_test_data_are_read() -> None:
    for path in (DATA / "astronaut.jpg", DATA / "chelsea.png", DATA / "coffee.jpg"):
        data = path.read_bytes()
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(read(data).pixels - expected).max() <= 1


def test_preparing_lifts_pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BrokenPicture):
        read(by_pillow(GRAY, "BMP"))
    prepare_codecs()
    assert read(by_pillow(GRAY, "BMP")).pixels.shape == GRAY.shape


def test_two_levels_are_told_from_three() -> None:
    levels = np.full((200, 60), 30, np.uint8)
    assert has_two_levels(levels)
    levels[:, 20:] = 200
    assert has_two_levels(levels)
    assert has_two_levels(levels[..., None].astype(np.float32) / 2)
    assert not has_two_levels(np.dstack([levels] * 3))
    levels[103, 7] = 31  # in no row that is looked at first
    assert not has_two_levels(levels)
    assert not has_two_levels(smooth_gray(40, 50))
