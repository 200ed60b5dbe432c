import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.coco_tree import BALL, GRASS, SKY, UNLABELED, make_coco_stuff
from tests.coco_tree import SCENES as COCO_SCENES
from tests.unit.training.pictures import encode, landscape, write_folder, write_shards
from training import DataError
from training.config import DataConfig
from training.data.batches import BatchMaker
from training.data.photographs import Photograph, PhotographSet, open_photographs
from training.data.pictures import decode_photograph
from training.data.samples import decode_label_map

SMALL = DataConfig(crop_px=64, scene_top_k=3)


def by_key(found: PhotographSet) -> dict[str, Photograph]:
    return {photo.key: photo for photo in found.photographs}


# ----------------------------------------------------------------------------------------------------------- COCO-Stuff


def test_coco_stuff_is_listed_as_downloaded(tmp_path: Path) -> None:
    found = open_photographs(make_coco_stuff(tmp_path / "coco", train=5, val=3))
    assert [photo.key for photo in found.split("train")] == [f"train2017/{9 + 7 * i:012}.jpg" for i in range(5)]
    assert [photo.key for photo in found.split("val")] == [f"val2017/{139 + 7 * i:012}.jpg" for i in range(3)]
    assert found.scenes == COCO_SCENES
    assert [bool(photo.label_map) for photo in found.split("train")] == [True, True, True, True, False]
    assert [photo.scene_row >= 0 for photo in found.split("train")] == [True, True, True, False, True]


def test_a_label_map_of_coco_stuff_belongs_to_its_photograph(tmp_path: Path) -> None:
    found = open_photographs(make_coco_stuff(tmp_path))
    for photo in found.photographs:
        picture = decode_photograph(found.read(photo)).astype(int)
        if not photo.label_map:
            with pytest.raises(DataError, match="no label map"):
                found.read_label_map(photo)
            continue
        labels = decode_label_map(found.read_label_map(photo), picture.shape[:2])
        assert set(np.unique(labels)) <= {SKY, GRASS, BALL, UNLABELED}
        assert picture[labels == SKY][:, 2].mean() > picture[labels == SKY][:, 0].mean() + 60
        assert picture[labels == GRASS][:, 1].mean() > picture[labels == GRASS][:, 2].mean() + 40


def arranged(folder: Path, arrangement: str) -> Path:
    make_coco_stuff(folder)
    if arrangement == "images and annotations":
        (folder / "images").mkdir()
        for name in ("train2017", "val2017"):
            (folder / name).rename(folder / "images" / name)
        (folder / "stuffthingmaps").rename(folder / "annotations")
    elif arrangement == "maps beside the photographs":
        for name in ("train2017", "val2017"):
            shutil.copytree(folder / "stuffthingmaps" / name, folder / name, dirs_exist_ok=True)
        shutil.rmtree(folder / "stuffthingmaps")
    elif arrangement == "no maps":
        shutil.rmtree(folder / "stuffthingmaps")
    return folder


@pytest.mark.parametrize("arrangement", ["images and annotations", "maps beside the photographs", "no maps"])
def test_other_arrangements_of_coco_stuff_are_the_same_photographs(arrangement: str, tmp_path: Path) -> None:
    one = open_photographs(make_coco_stuff(tmp_path / "one"))
    other_folder = arranged(tmp_path / "other", arrangement)
    (other_folder / "scenes.csv").unlink()
    other = open_photographs(other_folder)
    assert [p.key.removeprefix("images/") for p in other.photographs] == [p.key for p in one.photographs]
    assert [p.split for p in other.photographs] == [p.split for p in one.photographs]
    for mine, theirs in zip(one.photographs, other.photographs, strict=True):
        assert one.read(mine) == other.read(theirs)
        if arrangement == "no maps":
            assert not theirs.label_map
        elif mine.label_map:
            assert one.read_label_map(mine) == other.read_label_map(theirs)


def test_batches_of_coco_stuff_have_scene_probabilities_and_labels(tmp_path: Path) -> None:
    found = open_photographs(make_coco_stuff(tmp_path))
    maker = BatchMaker(found, found.split("train"), SMALL, batch_size=12, seed=2, segmentation_classes=182)
    batch = maker.batch(0)
    assert batch.segmentation is not None
    assert maker.refused == {}
    photos = by_key(found)
    for place, key in enumerate(batch.keys):
        row, labels = batch.scene[place], batch.segmentation[place]
        assert (row > 0).sum() == (3 if photos[key].scene_row >= 0 else 0)
        assert row.sum() == pytest.approx(float(photos[key].scene_row >= 0), abs=1e-6)
        assert set(np.unique(labels)) <= ({-1, SKY, GRASS, BALL} if photos[key].label_map else {-1})
    assert (batch.segmentation >= 0).mean() > 0.7


def test_a_tree_with_one_split_says_which_one_is_missing(tmp_path: Path) -> None:
    folder = make_coco_stuff(tmp_path)
    shutil.rmtree(folder / "train2017")
    found = open_photographs(folder)
    assert len(found.split("val")) == 6
    with pytest.raises(DataError, match="no photographs in the train split"):
        found.split("train")


# ---------------------------------------------------------------------------------------------------------------- DIV2K


