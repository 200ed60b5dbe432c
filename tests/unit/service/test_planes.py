"""service.pictures.planes: a TIFF whose channels lie in planes apart is read right, or refused before it is decoded."""

import contextlib
import itertools
import struct
import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import BrokenPicture, RequestError, SeveralFrames, UnsupportedPicture
from service.pictures import planes
from service.pictures.decode import decode, prepare_codecs
from service.pictures.probe import probe
from tests.pictures import by_opencv, levels
from tests.tiffs import COMPRESSIONS, tiff

HEIGHT, WIDTH = 40, 56
GRAY = levels(HEIGHT, WIDTH)
RGB = levels(HEIGHT, WIDTH, 3)
DEEP_GRAY = levels(HEIGHT, WIDTH, dtype=np.uint16)
DEEP_RGB = levels(HEIGHT, WIDTH, 3, dtype=np.uint16)

KINDS = {"little-endian": {"order": "<"}, "big-endian": {"order": ">"}, "BigTIFF": {"order": "<", "big": True}}
PARTS: list[dict[str, Any]] = [{}, {"rows": 16}, {"rows": 1}, {"tile": 16}, {"tile": 32}]
"""All rows in one strip, several strips of a plane, a strip for each row, tiles."""
PACKED: list[dict[str, Any]] = [
    {"compression": compression, "predictor": predictor}
    for compression, predictor in itertools.product(COMPRESSIONS, (False, True))
    if compression != "none" or not predictor
]
LAYOUTS = [parts | packed for parts, packed in itertools.product(PARTS, PACKED)]
OTHERS = [
    by_opencv(levels(HEIGHT, WIDTH, 4, dtype=np.uint16, seed=1), ".tif"),
    by_opencv(levels(HEIGHT, WIDTH, 3, seed=2), ".png"),
]


@pytest.fixture(autouse=True)
def _codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # Put back afterwards.
    prepare_codecs()


def pixels_of(data: bytes) -> np.ndarray:
    """Return the pixels, alpha last."""
    picture = decode(data, probe(data, max_megapixels=1))
    return picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])


def answer(data: bytes) -> np.ndarray | str:
    """Return the pixels, or what the file is refused for."""
    try:
        return pixels_of(data)
    except UnsupportedPicture as error:
        return error.detail


def answers(data: bytes) -> list[np.ndarray | str]:
    """Return two answers; between them other pictures leave their levels in memory that is free again."""
    first = answer(data)
    for other in OTHERS:
        answer(other)
    return [first, answer(data)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)], ids=["gray", "gray-alpha", "rgb", "rgba"])
def test_every_layout_is_read_right_or_refused(channels: tuple[int, ...], dtype: type, kind: str) -> None:
    stored = levels(HEIGHT, WIDTH, *channels, dtype=dtype)
    is_read = not channels or (dtype == np.uint8 and channels != (2,))
    for layout in LAYOUTS:
        first, second = answers(tiff(stored, **KINDS[kind], **layout))
        if is_read:
            np.testing.assert_array_equal(first, stored, strict=True)
            np.testing.assert_array_equal(second, stored, strict=True)
        else:
            assert isinstance(first, str)
            assert first == second
            assert ("with 16 bits a channel: " if dtype == np.uint16 else "in the layout of this one: ") in first
            assert first.endswith("save the picture with interleaved channels, or as PNG.")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tags", [{}, {planes.PLANAR_CONFIGURATION: None}], ids=["said", "left out"])
@pytest.mark.parametrize("stored", [GRAY, RGB, DEEP_GRAY, DEEP_RGB], ids=["gray", "rgb", "deep gray", "deep rgb"])
def test_interleaved_channels_are_read(stored: np.ndarray, tags: Mapping[int, None], kind: str) -> None:
    for layout in LAYOUTS:
        for found in answers(tiff(stored, planes=False, tags=tags, **KINDS[kind], **layout)):
            np.testing.assert_array_equal(found, stored, strict=True)


FOUR, FIVE = levels(HEIGHT, WIDTH, 4), levels(HEIGHT, WIDTH, 5)
PALETTE = (257 * levels(256, 3).T.reshape(-1).astype(int)).tolist()
CMYK = {planes.PHOTOMETRIC: [5]}
YCBCR = {planes.PHOTOMETRIC: [planes.YCBCR]}
EXTRA = planes.EXTRA_SAMPLES
WHOLE_CHROMA = {planes.SUBSAMPLING: [1, 1]}
RARE: dict[str, tuple[np.ndarray, Mapping[int, Sequence[int] | None], bool, bool]] = {
    "cmyk": (FOUR, CMYK | {EXTRA: None}, True, True),
    "one depth for all channels": (RGB, {planes.BITS: [8]}, True, True),
    "unspecified channel": (FOUR, {EXTRA: [0]}, False, True),
    "two unspecified channels": (FIVE, {EXTRA: [0, 0]}, False, True),
    "unspecified channel beside gray": (FOUR[..., :2], {EXTRA: [0]}, False, True),
    "unspecified channel beside cmyk": (FIVE, CMYK | {EXTRA: [0]}, False, True),
    "associated alpha": (FOUR, {EXTRA: [1]}, False, True),
    "YCbCr": (RGB, YCBCR | WHOLE_CHROMA, False, True),
    "YCbCr, subsampled": (RGB, YCBCR, False, False),
    "fourth channel unsaid": (FOUR, {EXTRA: None}, False, False),
    "alpha and more": (FIVE, {EXTRA: [2, 0]}, False, False),
    "palette with alpha": (FOUR[..., :2], {planes.PHOTOMETRIC: [3], 320: PALETTE}, False, False),
    "Lab": (RGB, {planes.PHOTOMETRIC: [8]}, False, False),
    "bits from the other end": (RGB, {planes.FILL_ORDER: [2]}, False, True),
    "one depth for all deep channels": (DEEP_RGB, {planes.BITS: [16]}, False, False),
    "deep, unspecified channel": (FOUR.astype(np.uint16), {EXTRA: [0]}, False, False),
    "deep, associated alpha": (FOUR.astype(np.uint16), {EXTRA: [1]}, False, False),
    "deep, unspecified channel beside gray": (FOUR[..., :2].astype(np.uint16), {EXTRA: [0]}, False, False),
    "deep cmyk": (FOUR.astype(np.uint16), CMYK | {EXTRA: None}, False, False),
}
"""Levels, tags, whether they are read uncompressed, and compressed."""


