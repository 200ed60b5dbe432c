import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.training.pictures import COLUMNS, encode, landscape, write_folder, write_shards
from training import DataError
from training.data.photographs import VALIDATION_SHARE, Photograph, PhotographSet, open_photographs
from training.data.pictures import decode_photograph


def test_zip_shards_are_listed_with_split_scene_and_data_set(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=5, val=2), scenes="scene")
    assert [photo.key for photo in found.split("train")] == [f"train{place:03}" for place in range(5)]
    assert [photo.key for photo in found.split("val")] == ["val000", "val001"]
    assert found.scenes == ("beach", "meadow")
    assert [found.scene_index(photo) for photo in found.split("train")] == [1, 0, -1, 1, 0]
    assert {photo.dataset for photo in found.photographs} == {"day", "night"}


def test_the_label_column_is_a_choice(tmp_path: Path) -> None:
    folder = write_shards(tmp_path, train=4, val=1)
    assert open_photographs(folder, scenes="scene_coarse").scenes == ("nature",)
    assert open_photographs(folder).scenes == ("nature",)


def test_a_shard_gives_the_very_bytes(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=3, val=1))
    assert found.read(found.split("train")[2]) == encode(landscape(2))
    assert found.read(found.split("val")[0]) == encode(landscape(1000))


def test_labels_may_do_without_the_columns_that_name_scenes(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=3, val=1, columns=COLUMNS[:3]))
    assert found.scenes == ("unknown",)
    assert {found.scene_index(photo) for photo in found.photographs} == {-1}
    assert {photo.dataset for photo in found.photographs} == {""}


def test_a_repeated_data_set_appears_several_times_and_may_be_left_out(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=4, val=1))
    keys = [photo.key for photo in found.split("train", repeat={"night": 3})]
    assert keys.count("train000") == 1
    assert keys.count("train001") == 3
    assert {photo.dataset for photo in found.split("train", repeat={"night": 0})} == {"day"}


def labels(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "labels.csv").write_text(text)


