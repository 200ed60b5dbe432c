"""service.cli: files in, files out, honest exit codes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from service import session as session_module
from service.cli import app, plan_outputs
from service.settings import ENV_PREFIX, Settings
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray

GRAY = by_pillow(smooth_gray(30, 40), "PNG")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    monkeypatch.setenv("PHOTOCHROM_MODEL", str(model_path))
    monkeypatch.setenv("PHOTOCHROM_DEVICE", "cpu")
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1000000000")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


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
    picture(tmp_path / "in/notes.txt", b"no picture, and not taken for one")
    result = run("colorize", tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 colored, 0 already there, 1 failed" in result.output
    assert "broken.jpg: The header of the picture cannot be read." in result.stderr
    assert "notes.txt" not in result.output
    assert (tmp_path / "out/a.png").exists()
    assert (tmp_path / "out/deep/er/b.png").exists()


def test_missing_and_unreadable_files_do_not_stop_the_others(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png")
    result = run("colorize", tmp_path / "gone.png", good, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "gone.png: No such file" in result.stderr
    assert (tmp_path / "out/good.png").exists()


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


def test_alpha_of_a_deep_picture_fits_a_shallow_answer(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", by_opencv(levels(20, 25, 4, dtype=np.uint16), ".png"))
    assert run("colorize", source, "--out", "out", "--format", "webp").exit_code == 0
    assert cv2.imread(str(tmp_path / "out/a.webp"), cv2.IMREAD_UNCHANGED).shape == (20, 25, 4)


@pytest.mark.parametrize(
    ("option", "value"), [("mode", "x"), ("vividness", "3"), ("format", "gif"), ("size", "7"), ("enlargement", "x")]
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


def test_the_doctor_shows_what_holds(monkeypatch: pytest.MonkeyPatch, model_path: Path) -> None:
    monkeypatch.setenv("PHOTOCHROM_MAX_MEGAPIXELS", "7.5")
    result = run("doctor")
    assert result.exit_code == 0, result.output
    for word in ("onnxruntime", "tiny-0001", "CPUExecutionProvider", "PHOTOCHROM_MAX_MEGAPIXELS", "7.5", "CC0-1.0"):
        assert word in result.output
    assert str(model_path) in result.output


def test_the_doctor_names_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CUDA_LIBRARIES", ("libnever.so.0",))
    assert "libnever.so.0" in run("doctor").output


def test_names_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    sources = [picture(tmp_path / name) for name in ("a.jpg", "a.tif", "b.png")]
    assert plan_outputs(sources, out, suffix=".png") == {
        sources[0]: out / "a.jpg.png",
        sources[1]: out / "a.tif.png",
        sources[2]: out / "b.png",
    }


def test_answers_are_never_taken_as_questions(tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png")
    out = tmp_path / "colorized"
    picture(out / "a.png")
    assert plan_outputs([tmp_path], out, suffix=".png") == {source: out / "a.png"}


def test_dots_in_names_survive(tmp_path: Path) -> None:
    source = picture(tmp_path / "1911.07.04 picnic.png")
    assert plan_outputs([source], tmp_path / "o", suffix=".webp") == {source: tmp_path / "o/1911.07.04 picnic.webp"}
