"""service.pictures.jpeg: strips joined are what the encoder makes of the whole picture, byte for byte."""

import cv2
import numpy as np
import pytest

from service.pictures import jpeg
from service.pictures.answer_formats import IN_PARTS, MEDIA_TYPES
from service.pictures.encode import LOSSY_QUALITY, encode
from service.pictures.metadata import jpeg as metadata_of_jpeg
from tests.pictures import levels


class Taken:
    """Keeps what is put into it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.patches: list[tuple[int, bytes]] = []

    def put(self, part: bytes) -> None:
        self.parts.append(part)

    def patch(self, place: int, data: bytes) -> None:
        self.patches.append((place, data))


SHAPES = [(1, 1), (16, 16), (17, 16), (33, 17), (250, 40), (99, 151), (64, 300), (700, 20)]


def picture(height: int, width: int) -> np.ndarray:
    """Return color with slopes and edges, (height, width, 3), uint8."""
    small = levels(height // 8 + 1, width // 8 + 1, 3)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def by_opencv(bgr: np.ndarray, *settings: int) -> bytes:
    return cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, LOSSY_QUALITY, *settings))[1].tobytes()


def joined(bgr: np.ndarray, workers: int = 1) -> bytes:
    shape = (bgr.shape[0], bgr.shape[1])
    return b"".join(jpeg.encode_parts(lambda rows: bgr[rows], shape, quality=LOSSY_QUALITY, workers=workers))


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("down", [1, 2])
def test_strips_joined_are_opencvs_file_with_restart_intervals(
    monkeypatch: pytest.MonkeyPatch, height: int, width: int, down: int
) -> None:
    monkeypatch.setattr(jpeg, "STRIP_PIXELS", 16 * width * down)
    bgr = picture(height, width)
    interval = down * -(-width // 16) if height > 16 * down else 0
    assert joined(bgr) == by_opencv(bgr, cv2.IMWRITE_JPEG_RST_INTERVAL, interval)
    pixels = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in (joined(bgr), by_opencv(bgr))]
    np.testing.assert_array_equal(*pixels)
    assert joined(bgr, workers=3) == joined(bgr)


def test_no_interval_is_longer_than_the_format_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    bgr = picture(100, 160)
    monkeypatch.setattr(jpeg, "MOST_BLOCKS", 25)
    assert joined(bgr) == by_opencv(bgr, cv2.IMWRITE_JPEG_RST_INTERVAL, 20)


def test_a_small_picture_is_compressed_in_one_go() -> None:
    bgr = picture(300, 200)
    assert joined(bgr) == by_opencv(bgr)


def test_a_large_answer_keeps_alpha_on_white_and_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, alpha = picture(200, 100), levels(200, 100)
    whole = encode(rgb, alpha, "jpeg")
    monkeypatch.setattr(jpeg, "STRIP_PIXELS", 3000)
    taken = Taken()
    assert encode(rgb, alpha, "jpeg", into=taken, workers=2) == b""
    assert len(taken.parts) > 5
    data = b"".join(taken.parts)
    assert data == encode(rgb, alpha, "jpeg")
    pixels = [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR) for each in (data, whole)]
    np.testing.assert_array_equal(*pixels)
    assert b"ICC_PROFILE" in taken.parts[0]
    assert metadata_of_jpeg.read(data) == metadata_of_jpeg.read(whole)


def test_what_opencv_does_not_take_is_an_error() -> None:
    with pytest.raises((RuntimeError, cv2.error)):
        jpeg.compress_whole(np.zeros((4, 4, 2), np.uint8), LOSSY_QUALITY)


def test_every_format_goes_into_a_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.pictures.tiff_writer.STRIP_BYTES", 200)
    rgb = picture(30, 20)
    for output_format in MEDIA_TYPES:
        taken = Taken()
        assert encode(rgb, None, output_format, into=taken) == b""
        data = bytearray(b"".join(taken.parts))
        for place, patch in taken.patches:
            data[place : place + len(patch)] = patch
        assert bytes(data) == encode(rgb, None, output_format)
        assert bool(taken.patches) == (output_format == "tiff")
        assert output_format not in IN_PARTS or not taken.patches
