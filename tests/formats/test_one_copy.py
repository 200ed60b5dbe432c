"""Large JPEGs and PNGs are decoded with their pixels once in memory: the same ones."""

import cv2
import numpy as np
import pytest

from service.pictures.decode import decode
from service.pictures.decoders import one_copy
from service.pictures.probe import probe
from tests.pictures import by_opencv, by_pillow, smooth_gray

GRAY = smooth_gray(120, 90)
COLOR = np.dstack([GRAY, GRAY[::-1], 255 - GRAY])
FILES = {
    "gray JPEG": by_pillow(GRAY, "JPEG", quality=90),
    "color JPEG": by_pillow(COLOR, "JPEG", quality=90),
    "progressive JPEG": by_pillow(COLOR, "JPEG", quality=90, progressive=True),
    "gray PNG": by_pillow(GRAY, "PNG"),
    "color PNG": by_pillow(COLOR, "PNG"),
    "PNG with opacity": by_pillow(np.dstack([COLOR, GRAY]), "PNG"),
    "deep gray PNG": by_opencv(GRAY.astype(np.uint16) * 257, ".png"),
    "deep color PNG": by_opencv(COLOR.astype(np.uint16) * 257, ".png"),
}


@pytest.mark.parametrize("kind", FILES)
def test_large_files_give_the_same_pixels(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = FILES[kind]
    header = probe(data, max_megapixels=1)
    assert one_copy.read_once(data, cv2.IMREAD_UNCHANGED) is None
    before = decode(data, header)
    monkeypatch.setattr(one_copy, "LARGE_BYTES", 0)
    assert one_copy.read_once(data, cv2.IMREAD_UNCHANGED) is not None
    monkeypatch.setattr(cv2, "imdecode", None)  # Not asked any more.
    after = decode(data, header)
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.pixels.dtype == before.pixels.dtype
    assert (after.alpha is None) == (before.alpha is None)
    if before.alpha is not None:
        assert after.alpha is not None
        np.testing.assert_array_equal(after.alpha, before.alpha)


def test_where_there_is_no_memory_with_a_name_it_is_no_way_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError

    monkeypatch.setattr(one_copy, "LARGE_BYTES", 0)
    data = FILES["gray PNG"]
    expected = decode(data, probe(data, max_megapixels=1)).pixels
    monkeypatch.setattr(one_copy.os, "memfd_create", refuse)
    assert one_copy.read_once(data, cv2.IMREAD_UNCHANGED) is None
    np.testing.assert_array_equal(decode(data, probe(data, max_megapixels=1)).pixels, expected)
