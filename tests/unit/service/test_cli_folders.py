"""photochrom colorize with folders: of every file in them it is said what became of it, and why."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.archive.answers import other_options, words_of
from service.archive.kinds import FILM_SUFFIXES, SUFFIXES, UNREAD, is_film, unread_kind
from service.commands.shared import app
from service.engine.options import Options
from tests.pictures import by_pillow, smooth_gray

GRAY = by_pillow(smooth_gray(30, 40), "PNG")


pytestmark = pytest.mark.usefixtures("command_line")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def put(path: Path, data: bytes = b"?") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_every_file_of_a_folder_is_accounted_for(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/b.jfif", by_pillow(smooth_gray(30, 40), "JPEG"))
    put(tmp_path / "in/c.JPE", by_pillow(smooth_gray(30, 40), "JPEG"))
    put(tmp_path / "in/broken.jpg")
    for name in ("scan.PSD", "deep/one.cr2", "deep/two.cr2", "notes.txt", "deep/Thumbs.db", "list.txt", "README"):
        put(tmp_path / "in" / name)
    put(tmp_path / "in/.hidden.psd")
    (tmp_path / "in/folder.psd").mkdir()
    put(tmp_path / "colorized/old.psd")
    run("colorize", "in/a.png")
    result = run("colorize", "in", "--json")
    *lines, last = map(json.loads, result.stdout.splitlines())
    assert result.exit_code == 1
    assert {line["source"]: line["status"] for line in lines} == {
        "in/a.png": "skipped",
        "in/b.jfif": "colored",
        "in/c.JPE": "colored",
        "in/broken.jpg": "failed",
        "in/scan.PSD": "unread",
        "in/deep/one.cr2": "unread",
        "in/deep/two.cr2": "unread",
        "in/notes.txt": "other",
        "in/list.txt": "other",
        "in/deep/Thumbs.db": "other",
        "in/README": "other",
    }
    assert last["summary"] == {"colored": 2, "skipped": 1, "failed": 1, "unread": 3, "other": 4, "left": 0}
    (psd,) = (line for line in lines if line["source"] == "in/scan.PSD")
    assert psd["problem"] == "unread-kind"
    assert psd["reason"] == "documents of paint programs are not read: save them as TIFF or PNG"
    assert "target" not in psd
    text = run("colorize", "in")
    assert "not colored: in/scan.PSD: documents of paint programs are not read: save them" in text.stderr
    assert (
        "not colored: 2 files such as in/deep/one.cr2: raw files of cameras are not read: develop them" in text.stderr
    )
    assert (
        "0 colored, 3 already there, 1 failed, 3 not read, 4 no pictures (2 .txt, 1 .db, 1 without a suffix); in"
        in text.stdout
    )


def test_what_is_no_picture_does_not_spoil_the_exit_status(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/a.xmp")
    result = run("colorize", "in", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "1 colored, 0 already there, 0 failed, 1 no pictures (1 .xmp); in colorized\n"


def test_a_folder_of_unread_kinds_alone_says_so(tmp_path: Path) -> None:
    put(tmp_path / "in/a.psd")
    result = run("colorize", "in")
    assert (result.exit_code, "0 colored" in result.stdout) == (1, True)
    put(tmp_path / "none/a.txt")
    assert run("colorize", "none").exit_code == 2


def test_a_pattern_means_what_it_matches_and_a_name_what_it_names(tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", GRAY)
    put(tmp_path / "in/b.psd")
    assert "not read" not in run("colorize", "in/*.png").stdout
    assert "1 not read" in run("colorize", "in/*").stdout
    named = run("colorize", "in/b.psd", "in")
    assert "1 failed" in named.stdout
    assert "not read" not in named.stdout, "it is not counted twice"


def test_files_in_several_of_the_inputs_are_counted_once(tmp_path: Path) -> None:
    put(tmp_path / "in/deep/a.txt")
    put(tmp_path / "in/a.png", GRAY)
    (tmp_path / "in/link").symlink_to(tmp_path / "in/deep")
    assert "1 no pictures (1 .txt)" in run("colorize", "in", "in/deep", "in/*", "--quiet").stdout


def with_note(text: str) -> bytes:
    """Return the gray PNG with text as programs put XMP into it."""
    data = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + f'<x stEvt:parameters="{text}"/>'.encode()
    chunk = (len(data) - 4).to_bytes(4, "big") + data + zlib.crc32(data).to_bytes(4, "big")
    return GRAY[:33] + chunk + GRAY[33:]


SAID = "colors computed: model tiny-0001, mode annealed, vividness 0.9"


def test_answers_made_with_other_options_are_said(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path / f"in/{name}.png", GRAY)
    put(tmp_path / "colorized/a.png", with_note(SAID))
    put(tmp_path / "colorized/b.png", with_note(SAID))
    put(tmp_path / "colorized/c.png", GRAY)
    result = run("colorize", "in", "--quiet")
    assert result.exit_code == 0
    assert result.stderr == (
        "2 already there, made with mode annealed, vividness 0.9: --overwrite colors again, another --out beside them\n"
    )
    assert run("colorize", "in", "--quiet", "--vividness", "0.9").stderr == ""
    lines = [json.loads(line) for line in run("colorize", "in", "--json").stdout.splitlines()]
    assert [line.get("notes") for line in lines[:3]] == [["made with mode annealed, vividness 0.9"]] * 2 + [None]


@pytest.mark.parametrize(
    ("options", "has_reference", "said"),
    [
        (Options(), False, "mode annealed, vividness 0.5"),
        (Options(vividness=1.0, saturation=0.5), False, "vividness 1, saturation 0.5, mode annealed"),
        (Options(temperature=0.4, size=256), False, "mode annealed, vividness 0.5, temperature 0.4, size 256"),
        (
            Options(reference_strength=1.0),
            True,
            "mode annealed, vividness 0.5, reference strength 1.0, palette of a reference",
        ),
        (Options(reference_strength=1.0), False, "mode annealed, vividness 0.5"),
        (Options(variants=(2,)), False, "mode annealed, vividness 0.5, version 2"),
        (Options(hints=((0.5, 0.5, 20.0, 30.0),)), False, "mode annealed, vividness 0.5, 1 hints (7b1239)"),
    ],
)
def test_the_words_of_the_options_are_those_of_the_answers(
    tmp_path: Path, options: Options, has_reference: bool, said: str
) -> None:
    wanted = words_of(options, has_reference=has_reference)
    path = put(
        tmp_path / "a.png", with_note(f"colors computed: model x-1, {said}; digital source type was digitalCapture")
    )
    assert other_options(path, wanted) == ""
    assert other_options(path, "mode fused, vividness 0.5") == said


def test_the_last_of_several_notes_counts_and_none_says_nothing(tmp_path: Path) -> None:
    both = with_note(f'{SAID.replace("0.9", "0.1")}"/><x stEvt:parameters="{SAID}')
    assert other_options(put(tmp_path / "a.png", both), "mode annealed, vividness 0.9") == ""
    assert other_options(put(tmp_path / "b.png", GRAY), "mode annealed, vividness 0.9") == ""
    assert other_options(tmp_path / "gone.png", "mode annealed, vividness 0.9") == ""


def test_every_suffix_is_of_one_kind() -> None:
    kinds = (SUFFIXES, FILM_SUFFIXES, UNREAD)
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert all(suffix.startswith(".") and suffix == suffix.lower() for kind in kinds for suffix in kind)
    assert is_film(Path("a.MTS"))
    assert unread_kind(Path("a.NEF")) == unread_kind(Path("a.cr2")) != unread_kind(Path("a.psd"))
    assert unread_kind(Path("a.txt")) is None
