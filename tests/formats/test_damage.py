"""What is valid is never called damaged, and what is cut short or contradicts itself always is."""

import io
import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from service.errors import (
    BrokenPicture,
    CostlyPicture,
    PictureTooLarge,
    RequestError,
    SeveralFrames,
    UnsupportedPicture,
)
from service.pictures import decode as decoding
from service.pictures import probe as probing
from service.pictures.decode import decode
from service.pictures.decoders import one_copy
from service.pictures.probe import probe
from tests.formats import profiles
from tests.formats.cells import Cell, judge
from tests.formats.files import (
    box,
    codestream,
    color,
    colr,
    decoded_by_pillow,
    full,
    gray,
    icc_chunk,
    jp2_with,
    jpeg_with,
    png,
    segment,
)
from tests.formats.jxl_header import with_header
from tests.pictures import by_pillow, png_chunk, smooth_gray


@pytest.fixture(params=[one_copy.LARGE_BYTES, 0], ids=["as they are", "as large ones"], autouse=True)
def read_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files are read in another way."""
    monkeypatch.setattr(one_copy, "LARGE_BYTES", request.param)


def long_xmp(size: int) -> bytes:
    return b"<x>" + b"a" * size + b"</x>"


def itxt(text: bytes, *, packed: bool) -> bytes:
    body = zlib.compress(text, 0) if packed else text
    return png_chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([packed, 0, 0, 0]) + body)


def noise(size: int) -> bytes:
    return np.random.default_rng(0).bytes(size)


def without_jfif(data: bytes) -> bytes:
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + data[4 + int.from_bytes(data[4:6], "big") :]


def valid_cells() -> Iterator[Cell]:
    jpeg = by_pillow(gray(), "JPEG")
    seen = decoded_by_pillow(jpeg)
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000))
    yield Cell("jpeg-of-3-mb-extended-xmp", lambda: jpeg_with(gray(), *[extended] * 48), exact_jpeg())
    yield Cell("jpeg-of-an-empty-jfif", lambda: jpeg[:2] + b"\xff\xe0\0\2" + without_jfif(jpeg)[2:], seen)
    yield Cell("jpeg-of-no-jfif", lambda: without_jfif(jpeg), seen)
    yield Cell("jpeg-of-fill-bytes", lambda: jpeg[:2] + b"\xff" * 40 + jpeg[2:], seen)
    yield Cell("jpeg-without-end", lambda: jpeg[:-2], seen)
    yield Cell("jpeg-without-half-an-end", lambda: jpeg[:-1], seen)
    for progressive in (False, True):
        whole = by_pillow(color(), "JPEG", quality=95, progressive=progressive)
        name = "progressive" if progressive else "sequential"
        yield Cell(f"jpeg-color-{name}-without-end", lambda whole=whole: whole[:-2], decoded_by_pillow(whole))
    deep = bytes(imagecodecs.jpeg8_encode(gray(np.uint16) >> 4, bitspersample=12))
    levels = imagecodecs.jpeg8_decode(deep).astype(int)
    yield Cell("jpeg-12-without-end", lambda: deep[:-2], ((levels * 65535 * 2 + 4095) // 8190).astype(np.uint16))
    yield from jpegs_with_a_tail(deep, ((levels * 65535 * 2 + 4095) // 8190).astype(np.uint16))
    for packed in (False, True):
        for megabytes in (1, 9):
            chunk = itxt(long_xmp(megabytes << 20), packed=packed)
            yield Cell(f"png-of-{megabytes}-mb-xmp-{packed}", lambda chunk=chunk: png(gray(), chunk), gray())
    for size in (1_500_000, 9_000_000):
        chunk = icc_chunk(noise(size))
        yield Cell(f"png-of-a-profile-of-{size}", lambda chunk=chunk: png(color(), chunk), color())
    padded = profiles.rgb(1.8) + bytes(2_000_000)
    yield Cell(
        "png-of-a-long-profile-that-counts", lambda: png(color(), icc_chunk(padded)), profiles.shown(color(), 1.8)
    )
    for frames in (0, 1):
        chunk = png_chunk(b"acTL", struct.pack(">LL", frames, 0))
        yield Cell(f"png-of-{frames}-frames", lambda chunk=chunk: png(gray(), chunk), gray())
    yield Cell("png-of-many-texts", lambda: png(gray(), png_chunk(b"tEXt", b"k\0v") * 30_000), gray())
    yield Cell("gif-padded", lambda: by_pillow(gray(), "GIF") + bytes(100), gray())
    yield Cell("pgm-padded", lambda: by_pillow(gray(), "PPM") + b"\n\n", gray())


def jpegs_with_a_tail(deep: bytes, seen: np.ndarray) -> Iterator[Cell]:
    """Something behind the end mark, as cameras and medical programs leave it; the first JPEG has 12 bits."""
    jfif = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    tails = (b"\0", b"\0" * 5, b"\x20\xfe\xff\xdd\xe0" + bytes(4))
    for tail in tails:
        yield Cell(f"jpeg-12-and-{len(tail)}-bytes", lambda tail=tail: deep + tail, seen)
    for pixels in (gray(), gray(np.uint16), color(), color(np.uint16)):
        bits = 8 * pixels.itemsize
        whole = bytes(imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=bits))
        marked = whole[:2] + jfif + whole[2:]
        name = f"jpeg-lossless-{pixels.ndim}-{bits}"
        yield Cell(f"{name}-without-end", lambda whole=whole: whole[:-2], pixels)
        for tail in tails:
            yield Cell(f"{name}-and-{len(tail)}-bytes", lambda whole=whole, tail=tail: whole + tail, pixels)
            yield Cell(f"{name}-jfif-and-{len(tail)}-bytes", lambda marked=marked, tail=tail: marked + tail, pixels)


def exact_jpeg() -> np.ndarray:
    return decoded_by_pillow(jpeg_with(gray()))


@pytest.mark.parametrize("cell", list(valid_cells()), ids=lambda cell: cell.name)
def test_a_valid_file_is_not_called_damaged(cell: Cell) -> None:
    assert judge(cell) is None


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_really_cut_short_is_damaged(progressive: bool) -> None:
    """At whatever byte: in the last block, between two scans, in a marker."""
    whole = by_pillow(color(), "JPEG", quality=95, progressive=progressive)
    start = whole.index(b"\xff\xda")
    for cut in (3, 4, 5, 7, 11, 20, 50, 200, 400):
        assert cut < len(whole) - start
        assert_damaged(whole[:-cut])
        assert_damaged(whole[:-cut] + b"\xff")


def test_a_progressive_jpeg_cut_between_scans_is_damaged() -> None:
    whole = by_pillow(color(), "JPEG", quality=95, progressive=True)
    scans = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    heads = [at for at in range(len(whole)) if whole.startswith(b"\xff\xc4", at)]
    for place in scans[1:]:
        assert_damaged(whole[: max((at for at in heads if at < place), default=place)])


def assert_damaged(data: bytes) -> None:
    with pytest.raises(BrokenPicture):
        decode(data, probe(data, max_megapixels=1))


WHOLE = {
    "gif": by_pillow(Image.fromarray(color()).quantize(64), "GIF"),
    "jp2": bytes(imagecodecs.jpeg2k_encode(color(), codecformat="jp2", reversible=True)),
    "jxl": bytes(imagecodecs.jpegxl_encode(color(), lossless=True, numthreads=1)),
    "avif": by_pillow(color(), "AVIF"),
    "ppm": by_pillow(color(), "PPM"),
    "plain pgm": b"P2\n48 32\n255\n" + " ".join(map(str, gray().ravel())).encode(),
    "12-bit jpeg": bytes(imagecodecs.jpeg8_encode(color(np.uint16) >> 4, bitspersample=12)),
    "lossless jpeg": bytes(imagecodecs.jpeg8_encode(gray(np.uint16), bitspersample=16, lossless=True)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_that_is_cut_short_is_damaged(kind: str) -> None:
    whole = WHOLE[kind]
    for share in (0.1, 0.3, 0.6, 0.9):
        with pytest.raises(RequestError) as caught:
            decode(whole[: int(share * len(whole))], probe(whole[: int(share * len(whole))], max_megapixels=1))
        assert type(caught.value) is BrokenPicture, share


@pytest.mark.parametrize("kind", WHOLE)
def test_flipped_bytes_end_in_a_type(kind: str) -> None:
    chance = np.random.default_rng(7)
    whole = np.frombuffer(WHOLE[kind], np.uint8)
    ends = set()
    for _ in range(40):
        damaged = whole.copy()
        places = chance.integers(0, len(damaged), chance.integers(1, 5))
        damaged[places] = chance.integers(0, 256, len(places))
        try:
            header = probe(damaged.tobytes(), max_megapixels=1)
            picture = decode(damaged.tobytes(), header)
            assert (picture.width, picture.height) == header.upright_size
            ends.add("decoded")
        except RequestError as error:
            ends.add(type(error))
    assert ends <= {"decoded", BrokenPicture, UnsupportedPicture, PictureTooLarge, SeveralFrames, CostlyPicture}


def sized(kind: str, side: int) -> bytes:
    """Return a small file that says it is side x side."""
    data = bytearray(WHOLE[kind])
    if kind == "gif":
        struct.pack_into("<HH", data, 6, side, side)
    elif kind == "jp2":
        struct.pack_into(">LL", data, data.index(b"\xff\x4f\xff\x51") + 8, side, side)
    elif kind == "avif":
        struct.pack_into(">LL", data, data.index(b"ispe") + 8, side, side)
    else:
        data[:] = data.replace(b"48 32", b"%d %d" % (side, side))
    return bytes(data)


@pytest.mark.parametrize("kind", ["gif", "jp2", "avif", "ppm", "plain pgm"])
def test_the_size_is_judged_before_a_pixel_is_decoded_and_must_be_true(kind: str) -> None:
    with pytest.raises(PictureTooLarge):
        probe(sized(kind, 60_000), max_megapixels=50)
    data = sized(kind, 64)
    if kind not in ("gif", "avif"):  # A GIF's screen may be larger than its frame, an AVIF is scaled to what it says.
        assert_damaged(data)
    assert probe(data, max_megapixels=1).megapixels == 64 * 64 / 1e6


def test_a_jpeg_xl_that_says_another_size_is_too_large_or_damaged() -> None:
    whole = with_header(color())
    assert_damaged(whole[:2] + bytes([whole[2] ^ 0b10]) + whole[3:])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\xff\xd8\xff\xd9", BrokenPicture),
        (b"\xff\xd8" + segment(0xC0, bytes([8, 0, 8, 0, 8, 2]) + bytes(6)) + segment(0xDA, b""), UnsupportedPicture),
        (b"\xff\xd8" + segment(0xC0, bytes([8, 0, 0, 0, 8, 1]) + bytes(3)) + segment(0xDA, b""), UnsupportedPicture),
        (b"\xff\xd8" + segment(0xC5, bytes(20)), UnsupportedPicture),
        (b"\xff\xd8" + segment(0xFE, b"") * 20_000, CostlyPicture),
        (b"GIF89a", BrokenPicture),
        (b"GIF89a" + bytes(7) + b";", BrokenPicture),
        (b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + b"!\xfe" + b"\1a" * 40_000, CostlyPicture),
        (b"P5\n8 8\n70000\n" + bytes(128), BrokenPicture),
        (b"P5\n8 x", BrokenPicture),
        (b"P7\nWIDTH 8\nHEIGHT 8\nDEPTH 7\nMAXVAL 255\nENDHDR\n" + bytes(448), UnsupportedPicture),
        (b"P7\nWIDTH 8\n", BrokenPicture),
        (b"\xff\x4f\xff\x51", BrokenPicture),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0"), BrokenPicture),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"mjp2\0\0\0\0"), UnsupportedPicture),
        (b"\0\0\0\x0cJXL \r\n\x87\n", BrokenPicture),
        (b"\xff\x0a", BrokenPicture),
        (box(b"ftyp", b"avif\0\0\0\0") + box(b"meta", bytes(4)), BrokenPicture),
        (box(b"ftyp", b"avif\0\0\0\0") + box(b"free", b"") * 5_000, CostlyPicture),
        (with_header(color(), animated=True), SeveralFrames),
        (with_header(color(), floats=True), UnsupportedPicture),
    ],
    ids=range(21),
)
def test_headers_end_in_a_type(data: bytes, kind: type[RequestError]) -> None:
    with pytest.raises(RequestError) as caught:
        probe(data, max_megapixels=1)
    assert type(caught.value) is kind


def test_a_heic_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic()
    assert probe(data, max_megapixels=1).format == "HEIC"
    monkeypatch.setattr(probing, "has_heic", lambda: False)
    with pytest.raises(UnsupportedPicture, match=r"HEIC.*extra `heic`"):
        probe(data, max_megapixels=1)


def heic() -> bytes:

    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(smooth_gray(64, 96))).save(stream, quality=90)
    return stream.getvalue()


def test_a_file_that_promises_inks_and_has_none_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    inks = np.dstack([color(), gray()])
    whole = jp2_with(codestream(inks, mct=False), inks, bits=8, boxes=colr(12))
    assert decode(whole, probe(whole, max_megapixels=1)).pixels.shape == color().shape
    monkeypatch.setitem(decoding.DECODERS, "imagecodecs", lambda *_: (color(), None))
    assert_damaged(whole)


HEIF = box(b"ftyp", b"avif\0\0\0\0")
LISTS = {
    "references": full(b"iref", box(b"dimg", struct.pack(">HH", 1, 65_535) + bytes(131_070))),
    "properties": box(b"iprp", full(b"ipma", struct.pack(">L", 2**32 - 1) + (b"\0\1\xff" + bytes(255)) * 100)),
    "items": full(b"iinf", bytes(2) + full(b"infe", bytes(9), version=2) * 5_000),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_longer_than_any_writer_makes_are_refused(name: str) -> None:
    with pytest.raises(CostlyPicture):
        probe(HEIF + full(b"meta", LISTS[name]), max_megapixels=1)
