import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training import RunFolderError
from training.whole_files import PARTIAL, remove_partial, whole_file, write_whole


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """Let the operating system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_text_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "grün")
    assert path.read_bytes() == "grün".encode()
    write_whole(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("size_bytes", [0, 100])
def test_a_full_disk_is_an_error_that_says_what_to_do_and_costs_nothing(tmp_path: Path, size_bytes: int) -> None:
    path = tmp_path / "file.txt"
    write_whole(path, "old")
    with (
        files_up_to(size_bytes),
        pytest.raises(RunFolderError, match=r"cannot write .*file\.txt: .*same command again"),
    ):
        write_whole(path, "new" * 1000)
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["file.txt"]


def test_the_disk_has_it_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (told.append("fsync"), fsync(number))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (told.append("replace"), replace(self, target))[1])
    write_whole(tmp_path / "file", "x")
    assert told == ["fsync", "replace"]


def test_a_writer_keeps_the_suffix_and_its_own_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.weights.h5"

    def write(error: Exception) -> None:
        with whole_file(path, (ValueError,)) as partial:
            assert partial.suffixes[-2:] == [".weights", ".h5"]
            partial.write_bytes(b"half")
            raise error

    with pytest.raises(KeyError):
        write(KeyError())
    with pytest.raises(RunFolderError, match=r"h5: torn\."):
        write(ValueError("torn"))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "previews").mkdir()
    for name in (f"{PARTIAL}a.txt", f"previews/{PARTIAL}b.png", "kept.txt", "previews/kept.png"):
        (tmp_path / name).write_text("x")
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["kept.png", "kept.txt"]
