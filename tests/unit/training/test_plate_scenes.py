"""Scenes with what plates saw of them: what is read, what is refused, which ways look through which plate."""

from pathlib import Path

import numpy as np
import pytest

from chroma.emulsions import EMULSIONS, plate_lightness
from chroma.lab import rgb_u8_to_lightness
from chroma.sectors import Box
from tests.synthetic_run import make_run
from tests.unit.training.pictures import encode, scene, write_plates
from training import DataError
from training.judge.judging import squash
from training.judge.plate_scenes import read_boxes, read_plates
from training.judge.protocols import PROTOCOLS, LeftOut, Sample, samples
from training.judge.ways import DEFAULT, PLATE_WAYS, ways_beside_plates, ways_through_plates
from training.run.run_folder import open_run

pytestmark = pytest.mark.training

PLATES = PROTOCOLS["plates"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_plates(tmp_path / "plates", 3)


def test_a_scene_comes_with_its_plates_and_boxes(folder: Path) -> None:
    first, *_ = found = list(samples(PLATES.paths(folder), PLATES))
    assert [item.name for item in found] == ["scene0.png", "scene1.png", "scene2.png"]
    assert isinstance(first, Sample)
    assert (first.rgb_u8 == squash(scene(0), 256)).all()
    assert first.boxes == (Box(0, 0, 1, 0.9),)  # wood is no skin
    for plate, channel in (("ortho", 1), ("blue", 2)):
        gray = squash(np.repeat(scene(0)[..., channel, None], 3, axis=-1), 256)
        assert (first.through(plate) == rgb_u8_to_lightness(gray)).all()


def test_a_photograph_without_plates_is_seen_as_the_mean_mix_would() -> None:
    photo = Sample("a", scene(1))
    for plate in ("ortho", "blue"):
        expected = plate_lightness(scene(1), EMULSIONS[plate].mix())
        assert (photo.through(plate) == expected).all()


def test_scenes_that_lack_a_plate_are_left_out_with_the_reason(folder: Path) -> None:
    (folder / "ortho" / "scene0.png").unlink()
    (folder / "blue" / "scene1.png").write_bytes(encode(scene(1, 72, 95), ".png"))
    (folder / "truth" / "scene2.png").write_bytes(b"no picture")
    found = list(samples(PLATES.paths(folder), PLATES))
    assert found == [
        LeftOut("scene0.png", "ortho/scene0.png: No such file or directory"),
        LeftOut("scene1.png", "blue/scene1.png has another size than the truth"),
        LeftOut("scene2.png", "truth/scene2.png: not a picture"),
    ]


def test_plates_are_read_in_their_own_size(folder: Path) -> None:
    pictures = read_plates(folder / "truth" / "scene1.png")
    assert list(pictures) == ["truth", "ortho", "blue"]
    assert (pictures["truth"] == scene(1)).all()
    assert (pictures["blue"] == scene(1)[..., 2:]).all()


def test_boxes_may_be_missing_but_not_broken(folder: Path) -> None:
    assert read_boxes(folder)["scene2"] == (Box(0, 0, 1, 0.9),)
    boxes = folder / "boxes.csv"
    for text, message in (
        ("name,sector,x0,y0,x1\na,skin,0,0,1\n", "lacks the column 'y1'"),
        ("name,sector,x0,y0,x1,y1\na,skin,0,0,1,2\n", "is no box in a picture"),
        ("name,sector,x0,y0,x1,y1\na,skin,0,0,1\n", "cannot be read"),
        ("name,sector,x0,y0,x1,y1\na,skin,0,0,1,x\n", "cannot be read"),
    ):
        boxes.write_text(text)
        with pytest.raises(DataError, match=message):
            read_boxes(folder)
    boxes.unlink()
    assert read_boxes(folder) == {}
    assert all(isinstance(item, Sample) and item.boxes == () for item in samples(PLATES.paths(folder), PLATES))


def test_a_folder_without_truth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        PLATES.paths(tmp_path)


def test_ways_through_plates_differ_in_what_the_network_sees_alone(tmp_path: Path) -> None:
    run = open_run(make_run(tmp_path / "run"))
    ways = {way.name: way for way in ways_through_plates(run)}
    assert tuple(ways) == PLATE_WAYS == PLATES.ways
    assert list(ways)[3:6] == [DEFAULT, "default, ortho plate", "default, blue plate"]
    assert [ways[name].plate for name in list(ways)[3:6]] == ["pan", "ortho", "blue"]
    settings = [ways[name].settings() | {"plate": ""} for name in list(ways)[3:6]]
    assert settings[0] == settings[1] == settings[2]
    beside = [way.name for way in ways_beside_plates(run)]
    assert beside[1:5] == [*list(ways)[3:6], "vivid (vividness 1)"]
    assert sum("plate" in name for name in beside) == 2
