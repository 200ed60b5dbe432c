"""service.pictures.headers: whatever a file says of itself, reading it takes little time and memory."""

import io
import struct
import tracemalloc
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import BrokenPicture, CostlyPicture, SeveralFrames, UnsupportedPicture
from service.pictures.headers import heif, jpeg2000, png, webp
from service.pictures.probe import probe
from service.pictures.tiff import judging
from tests.pictures import by_pillow, png_chunk, smooth_gray

GRAY = smooth_gray(16, 16)
RGB = np.dstack([GRAY, GRAY[::-1], GRAY])
RGBA = np.dstack([RGB, GRAY])


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<L", len(body)) + body


def canvas(side: int, flags: int = 0) -> tuple[bytes, bytes]:
    return b"VP8X", bytes([flags, 0, 0, 0]) + (side - 1).to_bytes(3, "little") * 2


def frame() -> tuple[bytes, bytes]:
    data = by_pillow(RGB, "WEBP")
    return data[12:16], data[20:]


@pytest.mark.parametrize(
    "size", ["WIDTH -5\nHEIGHT -5", "WIDTH -1\nHEIGHT 9", "WIDTH 1_0\nHEIGHT 9", "WIDTH 0\nHEIGHT 9"]
)
def test_a_pam_has_a_size_of_plain_numbers(size: str) -> None:
    with pytest.raises(BrokenPicture):
        probe(f"P7\n{size}\nDEPTH 1\nMAXVAL 255\nENDHDR\n".encode() + bytes(100), max_megapixels=1)


def test_what_is_said_of_a_pam_is_short() -> None:
    data = b"P7\nWIDTH 5\nHEIGHT 5\nDEPTH 123456789\nMAXVAL 255\nENDHDR\n"
    with pytest.raises(UnsupportedPicture) as caught:
        probe(data, max_megapixels=1)
    assert "123456789 channels" in caught.value.detail
    with pytest.raises(BrokenPicture):
        probe(data.replace(b"123456789", b"9" * 4000), max_megapixels=1)


def test_an_item_that_is_named_often_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []

    def is_alpha(_: bytes, other: object) -> bool:
        looked.append(other)
        return False

    monkeypatch.setattr(heif, "_is_alpha", is_alpha)

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L", 8 + len(content)) + kind + content

    def item(number: int) -> bytes:
        return box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + b"av01\0")

    properties = box(b"ispe", bytes(4) + struct.pack(">LL", 16, 16)) + box(b"av1C", b"\x81\0\0\0")
    links = box(b"ipma", bytes(4) + struct.pack(">LHB2B", 1, 1, 2, 1, 2))
    parts = [
        box(b"pitm", bytes(4) + b"\0\1"),
        box(b"iinf", bytes(4) + b"\0\2" + item(1) + item(2)),
        box(b"iref", bytes(4) + box(b"auxl", struct.pack(">HH", 2, 500) + b"\0\1" * 500)),
        box(b"iprp", box(b"ipco", properties) + links),
    ]
    data = box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"meta", bytes(4) + b"".join(parts))
    assert (heif.read(data).width, len(looked)) == (16, 1)


def test_of_a_table_of_strips_no_more_is_read_than_there_are() -> None:
    count = 1 << 21
    tags = {256: 16, 257: 16, 258: 8, 262: 1}
    entries = [struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items()]
    entries.append(struct.pack("<HHLL", 273, 1, count, 100))
    data = b"II*\0" + struct.pack("<LH", 8, len(entries)) + b"".join(entries) + bytes(count + 100)
    tracemalloc.start()
    assert judging.judge(data, None).width == 16
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < count / 4, "it has two million numbers, of which one is needed"


