import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from training.data import shards
from training.data.shards import ShardPool, ShardReader, ShardWriter


def contents(count: int) -> dict[str, bytes]:
    rng = np.random.default_rng(count)
    return {f"folder/pictüre {place}.jpg": rng.bytes(int(rng.integers(0, 5000))) for place in range(count)}


def written(path: Path, members: dict[str, bytes]) -> Path:
    with ShardWriter(path) as writer:
        for name, data in members.items():
            writer.add(name, data)
    return path


def test_what_is_written_is_an_archive_that_anyone_reads(tmp_path: Path) -> None:
    members = contents(9)
    with zipfile.ZipFile(written(tmp_path / "a.zip", members)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == members
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert os.listdir(tmp_path) == ["a.zip"]


def test_equal_members_make_equal_shards(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, contents(5)) for name in ("a.zip", "b.zip"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("keep_open", [True, False])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_member_is_read_by_its_name(method: int, keep_open: bool, tmp_path: Path) -> None:
    members = contents(40)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            # An extra field that is longer than the one read ahead for.
            info.extra = b"\x99\x99" + (300).to_bytes(2, "little") + bytes(300)
            archive.writestr(info, data)
    reader = ShardReader(tmp_path / "a.zip", keep_open=keep_open)
    for name in reversed(members):
        assert reader.read(name) == members[name]
    with pytest.raises(KeyError, match=r"no b\.jpg in a\.zip"):
        reader.read("b.jpg")


def open_below(folder: Path) -> int:
    """Count this process's open files below a folder; others of its files come and go with other tests' garbage."""
    links = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


def test_many_threads_and_more_shards_than_are_kept_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MOST_OPEN", 2)
    everything = {written(tmp_path / f"{place}.zip", contents(place)): contents(place) for place in range(3, 9)}
    pool = ShardPool()
    wanted = [(path, name) for path, members in everything.items() for name in members] * 20
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda pair: pool.read(*pair), wanted))
    assert got == [everything[path][name] for path, name in wanted]
    assert open_below(tmp_path) == 2
    del pool
    assert open_below(tmp_path) == 0


def test_an_index_is_small(tmp_path: Path) -> None:
    reader = ShardReader(written(tmp_path / "a.zip", {f"{place}.jpg": b"x" for place in range(1000)}))
    assert reader._entries.nbytes == 30 * 1000


def spoiled(change: Callable[[bytearray], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = written(folder / "a.zip", {"a.jpg": b"0123456789" * 20, "b.jpg": b"more"})
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)
        return path

    return make


def flip_content(data: bytearray) -> None:
    data[60] ^= 1


def rename_member(data: bytearray) -> None:
    data[30] ^= 1


def encrypt(data: bytearray) -> None:
    data[6] |= 1


def lose_magic(data: bytearray) -> None:
    data[0] = 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (flip_content, "checksum differs"),
        (rename_member, "not where the directory says"),
        (encrypt, "is encrypted"),
        (lose_magic, "not where the directory says"),
    ],
)
def test_a_damaged_member_is_an_error_and_the_others_are_read(
    change: Callable[[bytearray], None], message: str, tmp_path: Path
) -> None:
    reader = ShardReader(spoiled(change)(tmp_path))
    with pytest.raises(zipfile.BadZipFile, match=message):
        reader.read("a.jpg")
    assert reader.read("b.jpg") == b"more"


def test_a_shard_that_is_cut_off_after_it_was_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", contents(3))
    reader = ShardReader(path)
    os.truncate(path, 10)
    with pytest.raises(zipfile.BadZipFile, match="cut off"):
        reader.read(next(iter(contents(3))))


def test_a_member_never_grows_beyond_what_the_directory_says(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(50_000_000))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(zipfile.BadZipFile, match="checksum differs"):
        ShardReader(path).read("a.jpg")


def write_half(path: Path) -> None:
    with ShardWriter(path) as writer:
        writer.add("a.jpg", b"data")
        raise RuntimeError("stopped")


def test_a_shard_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        write_half(tmp_path / "a.zip")
    assert os.listdir(tmp_path) == []


def test_an_unfinished_shard_does_not_touch_the_finished_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", contents(4))
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stopped"):
        write_half(path)
    assert path.read_bytes() == before