BREAKAGES = {
    "columns are missing": (labels("key,shard\na,train-0000.zip\n"), "lacks the columns split"),
    "labels are empty": (labels(""), "lacks the columns key, shard, split"),
    "labels name nothing": (labels("key,shard,split\n"), "no photographs in"),
    "a shard is missing": (lambda folder: (folder / "val-0000.zip").unlink(), "not there: val-0000.zip"),
    "a split is unknown": (labels("key,shard,split\na,train-0000.zip,test\n"), "split of a is 'test'"),
    "a row is cut off": (labels("key,shard,split\na,train-0000.zip,train\nb,train-0000.zip\n"), "row 3"),
    "labels are no text": (lambda folder: (folder / "labels.csv").write_bytes(b"\xff\xfe\xfa\n"), "cannot be read"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_labels_that_do_not_fit_are_an_error_that_says_why(name: str, tmp_path: Path) -> None:
    spoil, message = BREAKAGES[name]
    spoil(write_shards(tmp_path, train=2, val=1))
    with pytest.raises(DataError, match=message):
        open_photographs(tmp_path)


def test_a_missing_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_photographs(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="no photographs in"):
        open_photographs(tmp_path)


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    found = open_photographs(write_folder(tmp_path, 1))
    assert len(found.split("train")) == 1
    with pytest.raises(DataError, match="no photographs in the val split"):
        found.split("val")


def test_a_plain_folder_is_searched_to_the_bottom(tmp_path: Path) -> None:
    write_folder(tmp_path / "a" / "b", 2)
    (tmp_path / "c.PNG").write_bytes(encode(landscape(9), ".png"))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "folder.jpg").mkdir()
    found = open_photographs(tmp_path)
    assert [photo.key for photo in found.photographs] == ["a/b/000.jpg", "a/b/001.jpg", "c.PNG"]
    assert found.scenes == ("unknown",)
    assert found.read(found.photographs[2]) == encode(landscape(9), ".png")


def test_the_hashed_split_does_not_depend_on_place_or_company(tmp_path: Path) -> None:
    """What a picture is called below the folder decides alone, so that a validation picture never turns to training."""

    def validation(folder: Path, count: int) -> set[str]:
        folder.mkdir()
        for place in range(count):
            (folder / f"{place}.jpg").touch()
        return {photo.key for photo in open_photographs(folder).split("val")}

    many, more = validation(tmp_path / "many", 400), validation(tmp_path / "more", 900)
    assert many == {key for key in more if int(key[:-4]) < 400}
    assert len(more) == pytest.approx(900 * VALIDATION_SHARE, abs=3 * (900 * VALIDATION_SHARE) ** 0.5)
    # Known answers: these must never change, or old runs would validate on what they trained on.
    assert sorted(many)[:4] == ["115.jpg", "138.jpg", "195.jpg", "206.jpg"]


def test_the_smallest_folder_still_validates(tmp_path: Path) -> None:
    found = open_photographs(write_folder(tmp_path, 2))
    assert len(found.split("train")) == len(found.split("val")) == 1


def damaged(folder: Path) -> Photograph:
    """A deflated member whose data is overwritten."""
    with zipfile.ZipFile(folder / "damaged.zip", "w", zipfile.ZIP_DEFLATED) as shard:
        shard.writestr("a.jpg", bytes(range(256)) * 40)
    data = bytearray((folder / "damaged.zip").read_bytes())
    data[40:80] = b"\xff" * 40
    (folder / "damaged.zip").write_bytes(data)
    return Photograph("a", folder / "damaged.zip", "a.jpg", "train", "", "")


def encrypted(folder: Path) -> Photograph:
    """A member that says it is encrypted."""
    with zipfile.ZipFile(folder / "encrypted.zip", "w") as shard:
        shard.writestr("a.jpg", b"0123456789")
    data = bytearray((folder / "encrypted.zip").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (folder / "encrypted.zip").write_bytes(data)
    return Photograph("a", folder / "encrypted.zip", "a.jpg", "train", "", "")


def no_archive(folder: Path) -> Photograph:
    (folder / "text.zip").write_text("no archive")
    return Photograph("a", folder / "text.zip", "a.jpg", "train", "", "")


def no_member(folder: Path) -> Photograph:
    write_shards(folder, train=1, val=1)
    return Photograph("a", folder / "train-0000.zip", "a.jpg", "train", "", "")


def no_file(folder: Path) -> Photograph:
    return Photograph("a", folder / "gone.jpg", "", "train", "", "")


@pytest.mark.parametrize("make", [damaged, encrypted, no_archive, no_member, no_file])
def test_what_cannot_be_read_is_a_data_error_with_the_key(make: Callable[[Path], Photograph], tmp_path: Path) -> None:
    photo = make(tmp_path)
    with pytest.raises(DataError, match=r"^a: "):
        PhotographSet([photo]).read(photo)


def test_many_threads_read_the_right_bytes(tmp_path: Path) -> None:
    found = open_photographs(write_shards(tmp_path, train=12, val=4))
    expected = {photo.key: found.read(photo) for photo in found.photographs}
    fresh = open_photographs(tmp_path)
    wanted = list(fresh.photographs) * 40
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(fresh.read, wanted))
    assert all(data == expected[photo.key] for photo, data in zip(wanted, got, strict=True))


def test_a_column_names_the_members_and_a_third_split_is_of_other_origin(tmp_path: Path) -> None:
    rows = ["key,shard,split,member", "a,s.zip,train,a.webp", "b,s.zip,val,", "c,s.zip,origin_val,odd/name.png"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    pictures = {"a.webp": encode(landscape(1), ".webp"), "b.jpg": encode(landscape(2))}
    pictures["odd/name.png"] = encode(landscape(3), ".png")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as shard:
        for name, data in pictures.items():
            shard.writestr(name, data)
    found = open_photographs(tmp_path)
    assert found.has("origin_val")
    read = {split: found.read(found.split(split)[0]) for split in ("train", "val", "origin_val")}
    assert read == dict(zip(("train", "val", "origin_val"), pictures.values(), strict=True))
    assert decode_photograph(read["train"]).shape == (72, 96, 3)


def test_folders_have_no_photographs_of_other_origin(tmp_path: Path) -> None:
    assert not open_photographs(write_folder(tmp_path, 4)).has("origin_val")
