"""TIFF files of our own making, read by two other libraries; and the profile that all answers carry."""

import io
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from service.pictures import tiff_writer
from service.pictures.answer_formats import OutputFormat
from service.pictures.encode import SPARE_BYTES, encode, most_bytes
from service.pictures.metadata.belongings import Metadata, Note, Text
from service.pictures.metadata.exif import Directory, Entry, build
from service.pictures.metadata.fitting import fit
from service.pictures.probe import probe
from service.pictures.srgb_profile import COLORANTS, D50, srgb_profile
from tests.pictures import levels, smooth_gray

SHAPES = ((1, 1, 3), (513, 17, 3), (3, 40_000, 3), (300, 523, 4), (700, 300, 3))
MSB_FIRST = build(Directory({0x010F: Entry(2, 6, b"Zeiss\0")}), ">")


def written(pixels: np.ndarray, **options: object) -> bytes:
    return tiff_writer.encode(pixels, options.pop("metadata", Metadata()), srgb_profile(), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("metadata", [Metadata(), Metadata(MSB_FIRST)], ids=["LSB first", "MSB first"])
def test_tifffile_reads_the_same_pixels(shape: tuple[int, ...], dtype: type, metadata: Metadata) -> None:
    pixels = levels(*shape, dtype=dtype)
    for tiled in (False, True):
        for big in (False, True):
            with tifffile.TiffFile(io.BytesIO(written(pixels, metadata=metadata, tiled=tiled, big=big))) as file:
                np.testing.assert_array_equal(file.asarray(), pixels)
                page = file.pages[0]
                assert (file.is_bigtiff, page.is_tiled, page.predictor, page.compression) == (big, tiled, 2, 8)
                assert [int(kind) for kind in page.extrasamples] == ([2] if shape[2] == 4 else [])
                assert bytes(page.iccprofile) == srgb_profile()
                assert (0x010F in page.tags) == bool(metadata.exif)


@pytest.mark.parametrize("big", [False, True])
def test_tags_have_the_types_that_tiff_6_0_allows(big: bool) -> None:
    allowed = {254: {4}, 256: {3, 4}, 257: {3, 4}, 258: {3}, 259: {3}, 262: {3}, 277: {3}, 284: {3}, 317: {3}}
    with tifffile.TiffFile(io.BytesIO(written(levels(40, 30, 3), big=big))) as file:
        found = {tag.code: int(tag.dtype) for tag in file.pages[0].tags}
    assert [tag for tag, kinds in allowed.items() if found[tag] not in kinds] == []


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("metadata", [Metadata(), Metadata(MSB_FIRST)], ids=["LSB first", "MSB first"])
def test_libtiff_reads_the_same_pixels(dtype: type, metadata: Metadata, tiled: bool) -> None:
    for channels, colors in ((3, cv2.COLOR_BGR2RGB), (4, cv2.COLOR_BGRA2RGBA)):
        pixels = levels(300, 523, channels, dtype=dtype)
        data = np.frombuffer(written(pixels, metadata=metadata, tiled=tiled), np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert decoded is not None
        if channels == 4 and dtype is np.uint8:  # OpenCV asks libtiff for colors multiplied by opacity.
            pixels[..., :3] = cv2.cvtColor(decoded, colors)[..., :3]
        np.testing.assert_array_equal(cv2.cvtColor(decoded, colors), pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_pillow_reads_the_same_pixels(channels: int) -> None:
    pixels = levels(300, 500, channels)
    for tiled in (False, True):
        with Image.open(io.BytesIO(written(pixels, tiled=tiled))) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("tiled", [False, True])
def test_the_bytes_do_not_depend_on_how_many_work(tiled: bool) -> None:
    pixels = levels(700, 900, 3, dtype=np.uint16) // 64 * 64
    alone = written(pixels, tiled=tiled)
    assert alone == written(pixels, tiled=tiled, workers=3)
    assert alone == written(pixels.copy(), tiled=tiled, workers=2)


def test_a_view_with_strides_is_written_as_it_looks() -> None:
    pixels = levels(60, 80, 3)
    for view in (pixels[::-1], pixels[:, ::2], pixels[..., ::-1], pixels.transpose(1, 0, 2)):
        with tifffile.TiffFile(io.BytesIO(written(view))) as file:
            np.testing.assert_array_equal(file.asarray(), view)


def test_large_pictures_are_tiled_and_only_huge_ones_are_bigtiff() -> None:
    assert tiff_writer.TILED_PIXELS == 50_000_000
    row = np.zeros((1, 1, 3), np.uint8)
    wide = np.broadcast_to(row, (1_000, 50_001, 3))
    with tifffile.TiffFile(io.BytesIO(written(wide))) as file:
        assert file.pages[0].is_tiled
        assert not file.is_bigtiff
    with tifffile.TiffFile(io.BytesIO(written(wide[:, :50_000]))) as file:
        assert not file.pages[0].is_tiled


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("channels", [3, 4])
def test_no_answer_has_more_bytes_than_were_reserved(channels: int, deep: bool) -> None:
    pixels = levels(400, 600, channels, dtype=np.uint16 if deep else np.uint8)
    alpha = pixels[..., 3] if channels == 4 else None
    for output_format in ("png", "tiff"):
        made = encode(pixels[..., :3], alpha, output_format)
        assert len(made) <= most_bytes(output_format, 240_000, channels=channels, deep=deep)
    tiled = written(pixels, tiled=True)
    assert len(tiled) < 1.3 * pixels.nbytes, "what fills the last tiles takes little room"


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "tiff"])
def test_what_goes_over_is_reserved_too(output_format: OutputFormat) -> None:
    packet = b'<a><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></a>' + b" " * 60_000
    texts = tuple(Text(word, "words " * 2_000) for word in ("Title", "Description", "Comment"))
    found = Metadata(MSB_FIRST, packet, iptc=b"\x1c\x02\x78\x75\x30" + b"caption " * 3_750, texts=texts)
    made = fit(found, (60, 40), output_format, Note("a", "b"))
    gray = np.dstack([smooth_gray(40, 60)] * 3)
    beside = len(encode(gray, None, output_format, metadata=made)) - len(encode(gray, None, output_format))
    assert 60_000 < beside < found.nbytes + SPARE_BYTES
    room = [most_bytes(output_format, 2_400, channels=3, deep=False, beside=more) for more in (0, found.nbytes)]
    assert room[1] - room[0] == found.nbytes


def test_our_own_tiff_is_read_again() -> None:
    gray = smooth_gray(40, 60, dtype=np.uint16)
    header = probe(encode(np.dstack([gray] * 3), gray, "tiff"), max_megapixels=1)
    assert (header.format, header.upright_size, header.wide) == ("TIFF", (60, 40), True)


def test_the_profile_is_srgb_to_lcms_and_the_same_bytes_each_time() -> None:
    profile = srgb_profile()
    srgb_profile.cache_clear()
    assert srgb_profile() == profile
    assert 400 < len(profile) < 3_000
    assert struct.unpack_from(">L", profile)[0] == len(profile)
    assert np.sum(list(COLORANTS.values()), axis=0).tolist() == list(D50), "white is white"
    ours = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    picture = Image.fromarray(levels(64, 64, 3))
    for source, target in ((ours, ImageCms.createProfile("sRGB")), (ImageCms.createProfile("sRGB"), ours)):
        same = ImageCms.profileToProfile(picture, source, target, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
        np.testing.assert_array_equal(np.asarray(same), np.asarray(picture))


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "tiff"])
def test_every_answer_carries_the_profile(output_format: str) -> None:
    with Image.open(io.BytesIO(encode(levels(20, 30, 3), None, output_format))) as image:  # type: ignore[arg-type]
        assert image.info["icc_profile"] == srgb_profile()