@pytest.mark.parametrize(
    ("module", "make"),
    [
        (png, lambda profile: by_pillow(RGB, "PNG", icc_profile=profile)),
        (webp, lambda profile: by_pillow(RGB, "WEBP", icc_profile=profile)),
        (heif, lambda profile: by_pillow(RGB, "AVIF", icc_profile=profile)),
        (judging, lambda profile: by_pillow(RGB, "TIFF", icc_profile=profile)),
    ],
    ids=["PNG", "WebP", "AVIF", "TIFF"],
)
def test_a_profile_that_is_too_long_counts_as_absent(
    module: ModuleType, make: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = np.random.default_rng(1).bytes(600)
    data = make(profile)
    assert probe(data, max_megapixels=1).icc_profile
    monkeypatch.setattr(module, "MOST_PROFILE_BYTES", 500)
    assert probe(data, max_megapixels=1).icc_profile is None


def test_so_does_that_of_a_jpeg_2000(monkeypatch: pytest.MonkeyPatch) -> None:
    data = by_pillow(RGB, "JPEG2000")
    color = data.index(b"colr")
    profile = b"\2\0\0" + bytes(600)
    longer = bytearray(data[: color - 4] + struct.pack(">L", 8 + len(profile)) + b"colr" + profile + data[color + 11 :])
    head = longer.index(b"jp2h") - 4
    longer[head : head + 4] = struct.pack(">L", int.from_bytes(longer[head : head + 4], "big") + len(profile) - 7)
    assert len(jpeg2000.read(bytes(longer)).icc_profile or b"") == 600
    monkeypatch.setattr(jpeg2000, "MOST_PROFILE_BYTES", 500)
    assert jpeg2000.read(bytes(longer)).icc_profile is None


@pytest.mark.parametrize("pixels", [RGB, RGBA], ids=["RGB", "RGBA"])
@pytest.mark.parametrize(
    "options", [{}, {"lossless": True}, {"icc_profile": bytes(300)}, {"lossless": True, "xmp": b"abc"}]
)
def test_the_header_of_a_webp_is_what_pillow_reads(pixels: np.ndarray, options: dict[str, Any]) -> None:
    data = by_pillow(pixels, "WEBP", **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = (image.width, image.height, image.mode, image.info.get("icc_profile"))
    header = webp.read(data)
    assert (header.width, header.height, header.mode, header.icc_profile) == expected


def test_animated_webps_are_refused_before_anyone_decodes_them() -> None:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "WEBP", save_all=True, append_images=[Image.fromarray(RGB[::-1])])
    with pytest.raises(SeveralFrames):
        probe(stream.getvalue(), max_megapixels=1)


@pytest.mark.parametrize(
    "data",
    [
        riff(),
        riff(canvas(16)),
        riff(canvas(17), frame()),
        riff((b"VP8 ", bytes(10))),
        riff((b"VP8L", b"\x2f")),
        riff((b"VP8X", b""), frame()),
        by_pillow(RGB, "WEBP")[:14],
    ],
    ids=["empty", "no pixels", "another canvas", "no key frame", "short", "no canvas", "cut"],
)
def test_webps_whose_header_makes_no_sense_are_broken(data: bytes) -> None:
    with pytest.raises(BrokenPicture):
        webp.read(data)


def test_a_webp_of_many_chunks_is_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    data = riff(canvas(16), frame(), *[(b"ABCD", b"")] * 50)
    assert webp.read(data).width == 16
    monkeypatch.setattr(webp, "MOST_CHUNKS", 20)
    with pytest.raises(CostlyPicture):
        webp.read(data)


def test_what_stands_beside_a_webps_pixels_is_not_copied() -> None:
    data = riff(canvas(16), frame(), (b"ABCD", bytes(4_000_000)))
    tracemalloc.start()
    probe(data, max_megapixels=1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


def test_the_notes_of_a_png_are_not_kept_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MOST_PROFILE_BYTES", 500)
    data = by_pillow(RGB, "PNG")
    long = data[:33] + png_chunk(b"gAMA", struct.pack(">L", 100_000) + bytes(600)) + data[33:]
    assert png.read(long).signal is None


def test_behind_the_levels_of_a_pnm_no_more_than_some_space_is_passed_over() -> None:
    picture = b"P5 4 4 255\n" + bytes(16)
    with pytest.raises(SeveralFrames):
        probe(picture + b"\n" * 4000 + picture, max_megapixels=1)
    assert probe(picture + b"\n" * 5000 + picture, max_megapixels=1).width == 4
