"""Which directory of a TIFF is the picture, one page of several, and DNGs."""

import io
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tifffile

from service.errors import BrokenPicture, InvalidOption, SeveralFrames, UnsupportedPicture
from service.pictures.decode import decode
from service.pictures.probe import probe
from service.pictures.tiff import pages
from service.pictures.tiff.pages import count_pages, only_page
from service.pictures.worker.pool import DecodePool
from tests.formats.cells import Cell, judge
from tests.formats.test_tiff import COLOR, GRAY, HEIGHT, WIDTH, by_tifffile, narrow, wide
from tests.tiffs import tiff

Directory = tuple[np.ndarray, dict[str, Any]]

SMALL = narrow(COLOR)[::4, ::4].copy()
PAGE = wide(GRAY)
OTHER = wide(1 - GRAY)


def written(*directories: Directory, **options: Any) -> bytes:
    """Write directories one after the other; those that say `subifds` have so many below them."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, **options) as writer:
        for stored, given in directories:
            photometric = "minisblack" if stored.ndim == 2 else "rgb"
            writer.write(stored, **({"photometric": photometric, "metadata": None} | given))
    return stream.getvalue()


THUMBNAIL: Directory = (SMALL, {"subfiletype": 1})


def _pages() -> Iterator[Cell]:
    one = (PAGE, {})
    for options in ({}, {"bigtiff": True}, {"byteorder": ">"}, {"byteorder": ">", "bigtiff": True}):
        name = "-".join(str(each) for each in options.values()) or "plain"

        def cell(
            what: str, *directories: Directory, options: dict[str, Any] = options, name: str = name, **given: Any
        ) -> Cell:
            wanted = {"pixels": PAGE} | given
            return Cell(f"{what}-{name}", lambda: written(*directories, **options), **wanted)

        yield cell("thumbnail-behind", one, THUMBNAIL)
        yield cell("thumbnail-in-front", THUMBNAIL, one)
        yield cell("thumbnail-above", (SMALL, {"subfiletype": 1, "subifds": 1}), (PAGE, {"subfiletype": 0}))
        yield cell("thumbnail-behind-unsaid", one, (PAGE[::4, ::4].copy(), {}))
        yield cell("pyramid-behind", one, (PAGE[::2, ::2].copy(), {"subfiletype": 1}), THUMBNAIL)
        yield cell("pyramid-below", (PAGE, {"subifds": 2}), (PAGE[::2, ::2].copy(), {"subfiletype": 1}), THUMBNAIL)
        yield cell("pyramid-below-unsaid", (PAGE, {"subifds": 1}), (PAGE[::2, ::2].copy(), {}))
        yield cell("mask-behind", one, (GRAY > 0.5, {"subfiletype": 4, "photometric": "mask"}))
        yield cell("page-of-several", (PAGE, {"subfiletype": 2}))
        yield cell("all-reduced", THUMBNAIL, (PAGE, {"subfiletype": 1}))
        for number, pixels in ((1, PAGE), (2, OTHER)):
            yield cell(f"page-{number}", one, THUMBNAIL, (OTHER, {}), page=number, pixels=pixels)
        yield cell("first-of-one", one, page=1)
        several = {
            "pixels": None,
            "refusal": SeveralFrames,
            "says": "holds 2 pictures: ask for one with page=1 to page=2",
        }
        yield cell("two", one, (OTHER, {}), **several)
        beyond = {"pixels": None, "refusal": InvalidOption, "says": "There is no page 3: the file holds 2 pictures"}
        yield cell("page-3-of-2", one, (OTHER, {}), page=3, **beyond)


@pytest.mark.parametrize("cell", list(_pages()), ids=lambda cell: cell.name)
def test_the_picture_is_found(cell: Cell) -> None:
    assert judge(cell) is None


@pytest.mark.parametrize("old", [2, 3])
def test_the_old_subfile_type_tells_reduced_copies_as_well(old: int) -> None:
    data = tiff(PAGE, planes=False, pages=2, tags={255: [old]})
    if old == 2:
        assert probe(data, max_megapixels=1).width == WIDTH
    else:
        with pytest.raises(SeveralFrames):
            probe(data, max_megapixels=1)


def test_a_page_alone_is_a_file_of_one_picture() -> None:
    for options in ({}, {"bigtiff": True, "byteorder": ">"}):
        data = written((PAGE, {}), THUMBNAIL, (OTHER, {"resolution": (300, 300)}), **options)
        assert count_pages(data) == 2
        for page, pixels in ((1, PAGE), (2, OTHER)):
            alone = only_page(data, page)
            np.testing.assert_array_equal(decode(alone, probe(alone, max_megapixels=1)).pixels, pixels, strict=True)
            with tifffile.TiffFile(io.BytesIO(alone)) as file:
                assert len(file.pages) == 1
                assert file.pages[0].resolution == ((300, 300) if page == 2 else (1, 1))


def test_a_chain_that_leads_back_ends_there() -> None:
    data = bytearray(tiff(PAGE, planes=False, pages=2))
    second = struct.unpack_from("<L", data, 8 + 2 + 12 * struct.unpack_from("<H", data, 8)[0])[0]
    count = struct.unpack_from("<H", data, second)[0]
    struct.pack_into("<L", data, second + 2 + 12 * count, 8)
    assert count_pages(bytes(data)) == 2
    struct.pack_into("<L", data, 8 + 2 + 12 * struct.unpack_from("<H", data, 8)[0], 8)
    assert count_pages(bytes(data)) == 1


def test_a_chain_is_walked_so_far_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiff(PAGE[:1, :1], planes=False, pages=50)
    with pytest.raises(SeveralFrames, match="50 pictures"):
        probe(data, max_megapixels=1)
    monkeypatch.setattr(pages, "MOST_DIRECTORIES", 49)
    with pytest.raises(UnsupportedPicture, match="more than 49"):
        probe(data, max_megapixels=1)
    monkeypatch.undo()
    monkeypatch.setattr(pages, "MOST_ENTRIES", 50 * 9 - 1)
    with pytest.raises(UnsupportedPicture, match="very long ones"):
        probe(data, max_megapixels=1)


def test_a_directory_behind_that_cannot_be_read_ends_the_chain() -> None:
    data = bytearray(tiff(PAGE, planes=False))
    struct.pack_into("<L", data, 8 + 2 + 12 * struct.unpack_from("<H", data, 8)[0], len(data) + 1000)
    np.testing.assert_array_equal(decode(bytes(data), probe(bytes(data), max_megapixels=1)).pixels, PAGE, strict=True)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are processes of Linux")
def test_a_worker_reads_the_page_that_was_asked_for() -> None:
    data = written((PAGE, {}), (OTHER, {"compression": "jpegxl"}), (narrow(COLOR), {"compression": "zstd"}))
    unread = by_tifffile(np.full((9, 9), 99, np.float32), photometric="minisblack")
    pool = DecodePool(1, cpu_s=60)
    try:
        for page, pixels in ((1, PAGE), (2, OTHER), (3, narrow(COLOR))):
            found = pool.decode_here(data, probe(data, max_megapixels=1, page=page))
            np.testing.assert_array_equal(found.pixels, pixels, strict=True)
        with pytest.raises(UnsupportedPicture, match="unknown range"):
            pool.decode_here(unread, probe(unread, max_megapixels=1))
    finally:
        pool.close()


# ------------------------------------------------------------------------------------------------------------------ DNG

MOSAIC, LINEAR_RAW = 32803, 34892
VERSION = (50706, "B", 4, bytes([1, 4, 0, 0]), True)
CAMERA = np.array([[0.9, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])
"""XYZ to some camera's levels."""

