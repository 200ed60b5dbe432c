import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest

from chroma.signature import OUTPUT_NAMES
from export import BackendError, verify
from export.__main__ import choose_tensorflow, main

pytestmark = pytest.mark.training


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process; return its exit status."""
    monkeypatch.setattr(sys, "argv", ["photochrom-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def test_it_prints_differences_size_and_hash(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.onnx"
    assert run_main(monkeypatch, run_folder, "--out", out, "--license", "mine") == 0
    text = capsys.readouterr().out
    assert hashlib.sha256(out.read_bytes()).hexdigest() in text
    assert "34,938" in text
    for name in ("ab_decoded", "ab_logits", "scene_logits", "spread"):
        assert name in text


def test_a_folder_that_is_no_run_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, tmp_path) == 1
    assert "CheckpointError" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_there_are_status_1(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, run_folder, "--out", tmp_path / "m.onnx", "--weights", "other.weights.h5") == 1
    assert "other.weights.h5" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_out_of_tolerance_is_status_3_and_not_written(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify, "tolerances_for", lambda parameters, *_: dict.fromkeys(OUTPUT_NAMES, -1.0 * parameters))
    assert run_main(monkeypatch, run_folder, "--out", tmp_path / "m.onnx") == 3
    assert "not written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_run_is_a_wrong_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_main(monkeypatch) == 2


def test_keras_on_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(BackendError, match="torch"):
        choose_tensorflow()
    assert run_main(monkeypatch, tmp_path) == 1
    assert "BackendError" in capsys.readouterr().err


def test_importing_the_command_imports_no_framework() -> None:
    probe = "import sys, export.__main__; print({'keras', 'tensorflow', 'onnxruntime'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (("--precision", "int8"), "--calibrate PHOTOS"),
        (("--calibrate", "photographs"), "only int8"),
        (("--precision", "float16", "--calibrate", "photographs"), "only int8"),
        (("--precision", "int4"), "int4"),
    ],
)
def test_options_that_do_not_go_together_are_a_wrong_command_line(
    options: tuple[str, ...], advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Told before anything is opened: the run folder is empty."""
    assert run_main(monkeypatch, tmp_path, *options) == 2
    assert advice in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_photographs_that_are_not_there_are_status_1(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", tmp_path / "m.onnx", "--precision", "int8", "--calibrate", tmp_path / "nowhere")
    assert run_main(monkeypatch, run_folder, *options) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
