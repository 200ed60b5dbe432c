"""service.pictures.size_limits: whoever hits one limit is told both, wherever that is."""

from pathlib import Path

import pytest

from service.archive.finding import read_file
from service.errors import PictureTooLarge, UploadTooLarge
from service.pictures.probe import probe
from service.pictures.size_limits import SizeLimits
from service.settings import Settings
from tests.pictures import by_pillow, smooth_gray

LIMITS = SizeLimits(0.5, 2_000_000)
BOTH = {"max_megapixels": 0.5, "max_bytes": 2_000_000}


def test_a_picture_with_too_many_pixels() -> None:
    data = by_pillow(smooth_gray(1000, 1000), "PNG")
    said = r"1000 x 1000 px, 1\.0 megapixels.*0\.5 megapixels and 2 MB"
    with pytest.raises(PictureTooLarge, match=said) as caught, LIMITS.told():
        probe(data, max_megapixels=LIMITS.max_megapixels)
    assert caught.value.facts == {"limit": 0.5, "unit": "megapixels", **BOTH}


def test_a_file_with_too_many_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(2_000_001))
    with pytest.raises(UploadTooLarge, match=r"0\.5 megapixels and 2 MB") as caught:
        read_file(tmp_path / "a", LIMITS)
    assert caught.value.facts == {"limit": 2_000_000, "unit": "bytes", **BOTH}
    assert len(read_file(tmp_path / "a")) == 2_000_001
    LIMITS.check_bytes(2_000_000)


def test_the_defaults_take_a3_at_600_dpi_in_48_bits() -> None:
    limits = SizeLimits.of(Settings())
    width, height = 11.69 * 600, 16.54 * 600
    assert width * height / 1e6 < limits.max_megapixels
    assert width * height * 6 < limits.max_bytes
    assert str(limits) == "100 megapixels and 640 MB"