def test_div2k_has_its_own_split_and_large_pictures(tmp_path: Path) -> None:
    for name, seed in (("DIV2K_train_HR/0001", 1), ("DIV2K_train_HR/0002", 2), ("DIV2K_valid_HR/0801", 3)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(landscape(seed, 510, 1020), ".png"))
    found = open_photographs(tmp_path)
    assert [photo.key for photo in found.split("val")] == ["DIV2K_valid_HR/0801.png"]
    assert len(found.split("train")) == 2
    picture = decode_photograph(found.read(found.split("val")[0]))
    assert_array_equal(picture, landscape(3, 510, 1020))
    # The folder of one part alone is a plain folder.
    assert [photo.key for photo in open_photographs(tmp_path / "DIV2K_valid_HR").photographs] == ["0801.png"]


# ----------------------------------------------------------------------------------------------------------- scenes.csv


def test_scene_probabilities_serve_every_layout(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "shards", train=3, val=1)
    rows = "key,scene,probability\ntrain001,cave,0.25\ntrain001,beach,0.5\nval000,meadow,1\n"
    (folder / "scenes.csv").write_text(rows)
    found = open_photographs(folder, scenes="scene")
    assert found.scenes == ("beach", "cave", "meadow")
    targets = {key: found.scene_target(photo, top_k=5).tolist() for key, photo in by_key(found).items()}
    # train000 is a meadow by labels.csv, and train002 has no scene at all.
    assert targets["train000"] == [0, 0, 1]
    assert_allclose(targets["train001"], [2 / 3, 1 / 3, 0], atol=1e-6)
    assert targets["train002"] == [0, 0, 0]
    assert targets["val000"] == [0, 0, 1]
    plain = write_folder(tmp_path / "plain", 2)
    (plain / "scenes.csv").write_text("scene,key,probability\nattic,001.jpg,0.9\n")
    assert open_photographs(plain).scene_pairs(open_photographs(plain).photographs[1])[0][0] == "attic"


def test_the_ten_largest_probabilities_are_kept(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 2)
    chances = np.arange(1, 15) / 200
    lines = [f"000.jpg,c{place:02},{chance}" for place, chance in enumerate(chances)]
    (folder / "scenes.csv").write_text("\n".join(["key,scene,probability", *lines, "001.jpg,c00,1"]))
    found = open_photographs(folder)
    assert len(found.scenes) == 14
    pairs = found.scene_pairs(by_key(found)["000.jpg"])
    assert [name for name, _ in pairs] == [f"c{place:02}" for place in range(13, 3, -1)]
    assert_allclose([value for _, value in pairs], chances[:3:-1], atol=1e-6)
    assert found.scene_pairs(by_key(found)["001.jpg"]) == [("c00", 1.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,scene\n000.jpg,a\n", "lacks the columns probability"),
        ("", "lacks the columns key, probability, scene"),
        ("key,scene,probability\n", "has no rows"),
        ("key,scene,probability\n000.jpg,a,much\n", "row 2"),
        ("key,scene,probability\n000.jpg,a,0.5\n000.jpg,b\n", "row 3"),
        ("key,scene,probability\n000.jpg,a,1.5\n", r"probability in \[0, 1\]"),
        ("key,scene,probability\n000.jpg,a,nan\n", r"probability in \[0, 1\]"),
        ("key,scene,probability\n000.jpg,a,0.5\n001.jpg,a,1\n000.jpg,b,0.5\n", "000.jpg lie apart"),
        ("key,scene,probability\nelse.jpg,a,0.5\n", "names none of the photographs; a key looks like 000.jpg"),
    ],
)
def test_scene_probabilities_that_do_not_fit_are_an_error(text: str, message: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, 2)
    (folder / "scenes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        open_photographs(folder)


# ------------------------------------------------------------------------------------------------- what else is said


def test_an_empty_folder_is_told_what_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"zip shards with labels.csv, train2017 and val2017 \(COCO\)"):
        open_photographs(tmp_path)


def test_a_folder_that_prepare_left_unfinished_is_not_taken_for_something_else(tmp_path: Path) -> None:
    (write_folder(tmp_path, 3) / "prepare.json").write_text("{}")
    with pytest.raises(DataError, match="has not finished"):
        open_photographs(tmp_path)


def test_the_validation_share_is_a_choice_for_plain_folders_alone(tmp_path: Path) -> None:
    plain = write_folder(tmp_path / "plain", 40)
    few, many = (open_photographs(plain, validation_share=share) for share in (0.05, 0.5))
    assert {p.key for p in few.split("val")} < {p.key for p in many.split("val")}
    assert len(many.split("val")) == pytest.approx(20, abs=9)
    for folder in (make_coco_stuff(tmp_path / "coco"), write_shards(tmp_path / "shards", train=2, val=1)):
        with pytest.raises(DataError, match="says itself which photographs validate"):
            open_photographs(folder, validation_share=0.1)


def test_label_maps_lie_in_shards_too(tmp_path: Path) -> None:
    import zipfile

    labels = np.full((72, 96), 7, np.uint8)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as shard:
        shard.writestr("one.jpg", encode(landscape(1)))
        shard.writestr("one.png", cv2.imencode(".png", labels)[1].tobytes())
        shard.writestr("two.jpg", encode(landscape(2)))
    (tmp_path / "labels.csv").write_text("key,shard,split,label_map\none,a.zip,train,one.png\ntwo,a.zip,val,\n")
    found = open_photographs(tmp_path)
    photos = by_key(found)
    assert_array_equal(decode_label_map(found.read_label_map(photos["one"]), (72, 96)), labels)
    assert photos["two"].label_map == ""
