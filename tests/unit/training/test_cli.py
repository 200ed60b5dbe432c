import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.pictures import write_folder
from training import catalog, cli
from training.recipes import load_recipe, recipe_names

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[3]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["photochrom-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["list", "recipes"])
def test_recipes_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
    entries = (catalog.Entry("tiny", "a small U-Net", 1234567, 0.25, "", ""),)
    monkeypatch.setattr(catalog, "catalog", lambda: entries)
    assert run(monkeypatch, command) == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line] == ["recipe", "tiny"]
    assert run(monkeypatch, command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tiny"]["parameters"] == 1234567


def test_an_unknown_recipe_is_one_line_and_status_1(tmp_path: Path) -> None:
    """In a process of its own, and without waiting for a framework to load."""
    command = [sys.executable, "-X", "importtime", "-m", "training.cli", "run", "nothing", "--data", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = [line for line in result.stderr.splitlines() if not line.startswith("import time:")]
    assert result.returncode == 1
    assert told == [f"RecipeError: no recipe 'nothing'; there are: {', '.join(recipe_names())}"]
    assert "keras" not in result.stderr


def test_a_missing_folder_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """However long the path is and whatever brackets it has."""
    missing = tmp_path / ("very-long-name-" * 12) / "[bold]"
    assert run(monkeypatch, "run", "tiny", "--data", str(missing), "--run", str(tmp_path / "run")) == 1
    assert capsys.readouterr().err.splitlines() == [f"DataError: no such folder: {missing}"]


def test_a_run_folder_of_another_recipe_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, folder = str(write_folder(tmp_path / "data", 2)), tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text(load_recipe("tiny").to_json())
    assert run(monkeypatch, "run", "tiny", "--data", data, "--run", str(folder), "--epochs", "5") == 1
    assert capsys.readouterr().err.splitlines() == [
        f"RecipeError: {folder} holds a run of another recipe: use another --run folder"
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "tiny"],
        ["run", "tiny", "--data", "x", "--minutes", "0"],
        ["run", "tiny", "--data", "x", "--epochs", "0"],
        ["run", "tiny", "--data", "x", "--workers", "0"],
        ["nonsense"],
    ],
)
def test_a_wrong_command_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert "Usage" in capsys.readouterr().err


ROW: dict[str, Any] = {
    **{"epoch": 3, "images": 96, "minutes": 1.5, "kl": 1.2345, "kl_prior": 1.9, "top1": 0.31, "top1_majority": 0.3},
    **{"within20": 0.8, "within20_gray": 0.7, "rmse_mean": 11.5, "rmse_regression": 11.6, "rmse_argmax": 12.7},
    **{"rmse_gray": 14.3, "scene_top1": None},
}


def test_scores_are_shown_beside_the_rows_that_learn_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cli.TrainingDisplay().scores(ROW)
    shown = capsys.readouterr().err
    for expected in ("epoch 3: 96 images, 1.5 min", "1.234", "majority", "1.900", "do nothing", "14.30", "unknown"):
        assert expected in shown


def test_scores_of_a_validation_without_color_are_shown_as_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {name: None for name in ROW}
    cli.TrainingDisplay().scores(ROW | nothing | {"epoch": 1, "images": 4, "minutes": 0.1})
    assert capsys.readouterr().err.count("unknown") >= 9


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    class Progress:
        """What `training.run.train.Progress` has, without loading a framework."""

        step, steps, epoch, images_per_s, left_s = 0, 200, 1, 31.4, 125.0
        losses = {"ab_logits_loss": 3.21, "loss": 4.0}  # noqa: RUF012

    display, progress = cli.TrainingDisplay(), Progress()
    assert display.plain
    for progress.step in range(1, 101):
        display.step(progress)
    assert capsys.readouterr().err.splitlines() == [
        f"epoch 1 step {step}/200 31.4 images/s ab_logits 3.210 loss 4.000 2:05 left" for step in (50, 100)
    ]


def test_the_framework_is_loaded_without_its_talk() -> None:
    """In a process of its own: what it says, it says once, from C++, before anybody can ask it not to."""
    code = "from training.cli import load_framework; load_framework(); import sys; print('keras' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_what_is_said_while_loading_fails_is_said_after_all(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(name: str) -> None:
        os.write(2, b"the library says why\n")
        raise ImportError(name)

    monkeypatch.setattr(cli.importlib, "import_module", fail)
    with pytest.raises(ImportError, match="keras"):
        cli.load_framework()
    assert capfd.readouterr().err == "the library says why\n"


def test_a_run_that_was_too_short_ends_with_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = str(write_folder(tmp_path / "data", 4))
    arguments = ("--set", "steps=200", "--set", "evaluate_every=200", "--minutes", "0.01", "--no-tensorboard")
    monkeypatch.setattr(
        sys, "argv", ["photochrom-train", "run", "tiny", "--data", data, "--run", str(tmp_path / "run"), *arguments]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    told = capsys.readouterr().err
    assert re.search(r"NOTE: Only \d+ steps? of 200 fit into 0\.01 min", told)
    assert "NOTE: " in told.splitlines()[-2]
