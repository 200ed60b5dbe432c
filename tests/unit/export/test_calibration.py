"""What int8 finds its ranges with: validation photographs, as the service frames them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from chroma.framing import network_size
from export.calibration import read_lightness
from training import DataError

pytestmark = pytest.mark.training


def write_gray(path: Path, level: int, width: int = 80, height: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), level, np.uint8))


def test_it_reads_the_validation_split_at_the_inference_size(tmp_path: Path) -> None:
    write_gray(tmp_path / "train2017" / "white.png", 255)
    write_gray(tmp_path / "val2017" / "black.png", 0)
    write_gray(tmp_path / "val2017" / "wide.png", 119, width=300, height=70)
    black, wide = read_lightness(tmp_path, 96)
    assert black.dtype == wide.dtype == np.float32
    assert black.shape == (1, *network_size(60, 80, 96), 1)
    assert wide.shape == (1, *network_size(70, 300, 96), 1)
    assert wide.shape[2] > wide.shape[1]
    assert wide.shape[1] % 32 == wide.shape[2] % 32 == 0
    assert np.all(black == 0)
    assert np.allclose(wide, 50.03, atol=0.1)


def test_it_reads_no_more_than_asked_and_from_all_over(tmp_path: Path) -> None:
    write_gray(tmp_path / "train2017" / "white.png", 255)
    for place in range(9):
        write_gray(tmp_path / "val2017" / f"{place}.png", 20 * place)
    levels = [float(L.mean()) for L in read_lightness(tmp_path, 64, pictures=3)]
    assert len(levels) == 3
    assert levels[0] == 0
    assert levels == sorted(levels)
    assert levels[2] > 60


def test_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    write_gray(tmp_path / "train2017" / "white.png", 255)
    write_gray(tmp_path / "val2017" / "a.png", 100)
    (tmp_path / "val2017" / "b.png").write_bytes(b"no picture")
    assert len(list(read_lightness(tmp_path, 64))) == 1
    (tmp_path / "val2017" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="no validation photograph"):
        list(read_lightness(tmp_path, 64))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        list(read_lightness(tmp_path / "nowhere", 64))
