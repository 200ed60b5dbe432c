"""Which pictures are scored, how they are looked at, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.pictures import encode, landscape
from training import DataError
from training.judge.judging import squash
from training.judge.protocols import PROTOCOLS, Label, LeftOut, Protocol, Sample, picture_paths, read_labels, samples

pytestmark = pytest.mark.training

SMALL = Protocol("small", "Small", side_px=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.png").write_bytes(encode(landscape(1), ".png"))
    (tmp_path / "a.JPG").write_bytes(encode(landscape(2)))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "gray.png").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1), ".png"))
    (tmp_path / "tiny.png").write_bytes(encode(landscape(1, 8, 8), ".png"))
    (tmp_path / "notes.txt").write_text("no picture either")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_every_picture_is_scored_or_listed_with_the_reason(folder: Path) -> None:
    found = list(samples(picture_paths(folder), SMALL))
    assert [item.name for item in found] == ["a.JPG", "b.png", "broken.jpg", "gray.png", "tiny.png"]
    reasons = {item.name: item.reason for item in found if isinstance(item, LeftOut)}
    assert list(reasons) == ["broken.jpg", "gray.png", "tiny.png"]
    assert reasons["gray.png"] == "it has no color to score against"
    assert all(reasons.values())


def test_pictures_are_squashed_or_left_as_they_are(folder: Path) -> None:
    paths = [folder / "b.png"]
    (square,), (whole,) = (list(samples(paths, protocol)) for protocol in (SMALL, PROTOCOLS["div2k"]))
    assert isinstance(square, Sample)
    assert isinstance(whole, Sample)
    assert square.rgb_u8.shape == (32, 32, 3)
    assert (whole.rgb_u8 == landscape(1)).all()
    assert (square.rgb_u8 == squash(landscape(1), 32)).all()


def test_at_full_size_very_large_pictures_are_left_out(folder: Path) -> None:
    full = Protocol("full", "Full", side_px=None, most_pixels=72 * 96)
    (folder / "large.png").write_bytes(encode(landscape(3, 72, 97), ".png"))
    found = {item.name: item for item in samples(picture_paths(folder), full)}
    assert isinstance(found["b.png"], Sample)
    assert found["large.png"] == LeftOut("large.png", "97 x 72 px: more than 0.006912 megapixels")


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        picture_paths(tmp_path / "nowhere")


def test_protocols_say_what_they_are() -> None:
    assert PROTOCOLS["photographs"].describe(3, 64) == "3 photographs squashed to 256x256, true L, network input 64 px"
    assert PROTOCOLS["div2k"].describe(100, 192) == "100 photographs at full size, true L, network input 192 px"
    seen = "seen through three plates, the true L put back"
    assert PROTOCOLS["plates"].describe(9, 224) == f"9 photographs squashed to 256x256, {seen}, network input 224 px"
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,scene,label\na.jpg,beach,7\nb.jpg,,\n", encoding="utf-8-sig")
    assert read_labels(path) == {"a.jpg": Label("beach", 7), "b.jpg": Label()}
    path.write_text("file,label\na.jpg,0\n")
    assert read_labels(path) == {"a.jpg": Label("", 0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [("name,label\na,1\n", "needs the column file"), ("file\na\n", "scene or label"), ("file,label\na,x\n", "invalid")],
)
def test_labels_that_cannot_be_understood_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")
