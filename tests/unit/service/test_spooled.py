"""service.pictures.spooled: a file on the disk reads as its bytes do, and is closed when nobody reads it any more."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from service.pictures.probe import probe
from service.pictures.spooled import PIECE_BYTES, Descriptor, SpooledFile, as_bytes, open_data
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray

DATA = b"II*\0" + bytes(range(256)) * 40 + b"\xff\xda" + b"end"
PICTURES = {
    "jpeg": by_pillow(smooth_gray(30, 40), "JPEG"),
    "png": by_pillow(levels(30, 40, 3), "PNG"),
    "webp": by_pillow(levels(30, 40, 4), "WEBP", lossless=True),
    "tiff": by_opencv(smooth_gray(30, 40).astype("uint16") * 257, ".tiff"),
    "bmp": by_pillow(smooth_gray(30, 40), "BMP"),
}


def spooled(path: Path, data: bytes = DATA, **named: Any) -> SpooledFile:
    path.write_bytes(data)
    file = SpooledFile(Descriptor(os.open(path, os.O_RDONLY)), **named)
    path.unlink()
    return file


def test_it_reads_as_bytes_do(tmp_path: Path) -> None:
    file = spooled(tmp_path / "a")
    assert len(file) == len(DATA)
    assert bytes(file) == memoryview(file) == DATA
    assert hashlib.sha256(file).digest() == hashlib.sha256(DATA).digest()
    read = as_bytes(file)
    for ask in (
        lambda data: data[5:9],
        lambda data: data[-3:],
        lambda data: data[4],
        lambda data: data.startswith(b"II*\0"),
        lambda data: data.startswith((b"MM", b"II")),
        lambda data: data.startswith(b"MM"),
        lambda data: data.startswith(b"*\0", 2),
        lambda data: data.endswith(b"end"),
        lambda data: data.endswith((b"x", b"\xda")),
        lambda data: data.find(b"\xff\xda"),
        lambda data: data.rfind(b"\x01\x02"),
        lambda data: data.index(b"\x01\x02", 300),
        lambda data: data.count(b"\x01\x02"),
        lambda data: b"\xff\xdaend" in data,
        lambda data: b"none" in data,
        lambda data: 0x65 in data,
    ):
        assert ask(read) == ask(DATA)
    with pytest.raises(ValueError, match="not found"):
        read.index(b"none")


def test_what_lies_across_two_pieces_is_counted_once(tmp_path: Path) -> None:
    data = bytearray(2 * PIECE_BYTES + 3)
    for place in (0, PIECE_BYTES - 1, 2 * PIECE_BYTES - 2, 2 * PIECE_BYTES + 1):
        data[place : place + 2] = b"\xff\xda"
    assert spooled(tmp_path / "a", bytes(data)).count(b"\xff\xda") == 4


def test_a_stream_over_it_behaves_as_one_over_bytes(tmp_path: Path) -> None:
    file = spooled(tmp_path / "a")
    one, other = open_data(file), open_data(DATA)
    for stream in (one, other):
        assert stream.read(4) == b"II*\0"
        assert stream.seek(-3, os.SEEK_END) == len(DATA) - 3
        assert stream.read() == b"end"
        assert stream.seek(10**9) == 10**9
        assert stream.read(5) == b""
        stream.seek(4)
        stream.seek(2, os.SEEK_CUR)
        assert (stream.read(1), stream.tell()) == (b"\x02", 7)
        with pytest.raises((OSError, ValueError)):
            stream.seek(-1)
    assert open_data(file).read() == DATA


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_a_header_is_read_of_it_as_of_bytes(tmp_path: Path, data: bytes) -> None:
    file = spooled(tmp_path / "a", data)
    assert probe(as_bytes(file), max_megapixels=1) == probe(data, max_megapixels=1)


def test_it_is_closed_once_and_only_when_nobody_reads_it(tmp_path: Path) -> None:
    told: list[str] = []
    file = spooled(tmp_path / "a", on_close=lambda: told.append("closed"))
    copy = file.descriptor()
    view = memoryview(file)
    file.close()
    assert (told, bytes(view)) == ([], DATA)
    with pytest.raises(ValueError, match="closed"):
        file.descriptor()
    del view, file
    assert told == ["closed"]
    assert os.pread(copy, 4, 0) == b"II*\0"  # Whoever was handed it may read on.
    os.close(copy)
    other = spooled(tmp_path / "b", on_close=lambda: told.append("other"))
    other.close()
    other.close()
    assert told == ["closed", "other"]
    with pytest.raises(ValueError, match="closed"):
        other[:4]


def test_a_descriptor_lives_as_long_as_somebody_has_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    descriptor = Descriptor(os.open(tmp_path / "a", os.O_RDONLY))
    number, other = descriptor.number, descriptor
    del descriptor
    assert os.read(number, 1) == b"x"
    del other
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(number, 1)
