"""service.commands: files in, files out, honest exit codes."""

import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from service.archive.whole_files import write_whole
from service.commands.shared import app
from service.pictures.probe import probe
from service.settings import ENV_PREFIX
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray
from tests.tiffs import tiff

GRAY = by_pillow(smooth_gray(30, 40), "PNG")


pytestmark = pytest.mark.usefixtures("command_line")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def picture(path: Path, data: bytes = GRAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_files_are_colored_under_their_names(tmp_path: Path) -> None:
    deep = by_opencv(smooth_gray(20, 25, dtype=np.uint16), ".tif")
    sources = [picture(tmp_path / "in/a.png"), picture(tmp_path / "in/b c.tif", deep)]
    result = run("colorize", *sources, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 colored, 0 already there, 0 failed" in result.output
    first, second = (cv2.imread(str(tmp_path / "out" / name), cv2.IMREAD_UNCHANGED) for name in ("a.png", "b c.png"))
    assert (first.shape, first.dtype) == ((30, 40, 3), np.uint8)
    assert (second.shape, second.dtype) == ((20, 25, 3), np.uint16)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b c.png"]


def test_a_folder_keeps_its_shape_and_bad_files_are_listed(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    picture(tmp_path / "in/deep/er/b.PNG")
    picture(tmp_path / "in/broken.jpg", b"\xff\xd8\xff nothing")
    picture(tmp_path / "in/old.tif", tiff(levels(9, 9, 3), tags={259: [6]}))
    picture(tmp_path / "in/notes.txt", b"no picture, and not taken for one")
    result = run("colorize", tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 colored, 0 already there, 2 failed" in result.output
    assert "old.tif: TIFFs with the compression old-style JPEG are not read here" in result.stderr
    assert "broken.jpg: The JPEG ends before any pixels." in result.stderr
    assert "notes.txt" not in result.output
    assert (tmp_path / "out/a.png").exists()
    assert (tmp_path / "out/deep/er/b.png").exists()


def test_missing_and_unreadable_files_do_not_stop_the_others(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png")
    result = run("colorize", tmp_path / "gone.png", good, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "gone.png: No such file" in result.stderr
    assert (tmp_path / "out/good.png").exists()


@pytest.mark.parametrize("command", ["colorize", "compare"])
def test_a_folder_that_cannot_be_searched_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/locked").mkdir()
    scan = os.scandir

    def scandir(folder: Path) -> Any:
        if Path(folder).name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    out = tmp_path / ("out" if command == "colorize" else "sheet.png")
    result = run(command, tmp_path / "in", "--out", out)
    assert result.exit_code == 1
    assert f"failed: {tmp_path / 'in/locked'}: this folder cannot be searched: Permission denied" in result.stderr
    assert re.search("1 (colored|compared).* 1 failed", result.stdout)
    assert "0 compared, 1 failed" in run("compare", tmp_path / "in/locked", "--out", "other.png").stdout
    alone = run("colorize", tmp_path / "in/locked", "--out", tmp_path / "deep", "--json")
    assert alone.exit_code == 1
    line, summary = (json.loads(line) for line in alone.stdout.splitlines())
    assert (line["status"], line["problem"]) == ("failed", "folder-error")
    assert summary == {"summary": {"colored": 0, "skipped": 0, "failed": 1, "left": 0}}


def test_a_broken_link_is_a_failure(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").symlink_to("gone.png")
    result = run("colorize", tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "b.png: No such file or directory" in result.stderr
    assert "1 colored, 0 already there, 1 failed" in result.stdout


def test_what_is_there_is_skipped_unless_asked(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    target = picture(tmp_path / "out/a.png", b"mine")
    result = run("colorize", source, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "0 colored, 1 already there" in result.output
    assert target.read_bytes() == b"mine"
    assert run("colorize", source, "--out", tmp_path / "out", "--overwrite").exit_code == 0
    assert target.read_bytes() != b"mine"


def test_options_count(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    run("colorize", source, "--out", "calm", "--vividness", "0")
    run("colorize", source, "--out", "gray", "--saturation", "0", "--mode", "regression")
    run("colorize", source, "--out", "lossy", "--format", "jpeg", "--size", "96", "--temperature", "1")
    calm, gray = (cv2.imread(str(tmp_path / name / "a.png")) for name in ("calm", "gray"))
    np.testing.assert_array_equal(gray, np.dstack([smooth_gray(30, 40)] * 3))
    assert not np.array_equal(calm, gray)
    assert cv2.imread(str(tmp_path / "lossy/a.jpg")).shape == (30, 40, 3)


def test_faded_tones_are_stretched_for_the_network_unless_told_not_to(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", by_opencv(90 + smooth_gray(30, 40) // 4, ".png"))
    for tone in ("auto", "off"):
        assert run("colorize", source, "--out", tone, "--tone", tone).exit_code == 0
    auto, off = (cv2.imread(str(tmp_path / tone / "a.png")) for tone in ("auto", "off"))
    assert not np.array_equal(auto, off)


def test_alpha_of_a_deep_picture_fits_a_shallow_answer(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", by_opencv(levels(20, 25, 4, dtype=np.uint16), ".png"))
    assert run("colorize", source, "--out", "out", "--format", "webp").exit_code == 0
    assert cv2.imread(str(tmp_path / "out/a.webp"), cv2.IMREAD_UNCHANGED).shape == (20, 25, 4)


@pytest.mark.parametrize(
    ("option", "value"),
    [("mode", "x"), ("vividness", "3"), ("format", "gif"), ("size", "7"), ("tone", "x"), ("enlargement", "x")],
)
def test_nonsense_is_misuse(tmp_path: Path, option: str, value: str) -> None:
    result = run("colorize", picture(tmp_path / "a.png"), f"--{option}", value)
    assert result.exit_code == 2
    assert f"--{option}: " in result.stderr


def test_nothing_to_do_is_misuse(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("colorize", tmp_path / "empty")
    assert result.exit_code == 2
    assert "no picture" in result.stderr


def test_a_bad_setting_is_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOCHROM_PORT", "many")
    for command in ("doctor", "serve"):
        result = run(command)
        assert result.exit_code == 2
        assert "PHOTOCHROM_PORT: " in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_MEGAPIXELS", "inf"), ("DRAIN_S", "inf"), ("KEPT_S", "inf"), ("MAX_INFLIGHT_MEGAPIXELS", "nan")],
)
def test_an_endless_setting_is_misuse(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(ENV_PREFIX + name, value)
    result = run("doctor")
    assert result.exit_code == 2
    assert f"{ENV_PREFIX}{name}: Input should be a finite number" in result.stderr


@pytest.mark.parametrize("kind", ["nothing", "a file", "an idle socket"])
def test_what_is_no_listening_socket_is_misuse(tmp_path: Path, kind: str) -> None:
    with (tmp_path / "file").open("w") as file, socket.socket() as idle:
        place = {"nothing": 10**6, "a file": file.fileno(), "an idle socket": idle.fileno()}[kind]
        result = run("serve", "--fd", str(place))
        assert idle.fileno() >= 0
        assert idle.getsockname()
    assert result.exit_code == 2
    assert f"--fd {place}" in result.stderr


def test_opencv_takes_what_the_setting_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCV_IO_MAX_IMAGE_PIXELS")
    monkeypatch.setenv("PHOTOCHROM_MAX_MEGAPIXELS", "4.1")
    assert run("doctor").exit_code == 0
    assert os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] == str(2050 * 2000)


def test_no_model_is_said_before_anything_starts(tmp_path: Path) -> None:
    gone = tmp_path / "gone.onnx"
    for command in (
        ["serve", "--port", "0", "--model", gone],
        ["colorize", picture(tmp_path / "a.png"), "--model", gone],
        ["doctor", "--model", gone],
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert "cannot read the model" in result.stderr
        assert "Traceback" not in result.output


def test_no_place_for_large_uploads_is_said_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOCHROM_SPOOL_DIR", str(tmp_path / "gone"))
    result = run("serve", "--port", "0", "--model", tmp_path / "gone.onnx")
    assert result.exit_code == 1
    assert f"{tmp_path / 'gone'} takes no uploads (No such file or directory)" in result.stderr
    assert "PHOTOCHROM_MAX_SPOOLED_BYTES=0" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [("MAX_UPLOAD_BYTES", "400", "upload-too-large"), ("MAX_MEGAPIXELS", "0.0005", "picture-too-large")],
)
def test_a_file_beyond_one_limit_is_refused_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv("PHOTOCHROM_MAX_MEGAPIXELS", "0.001")
    monkeypatch.setenv("PHOTOCHROM_MAX_UPLOAD_BYTES", "2000000")
    monkeypatch.setenv(f"PHOTOCHROM_{name}", value)
    limits = "0.001 megapixels and 0.0004 MB" if name == "MAX_UPLOAD_BYTES" else "0.0005 megapixels and 2 MB"
    source = picture(tmp_path / "in" / "a.png", by_pillow(smooth_gray(25, 35), "BMP"))
    result = run("colorize", source, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout.splitlines()[0])
    assert told["problem"] == problem
    assert limits in told["reason"]
    compared = run("compare", source, "--out", tmp_path / "sheet.png")
    assert limits in compared.stderr


def test_the_doctor_shows_what_holds(monkeypatch: pytest.MonkeyPatch, model_path: Path) -> None:
    monkeypatch.setenv("PHOTOCHROM_MAX_MEGAPIXELS", "7.5")
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for word in ("onnxruntime", "tiny-0001", "CPUExecutionProvider", "PHOTOCHROM_MAX_MEGAPIXELS", "7.5", "CC0-1.0"):
        assert word in result.output
    assert str(model_path) in result.output


def test_the_doctor_names_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.engine.onnx_runtime.CUDA_LIBRARIES", ("libnever.so.0",))
    assert "libnever.so.0" in run("doctor").output


def mixed_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Fill a folder with 60 files as people have them; return the names of what can be colored, and of what cannot."""
    good = [f"{number}.png" for number in range(40)] + ["sub/a.JPG", "sub/deep/b.tif", "other/c.webp"]
    bad = [f"bad{number}.jpg" for number in range(10)]
    kinds = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".webp": "WEBP"}
    for name in good:
        picture(folder / name, by_pillow(smooth_gray(30, 40), kinds[Path(name).suffix.lower()]))
    for number, name in enumerate(bad):
        picture(folder / name, (b"", b"\xff\xd8\xff nothing", GRAY[:200], b"text")[number % 4])
    for name in ("notes.txt", "Thumbs.db", "._0.png", "sub/.DS_Store", "letter.doc"):
        picture(folder / name, b"no picture")
    picture(folder / ".trash/old.png")
    picture(folder / "copy.bmp", by_pillow(smooth_gray(30, 40), "BMP"))
    return [*good, "copy.bmp"], bad


def answer_of(name: str) -> Path:
    return Path("out") / Path(name).with_suffix(".png")


def test_sixty_mixed_files(tmp_path: Path) -> None:
    good, bad = mixed_folder(tmp_path / "in")
    assert sum(path.is_file() for path in (tmp_path / "in").rglob("*")) == 60
    run("colorize", "in/0.png", "in/1.png", "--out", "out")
    before = answer_of("0.png").stat().st_mtime_ns
    result = run("colorize", "in", "--out", "out")
    assert result.exit_code == 1
    said = f"{len(good) - 2} colored, 2 already there, 10 failed, 3 no pictures (1 .db, 1 .doc, 1 .txt); in out"
    assert said in result.stdout
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert sorted(line.split(": ")[1] for line in failed) == sorted(f"in/{name}" for name in bad)
    assert all(len(line.split(": ", 2)[2]) > 20 for line in failed), "each with a reason"
    found = {path.relative_to("out") for path in Path("out").rglob("*") if path.is_file()}
    assert found == {answer_of(name).relative_to("out") for name in good}
    assert answer_of("0.png").stat().st_mtime_ns == before
    again = run("colorize", "in", "--out", "out", "--json")
    lines = [json.loads(line) for line in again.stdout.splitlines()]
    assert lines[-1] == {"summary": {"colored": 0, "skipped": len(good), "failed": 10, "other": 3, "left": 0}}
    assert [line["status"] for line in lines[:-1]].count("skipped") == len(good)
    assert all(line["problem"] and line["reason"] for line in lines[:-1] if line["status"] == "failed")


@pytest.fixture
def restored_sigint() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "code", "keyboard"),
    [
        (signal.SIGINT, 130, signal.default_int_handler),
        (signal.SIGTERM, 143, signal.default_int_handler),
        (signal.SIGTERM, 143, signal.SIG_IGN),
    ],
    ids=["ctrl-c", "kill", "kill in the background"],
)
@pytest.mark.usefixtures("restored_sigint")
def test_an_interrupted_call_goes_on_when_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, keyboard: Any
) -> None:
    signal.signal(signal.SIGINT, keyboard)
    on_terminate = signal.getsignal(signal.SIGTERM)
    for name in "abcdef":
        picture(tmp_path / f"in/{name}.png")
    calls = 0
    write = write_whole

    def interrupted(target: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            signal.raise_signal(number)
        write(target, data)

    monkeypatch.setattr("service.archive.run.write_whole", interrupted)
    result = run("colorize", "in", "--out", "out", "--json")
    assert result.exit_code == code
    assert "interrupted; 3 left" in result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["summary"] == {
        "colored": 3,
        "skipped": 0,
        "failed": 0,
        "left": 3,
        "stopped": "interrupted",
    }
    assert sorted(os.listdir("out")) == ["a.png", "b.png", "c.png"]
    assert signal.getsignal(signal.SIGTERM) == on_terminate, "as it was"
    assert "3 colored, 3 already there, 0 failed" in run("colorize", "in", "--out", "out").stdout


def test_what_was_cut_off_or_is_outdated_is_colored_again(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"in/{name}.png")
    run("colorize", "in", "--out", "out")
    whole = answer_of("a.png").read_bytes()
    answer_of("a.png").write_bytes(whole[: len(whole) // 2])
    os.utime("in/b.png", (2e9, 2e9))
    assert "2 colored, 1 already there" in run("colorize", "in", "--out", "out").stdout
    assert answer_of("a.png").read_bytes() == whole


def test_a_full_disk_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in "abc":
        picture(tmp_path / f"in/{name}.png")
    monkeypatch.setattr("service.archive.run.write_whole", full)
    result = run("colorize", "in", "--out", "out")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert "3 left" in result.stdout


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    picture(tmp_path / "x/a.png")
    for arguments in (["a.png", "--out", "."], ["a.png", "x/a.png", "--out", "out"], ["x", "--out", "x"]):
        result = run("colorize", *arguments, "--overwrite")
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith("photochrom: ")
    assert source.read_bytes() == GRAY
    assert not (tmp_path / "out").exists()


def test_captions_survive(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\x04\0\0\0Oma\0\0\0\0\0"
    picture(tmp_path / "a.jpg", by_pillow(smooth_gray(30, 40), "JPEG", exif=exif))
    run("colorize", "a.jpg", "--out", "out")
    run("colorize", "a.jpg", "--out", "bare", "--no-metadata")
    assert b"Oma" in (tmp_path / "out/a.png").read_bytes()
    assert b"Oma" not in (tmp_path / "bare/a.png").read_bytes()


def test_an_archive_gets_tiff_with_what_lies_beside(tmp_path: Path) -> None:
    picture(tmp_path / "in/a.jpg", by_pillow(smooth_gray(30, 40), "JPEG", dpi=(600, 600)))
    (tmp_path / "in/a.xmp").write_bytes(b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    assert run("colorize", "in", "--out", "out", "--format", "tiff", "--depth", "16").exit_code == 0
    assert (tmp_path / "out/a.xmp").read_bytes() == (tmp_path / "in/a.xmp").read_bytes()
    with tifffile.TiffFile(tmp_path / "out/a.tif") as file:
        page = file.pages[0]
        assert (page.bitspersample, page.shape, page.tags["XResolution"].value[0]) == (16, (30, 40, 3), 600_000)
        assert b"algorithmicallyEnhanced" in page.tags[700].value
    assert run("colorize", "in", "--out", "bare", "--format", "tiff", "--no-metadata", "--no-note").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == ["a.tif"]
    with tifffile.TiffFile(tmp_path / "bare/a.tif") as file:
        assert file.pages[0].bitspersample == 8
        assert not {700, 282} & {tag.code for tag in file.pages[0].tags}


@pytest.mark.parametrize("arguments", [["--depth", "16", "--format", "jpeg"], ["--depth", "12"], ["--format", "json"]])
def test_depths_that_no_answer_can_have_are_misuse(tmp_path: Path, arguments: list[str]) -> None:
    picture(tmp_path / "a.png")
    result = run("colorize", "a.png", *arguments)
    assert result.exit_code == 2
    assert "--format" in result.stderr if "json" in arguments else "--depth" in result.stderr
    assert not (tmp_path / "colorized").exists()


def test_odd_metadata_is_no_news(tmp_path: Path) -> None:
    odd = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\xff\0\0\0\xff\0\0\0\0\0\0\0"
    data = by_pillow(smooth_gray(30, 40), "JPEG", exif=odd)
    with pytest.warns(UserWarning, match="Corrupt EXIF|larger than file"), Image.open(io.BytesIO(data)) as image:
        image.getexif()
    result = run("colorize", picture(tmp_path / "a.jpg", data), "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--jobs", "2"],
        ["--remote", "http://127.0.0.1:1", "--device", "cpu"],
        ["--remote", "127.0.0.1:8000"],
        ["--remote", "http://127.0.0.1:1", "--api-key", "a b"],
        ["--jobs", "0", "--remote", "http://127.0.0.1:1"],
    ],
)
def test_options_that_contradict_each_other_are_misuse(tmp_path: Path, arguments: list[str]) -> None:
    result = run("colorize", picture(tmp_path / "a.png"), *arguments)
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "colorized").exists()


def test_names_in_no_known_encoding_are_colored(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xe4r")
    picture(tmp_path / f"in/{name}.png")
    picture(tmp_path / f"in/{name} 2.jpg", b"broken")
    result = run("colorize", "in", "--out", "out")
    assert (result.exit_code, os.listdir("out")) == (1, [f"{name}.png"])
    assert "1 colored, 0 already there, 1 failed" in result.stdout
    assert "failed: in/b\N{REPLACEMENT CHARACTER}r 2.jpg: " in result.stderr
    lines = run("colorize", "in", "--out", "out", "--json", "--overwrite").stdout.splitlines()
    assert {json.loads(line)["source"] for line in lines[:-1]} == {f"in/{name}.png", f"in/{name} 2.jpg"}


def test_quiet_says_only_how_it_ended(tmp_path: Path) -> None:
    result = run("colorize", picture(tmp_path / "a.png"), "--quiet")
    assert (result.stderr, result.stdout) == ("", "1 colored, 0 already there, 0 failed; in colorized\n")


def test_compare_draws_a_sheet(tmp_path: Path) -> None:
    picture(tmp_path / "in/gray.png")
    picture(tmp_path / "in/color.png", by_pillow(levels(30, 40, 3), "PNG"))
    picture(tmp_path / "in/broken.png", GRAY[:100])
    result = run("compare", "in", "--out", "s.png", "--vividness", "0", "--vividness", "1", "--columns", "1")
    assert result.exit_code == 1, result.output
    assert "2 compared, 1 failed; in s.png" in result.stdout
    assert "failed: in/broken.png: " in result.stderr
    sheet = cv2.imread("s.png")
    assert sheet.shape[1] == 4 * (256 + 8) + 8
    before = Path("s.png").read_bytes()
    again = run("compare", "in/gray.png", "--out", "s.png")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert Path("s.png").read_bytes() == before
    assert run("compare", "in/gray.png", "--out", "s.png", "--overwrite").exit_code == 0
    assert cv2.imread("s.png").shape[1] == 2 * (256 + 8) + 8, "gray and ours: there is no original"


@pytest.mark.parametrize(("suffix", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_compare_writes_what_its_name_says(tmp_path: Path, suffix: str, kind: str) -> None:
    assert run("compare", picture(tmp_path / "a.png"), "--out", f"s.{suffix}").exit_code == 0
    assert probe(Path(f"s.{suffix}").read_bytes(), max_megapixels=1).format == kind


@pytest.mark.parametrize(
    "arguments", [["a.png", "--out", "s.gif"], ["a.png", "--mode", "x"], ["empty"], ["a.png", "--vividness", "2"]]
)
def test_compare_can_be_misused(tmp_path: Path, arguments: list[str]) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    assert run("compare", *arguments).exit_code == 2


def test_a_sheet_of_nothing_is_not_written(tmp_path: Path) -> None:
    result = run("compare", picture(tmp_path / "a.png", b"broken"))
    assert result.exit_code == 1
    assert "0 compared, 1 failed" in result.stdout
    assert not Path("comparison.png").exists()


def test_the_doctor_speaks_json_and_says_how_to_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOCHROM_PROT", "80")
    monkeypatch.setenv("PHOTOCHROM_API_KEYS", "very-secret-key-12345")
    result = run("doctor", "--json")
    assert result.exit_code == 1, result.output
    seen = json.loads(result.stdout)
    assert seen["ok"] is False
    assert seen["facts"]["provider in use"] == "CPUExecutionProvider"
    assert {"level": "problem", "what": "PHOTOCHROM_PROT is no setting and has no effect"}.items() <= next(
        finding for finding in seen["findings"] if "PROT" in finding["what"]
    ).items()
    assert "very-secret" not in result.output
    text = run("doctor")
    assert "to fix it: did you mean PHOTOCHROM_PORT?" in text.stderr
    assert "very-secret" not in text.output
    sick = run("doctor", "--json", "--model", "gone.onnx")
    assert sick.exit_code == 1
    assert json.loads(sick.stdout)["ok"] is False


def test_bench_measures(tmp_path: Path) -> None:
    result = run("bench", "--megapixels", "0.01", "--megapixels", "0.04", "--repeats", "2", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [size["megapixels"] for size in told["sizes"]] == [0.01, 0.04]
    assert told["model"] == "tiny-0001"
    assert told["caveats"]
    text = run("bench", "--megapixels", "0.01", "--repeats", "1")
    assert "median of 1 runs" in text.stdout
    assert "this machine, now" in text.stdout
    assert run("bench", "--megapixels", "101").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_hints_and_a_reference_reach_the_picture(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", by_pillow(np.full((60, 60), 128, np.uint8), "PNG"))
    blue = picture(tmp_path / "blue.png", by_pillow(np.full((9, 9, 3), (40, 90, 160), np.uint8), "PNG"))
    ways = {
        "plain": [],
        "hinted": ["--hints", "0.5,0.5,20:30"],
        "blue": ["--reference", blue, "--reference-strength", "1"],
        "unmoved": ["--reference", blue, "--reference-strength", "0"],
    }
    found = {}
    for name, options in ways.items():
        result = run("colorize", source, "--out", tmp_path / name, "--quiet", *options)
        assert result.exit_code == 0, result.output
        found[name] = cv2.imread(str(tmp_path / name / "a.png")).astype(np.float32) / 255
    lab = cv2.cvtColor(found["hinted"], cv2.COLOR_BGR2LAB)
    assert np.hypot(*(lab[30, 30, 1:] - (20, 30))) < 5
    np.testing.assert_array_equal(found["plain"], found["unmoved"])
    assert found["blue"].mean(axis=(0, 1))[0] > found["plain"].mean(axis=(0, 1))[0] + 0.01


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--hints", "2,0,ffffff"], "--hints"),
        (["--reference", "gone.png"], "gone.png"),
        (["--reference", "text.png"], "--reference"),
        (["--reference-strength", "2"], "--reference_strength"),
        (["--format", "json"], "--format"),
    ],
)
def test_what_makes_no_sense_is_misuse(tmp_path: Path, options: list[str], named: str) -> None:
    source = picture(tmp_path / "a.png")
    picture(tmp_path / "text.png", b"no picture")
    result = run("colorize", source, *options)
    assert result.exit_code == 2, result.output
    assert named in result.output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PHOTOCHROM_PROT", "80", "did you mean PHOTOCHROM_PORT?"),
        ("PHOTOCHROM_API_KEYS", " , ", "PHOTOCHROM_API_KEYS is set and holds no key"),
    ],
)
def test_serve_does_not_start_with_what_cannot_be_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run("serve", "--port", "0")
    assert result.exit_code == 1
    assert said in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in procfs")
@pytest.mark.parametrize("asked", [None, "2"])
def test_numpys_own_threads_stay_away_unless_they_are_asked_for(asked: str | None) -> None:
    program = """
import os
import service.commands
import numpy as np
np.ones((600, 600)) @ np.ones((600, 600))
print(os.environ["OPENBLAS_NUM_THREADS"], len(os.listdir("/proc/self/task")))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {} if asked is None else {"OPENBLAS_NUM_THREADS": asked}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    number, threads = done.stdout.split()
    assert number == (asked or "1")
    assert int(threads) <= int(number)
