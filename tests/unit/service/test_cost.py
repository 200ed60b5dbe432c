"""service.pictures.cost: files that cost more to decode than their pixels; small ones, held to smaller limits."""

import numpy as np
import pytest

from service.errors import CostlyPicture
from service.pictures import cost
from service.pictures.probe import probe
from service.pictures.tiff.directory import STARTS
from service.pictures.tiff.judging import judge
from tests.pictures import by_pillow, smooth_gray
from tests.tiffs import tiff

GRAY = smooth_gray(48, 64)
COLOR = np.stack([GRAY, GRAY[::-1], GRAY], axis=-1)
PROGRESSIVE = by_pillow(COLOR, "JPEG", progressive=True)


def why(data: bytes) -> str:
    if data.startswith(STARTS):
        return judge(data, None).costly
    return cost.why_costly_scans(GRAY.size / 1e6, data)


@pytest.mark.parametrize(
    "data",
    [
        tiff(COLOR, planes=False),
        tiff(COLOR, planes=False, rows=1),
        tiff(COLOR, planes=False, tile=16),
        tiff(COLOR, planes=False, tile=256),
        tiff(COLOR, rows=8, compression="lzw"),
        tiff(smooth_gray(16, 3000), planes=False, tile=256),
        by_pillow(COLOR, "JPEG"),
        PROGRESSIVE,
        by_pillow(COLOR, "PNG"),
    ],
)
def test_ordinary_files_cost_what_their_pixels_do(data: bytes) -> None:
    assert why(data) == ""


def test_a_truncated_file_is_none_of_them() -> None:
    assert why(tiff(COLOR, planes=False, rows=8)[:-3000]) == ""


def test_tiles_far_larger_than_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SPARE_TILE_PIXELS", 100 * 100)
    assert why(tiff(GRAY, planes=False, tile=96)) == ""
    assert "tiles of 128 x 128 px are too large for a picture of 64 x 48 px" in why(tiff(GRAY, planes=False, tile=128))


def test_tiles_that_reach_far_out_of_a_narrow_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = tiff(smooth_gray(4, 640), planes=False, tile=64)
    assert why(narrow) == ""
    monkeypatch.setattr(cost, "SPARE_TILED_PIXELS", 64 * 640 - 1)
    assert "tiles" in why(narrow)


def test_strips_that_share_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every strip says that it reaches to the end of the file.
    rows = 48
    shared = tiff(GRAY, planes=False, rows=1, compression="lzw", tags={279: [len(GRAY.tobytes())] * rows})
    assert why(shared) == ""
    monkeypatch.setattr(cost, "SPARE_RAW_BYTES", 0)
    monkeypatch.setattr(cost, "RAW_FACTOR", 1)
    assert "strips lie over each other" in why(shared)


def test_strips_without_compression_are_as_long_as_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SPARE_RAW_BYTES", 0)
    monkeypatch.setattr(cost, "RAW_FACTOR", 1)
    assert why(tiff(GRAY, planes=False, rows=1, tags={279: [60_000] * 48})) == ""


def test_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = PROGRESSIVE.count(cost.START_OF_SCAN)
    assert scans > 5
    monkeypatch.setattr(cost, "SPARE_SCANS", scans)
    monkeypatch.setattr(cost, "SCANNED_MEGAPIXELS", 0.0)
    assert cost.why_costly_scans(0.003, PROGRESSIVE) == ""
    monkeypatch.setattr(cost, "SPARE_SCANS", scans - 1)
    assert cost.why_costly_scans(0.003, PROGRESSIVE) == f"it has {scans} scans; {scans - 1} are taken at its size"


def test_the_probe_refuses_them_by_name_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(PROGRESSIVE, max_megapixels=1).format == "JPEG"
    monkeypatch.setattr(cost, "MOST_SCANS", 2)
    monkeypatch.setattr(cost, "SPARE_SCANS", 2)
    with pytest.raises(CostlyPicture, match=r"scans.*Save it anew"):
        probe(PROGRESSIVE, max_megapixels=1)
