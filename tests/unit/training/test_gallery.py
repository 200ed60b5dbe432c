"""Which pictures an evaluation page shows, and the files they are."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.training.pictures import landscape
from training.judge import gallery
from training.judge.gallery import Gallery, encode_tile


def shown(album: Gallery, count: int) -> list[int]:
    return [place for place in range(count) if album.names(place)]


def test_the_first_the_best_and_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "FIRST", 3)
    monkeypatch.setattr(gallery, "EXTREME", 2)
    gains = [0.0, 1.0, 2.0, 9.0, 8.0, 7.0, -5.0, -6.0, -7.0, 0.5]
    album = Gallery()
    for place, gain in enumerate(gains):
        album.add(place, gain, {"truth": np.full((8, 8, 3), place, np.uint8)})
    assert shown(album, len(gains)) == [0, 1, 2, 3, 4, 7, 8]
    assert len(album._tiles) == 7  # memory is bounded by what is shown


def test_tiles_are_files_named_after_their_content(tmp_path: Path) -> None:
    album = Gallery()
    album.add(0, 1.0, {"default": landscape(1), "truth": landscape(2), "gray": landscape(1)})
    names = album.names(0)
    assert names["default"] == names["gray"] != names["truth"]
    album.write(tmp_path / "tiles")
    assert {path.name for path in (tmp_path / "tiles").iterdir()} == set(names.values())
    again = cv2.imread(str(tmp_path / "tiles" / names["truth"]))[..., ::-1]
    assert np.abs(again.astype(int) - landscape(2)).mean() < 6


def test_sweeping_leaves_only_what_is_shown(tmp_path: Path) -> None:
    former, album = Gallery(), Gallery()
    former.add(0, 1.0, {"a": landscape(1), "b": landscape(2)})
    album.add(0, 1.0, {"a": landscape(1), "c": landscape(3)})
    former.write(tmp_path)
    (tmp_path / "note.txt").write_text("mine")
    album.write(tmp_path)
    assert len(list(tmp_path.glob("*.jpg"))) == 3
    album.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*album.names(0).values(), "note.txt"}


@pytest.mark.parametrize("size", [(40, 30), (256, 256), (1000, 700), (2000, 3)])
def test_tiles_are_small_and_keep_their_proportions(size: tuple[int, int]) -> None:
    tile = cv2.imdecode(np.frombuffer(encode_tile(np.zeros((*size, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    factor = min(256 / max(size), 1)
    assert tile.shape[:2] == (max(round(size[0] * factor), 1), max(round(size[1] * factor), 1))