@pytest.mark.parametrize("name", RARE)
def test_rare_layouts_are_what_they_are_interleaved_or_refused(name: str) -> None:
    stored, tags, uncompressed, compressed = RARE[name]
    for layout in LAYOUTS:
        first, second = answers(tiff(stored, tags=tags, **layout))
        if compressed if layout["compression"] != "none" else uncompressed:
            expected = answer(tiff(stored, planes=False, tags=tags, **layout))
            assert not isinstance(expected, str)
            np.testing.assert_array_equal(first, expected, strict=True)
            np.testing.assert_array_equal(second, expected, strict=True)
        else:
            assert isinstance(first, str)
            assert first == second
            assert "planes apart" in first


BITS = np.packbits(levels(HEIGHT, WIDTH) > 127, axis=1)
NIBBLES = levels(HEIGHT, WIDTH // 2)
SINGLE: dict[str, tuple[np.ndarray, Mapping[int, Sequence[int]]]] = {
    "0 is white": (GRAY, {planes.PHOTOMETRIC: [0]}),
    "deep, 0 is white": (DEEP_GRAY, {planes.PHOTOMETRIC: [0]}),
    "bilevel": (BITS, {256: [WIDTH], planes.BITS: [1]}),
    "bilevel, 0 is white": (BITS, {256: [WIDTH], planes.BITS: [1], planes.PHOTOMETRIC: [0]}),
    "16 levels": (NIBBLES, {256: [WIDTH], planes.BITS: [4]}),
    "palette": (GRAY, {planes.PHOTOMETRIC: [3], 320: PALETTE}),
    "palette of 16": (NIBBLES, {256: [WIDTH], planes.BITS: [4], planes.PHOTOMETRIC: [3], 320: PALETTE[::16]}),
    "bits from the other end": (GRAY, {planes.FILL_ORDER: [2]}),
    "lying": (DEEP_GRAY, {274: [6]}),
}


@pytest.mark.parametrize("name", SINGLE)
def test_one_channel_in_a_plane_apart_is_like_any_other(name: str) -> None:
    """Pillow alone takes such files for negatives, or calls them damaged."""
    stored, tags = SINGLE[name]
    for parts in ({}, {"rows": 16}):
        expected = answer(tiff(stored, planes=False, tags=tags, **parts))
        assert not isinstance(expected, str)
        for found in answers(tiff(stored, tags=tags, **parts)):
            np.testing.assert_array_equal(found, expected, strict=True)


def test_white_as_zero_is_turned_in_planes_too() -> None:
    for stored in (GRAY, DEEP_GRAY):
        for layout in LAYOUTS:
            np.testing.assert_array_equal(answer(tiff(stored, tags={planes.PHOTOMETRIC: [0]}, **layout)), ~stored)


@pytest.mark.parametrize("kind", planes.INTEGERS)
def test_no_type_of_integer_hides_planes(kind: int) -> None:
    said = tiff(DEEP_RGB)
    size = np.dtype(planes.INTEGERS[kind]).itemsize
    value = struct.pack("<L", 2 if size <= 4 else len(said))
    entry = struct.pack("<HHL", planes.PLANAR_CONFIGURATION, 3, 1)
    assert said.count(entry) == 1
    place = said.index(entry)
    data = said[:place] + entry[:2] + struct.pack("<HL", kind, 1) + value + said[place + 12 :] + struct.pack("<Q", 2)
    assert "planes apart" in (planes.why_unread(data) or "")


def test_several_pages_are_refused_either_way() -> None:
    with pytest.raises(UnsupportedPicture, match="planes apart"):
        probe(tiff(DEEP_RGB, pages=2), max_megapixels=1)
    for stored in (GRAY, DEEP_GRAY, RGB):
        with pytest.raises(SeveralFrames):
            probe(tiff(stored, pages=2), max_megapixels=1)


def test_big_endian_bigtiff_in_planes_is_told_as_well() -> None:
    """Pillow does not open any such file."""
    with pytest.raises(UnsupportedPicture, match="planes apart"):
        probe(tiff(DEEP_RGB, order=">", big=True), max_megapixels=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cut_and_nonsense_headers_end_in_a_type(dtype: type, kind: str) -> None:
    whole = tiff(levels(3, 4, 3, dtype=dtype), **KINDS[kind])
    rng = np.random.default_rng(6)
    for length in range(4, len(whole)):
        with pytest.raises((BrokenPicture, UnsupportedPicture)):
            pixels_of(whole[:length])
        damaged = whole[:length] + rng.bytes(len(whole) - length)
        with contextlib.suppress(RequestError):
            assert pixels_of(damaged).dtype == np.uint8


def test_a_header_that_claims_everything_costs_nothing() -> None:
    endless = (2**64 - 1).to_bytes(8, "little")
    entry = struct.pack("<HHQQ", planes.BITS, 3, 2**63, 2**63)
    files = [b"II+\0\x08\0\0\0" + endless, b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + endless + entry * 100_000]
    for data in files:
        tracemalloc.start()
        assert planes.why_unread(data) is None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000
