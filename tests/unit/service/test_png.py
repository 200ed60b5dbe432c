"""PNG files of our own making, read by two other libraries."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib
from PIL import Image

from service.pictures import png
from tests.pictures import levels

ROOT = Path(__file__).parents[3]
SHAPES = ((1, 1), (1, 1, 3), (513, 17, 3), (3, 40_000, 3), (301, 333, 4), (301, 333), (700, 300, 3))


def by_opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    place, found = len(png.SIGNATURE), []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        assert int.from_bytes(data[place + 8 + length : place + 12 + length]) == zlib.crc32(kind + content)
        found.append((kind, content))
        place += 12 + length
    return found


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_opencv_reads_the_same_pixels(shape: tuple[int, ...], dtype: type) -> None:
    pixels = levels(*shape, dtype=dtype)
    np.testing.assert_array_equal(by_opencv(png.encode(pixels)), pixels)


@pytest.mark.parametrize("channels", [None, 2, 3, 4])
def test_pillow_reads_the_same_pixels(channels: int | None) -> None:
    pixels = levels(200, 500, *([channels] if channels else []))
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_view_with_strides_is_written_as_it_looks() -> None:
    pixels = levels(60, 80, 3)
    for view in (pixels[::-1], pixels[:, ::2], pixels[..., ::-1], pixels.transpose(1, 0, 2)):
        np.testing.assert_array_equal(by_opencv(png.encode(view)), view)


@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 99), strip=st.integers(1, 4000))
def test_strips_of_any_size_hold_the_whole_picture(height: int, width: int, seed: int, strip: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png, "STRIP_BYTES", strip)
        data = png.encode(pixels)
    found = chunks(data)
    rows = max(strip // (3 * width), 1)
    assert [kind for kind, _ in found] == [b"IHDR", *[b"IDAT"] * (2 + -(-height // rows)), b"IEND"]
    # zlib checks the Adler-32 of all strips together, which libpng does not.
    stream = b"".join(content for kind, content in found if kind == b"IDAT")
    assert len(zlib.decompress(stream)) == height * (3 * width + 1)
    np.testing.assert_array_equal(by_opencv(data), pixels)


def test_threads_do_not_change_the_file() -> None:
    pixels = levels(900, 700, 3)
    assert png.encode(pixels) == png.encode(pixels, workers=3)


def test_a_photograph_is_hardly_larger_than_by_opencv() -> None:
    coffee = cv2.imread(str(ROOT / "tests/data/coffee.jpg"))
    assert len(png.encode(coffee)) <= 1.01 * len(cv2.imencode(".png", coffee)[1])


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 5), np.uint8), np.zeros((4,), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((4, 4), np.float32)],
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a PNG has pixels of"):
        png.encode(pixels)


def test_no_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="workers must be at least 1"):
        png.encode(np.zeros((2, 2), np.uint8), workers=0)


CASTAGNOLI = 0x82F63B78
ISAL_SLOTS = 8192


def crc32c(data: bytes) -> int:
    checksum = 0
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (CASTAGNOLI if checksum & 1 else 0)
    return checksum


def row_with_a_run_that_an_engine_misses(engine: object, seed: int) -> np.ndarray:
    """Return a gray row whose filtered first bytes come again, and hash like the address of an engine."""
    random = np.random.default_rng(seed)
    slot = crc32c((id(engine) >> 16 & 0xFFFFFFFF).to_bytes(4, "little")) % ISAL_SLOTS
    start = [3, *random.integers(4, 256, 3)]  # 3 is the filter's number
    while crc32c(bytes(start)) % ISAL_SLOTS != slot:
        start = [3, *random.integers(4, 256, 3)]
    some, others = random.integers(4, 20, 300), random.integers(4, 20, 3000)
    row = [0]
    for difference in np.concatenate([start[1:], some, start, others]):
        row.append(int(difference + row[-1] // 2) % 256)
    return np.array([row[1:]], np.uint8)


def test_the_bytes_do_not_depend_on_where_the_compressor_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    make, differed = isal_zlib.compressobj, 0
    for seed in range(20):
        naive, *others, trapped = [make(png.LEVEL, isal_zlib.DEFLATED, -15) for _ in range(4)]
        row = row_with_a_run_that_an_engine_misses(naive, seed)
        filtered = png._filter(row, 0, 1, row.size)
        differed += len({engine.compress(filtered) + engine.flush() for engine in (naive, others[0])}) - 1

        row = row_with_a_run_that_an_engine_misses(trapped, seed)
        packed = set()
        for engine in (trapped, others[1]):
            monkeypatch.setattr(isal_zlib, "compressobj", lambda *_, engine=engine: engine)
            packed.add(png.encode(row))
        monkeypatch.undo()
        assert len(packed) == 1
    if not differed:
        pytest.skip("this build of isal gives the same bytes without help")