NEUTRAL = np.array([0.5, 1.0, 0.625])


def rationals(values: Any) -> tuple[int, ...]:
    return tuple(number for value in np.ravel(values) for number in (round(float(value) * 10_000), 10_000))


def dng(stored: np.ndarray, levels: list[Any], *, colors: bool = True, subfiletype: int = 0, **options: Any) -> bytes:
    """Write a DNG: a thumbnail that tells of the colors, and below it raw levels."""
    told = [VERSION, (274, "H", 1, 1, True)]
    if colors:
        told += [
            (50721, "2i", 9, rationals(CAMERA), True),
            (50728, "2I", 3, rationals(NEUTRAL), True),
            (50778, "H", 1, 21, True),
        ]
    main = {"subfiletype": subfiletype, "photometric": LINEAR_RAW, "extratags": levels, **options}
    return written((SMALL, {"subfiletype": 1, "subifds": 1, "extratags": told}), (stored, main))


def encoded(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def camera_levels(neutral_light: np.ndarray) -> np.ndarray:
    """Return a camera's levels in [0, 1] of a gray light in [0, 1], white being `NEUTRAL`."""
    return neutral_light[..., None] * NEUTRAL


def _dngs() -> Iterator[Cell]:
    # White is 1,000 steps above black, each of so many levels that those of every channel are whole.
    black, step = 512, 16
    white = black + 1000 * step
    steps = np.rint(GRAY * 1000)
    raw = (camera_levels(steps) * step + black).astype(np.uint16)
    said = [(50714, "H", 3, (black,) * 3, True), (50717, "H", 3, (white,) * 3, True)]
    gray = wide(encoded(steps / 1000))
    yield Cell("linear-neutral", lambda: dng(raw, said), gray)
    for compression in ("zlib", "lzw", "jpegxl"):
        yield Cell(f"linear-{compression}", lambda each=compression: dng(raw, said, compression=each), gray)
    alone = (steps * step + black).astype(np.uint16)
    one: dict[int, Any] = {262: [LINEAR_RAW], 50706: bytes([1, 4, 0, 0])}
    levels = one | {50714: [black], 50717: [white]}
    for rows in (HEIGHT, 4):
        yield Cell(f"linear-gray-{rows}", lambda rows=rows: tiff(alone, planes=False, rows=rows, tags=levels), gray)
    # A table that undoes a square root, as cameras of 8 bits have it.
    table = np.rint((np.arange(256) / 255) ** 2 * 65535).astype(np.uint16)
    coded = np.rint(np.sqrt(GRAY) * 255).astype(np.uint8)
    tabled = one | {50712: table.tolist(), 50717: [65535]}
    yield Cell("linear-table", lambda: tiff(coded, planes=False, tags=tabled), wide(encoded(table[coded] / 65535)))
    yield Cell(
        "linear-float",
        lambda: dng(camera_levels(GRAY).astype(np.float32), []),
        wide(encoded(camera_levels(GRAY).astype(np.float32)[..., 1].astype(np.float64))),
    )
    crop = [*said, (50719, "I", 2, (4, 3), True), (50720, "I", 2, (WIDTH - 8, HEIGHT - 5), True)]
    yield Cell("linear-crop", lambda: dng(raw, crop), gray[3 : HEIGHT - 2, 4 : WIDTH - 4])
    area = [*said, (50829, "I", 4, (2, 1, HEIGHT - 1, WIDTH), True)]
    yield Cell("linear-area", lambda: dng(raw, area), gray[2 : HEIGHT - 1, 1:])
    rendered = lambda: written(  # noqa: E731
        (SMALL, {"subfiletype": 1, "subifds": 1, "extratags": [VERSION]}), (wide(COLOR), {"subfiletype": 0})
    )
    yield Cell("rendered", rendered, wide(COLOR))
    yield Cell("rendered-alone", lambda: written((wide(COLOR), {"extratags": [VERSION]})), wide(COLOR))
    mosaic = {"refusal": UnsupportedPicture, "says": "a sensor's mosaic: develop it first and send a TIFF or JPEG"}
    yield Cell("mosaic", lambda: dng(alone, [], photometric=MOSAIC), **mosaic)
    must, may = (struct.pack(">LLLLL", 1, 9, 0x01030000, flags, 0) for flags in (0, 1))
    yield Cell(
        "must-be-corrected",
        lambda: dng(raw, [*said, (51009, "B", len(must), must, True)]),
        refusal=UnsupportedPicture,
        says="lens corrections: develop it first",
    )
    yield Cell("may-be-corrected", lambda: dng(raw, [*said, (51009, "B", len(may), may, True)]), gray)
    yield Cell(
        "lossy",
        lambda: dng(narrow(COLOR), [], compression=34892),
        refusal=UnsupportedPicture,
        says="lossy compression: develop it first",
    )


@pytest.mark.parametrize("cell", list(_dngs()), ids=lambda cell: cell.name)
def test_a_dng_gives_its_picture_or_says_what_it_is(cell: Cell) -> None:
    assert judge(cell) is None


def test_a_dng_s_colors_are_those_that_its_matrix_leads_to() -> None:
    """Against the camera's own answer to sRGB colors under the white that its neutral means."""
    white = np.linalg.inv(CAMERA) @ NEUTRAL
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    adapt = np.linalg.inv(cones) @ np.diag(cones @ white / (cones @ to_xyz.sum(1))) @ cones
    light = 0.2 + 0.5 * COLOR
    levels = light @ to_xyz.T @ adapt.T @ CAMERA.T
    raw = np.rint(np.clip(levels, 0, 1) * 65535).astype(np.uint16)
    assert levels.max() <= 1
    data = dng(raw, [])
    found = decode(data, probe(data, max_megapixels=1)).pixels
    assert np.abs(found.astype(int) - wide(encoded(light))).max() <= 40


def test_an_enhanced_picture_stands_for_its_mosaic() -> None:
    data = written(
        (SMALL, {"subfiletype": 1, "subifds": 2, "extratags": [VERSION]}),
        (PAGE, {"subfiletype": 0, "photometric": MOSAIC}),
        (np.dstack([PAGE] * 3), {"subfiletype": 16, "photometric": LINEAR_RAW}),
    )
    found = decode(data, probe(data, max_megapixels=1)).pixels
    np.testing.assert_allclose(found, wide(encoded(PAGE / 65535)), atol=2)


def test_a_header_that_claims_everything_costs_nothing() -> None:
    endless = (2**64 - 1).to_bytes(8, "little")
    entry = struct.pack("<HHQQ", 258, 3, 2**63, 2**63)
    for data in (
        b"II+\0\x08\0\0\0" + endless,
        b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + endless + entry * 1000,
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1000) + entry * 1000,
        b"MM\0*" + struct.pack(">LH", 8, 65_535) + bytes(100),
    ):
        with pytest.raises(BrokenPicture):
            probe(data, max_megapixels=1)
