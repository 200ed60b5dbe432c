import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from training import RunFolderError
from training.config import Recipe
from training.run.history import append_row
from training.run.plots import POINTS, WIDTH_IN, draw_history
from training.run.run_page import duration, write_page
from training.run.status import Status, read_status, write_status

pytestmark = pytest.mark.training

SCORES = {"kl": 1.5, "kl_prior": 1.9, "top1": 0.3, "top1_majority": 0.31, "rmse_regression": 17.0, "rmse_gray": 21.0}


def folder_of_a_run(folder: Path, state: str = "running", reason: str = "") -> Path:
    (folder / "previews").mkdir(parents=True)
    (folder / "recipe.json").write_text(Recipe(name="mine", batch_size=7).to_json())
    (folder / "photographs.json").write_text(json.dumps({"scenes": ["beach"], "train": 12, "val": 3}))
    (folder / "refused.json").write_text(json.dumps({"<b>.jpg": "not a picture"}))
    for step in (3, 6):
        append_row(folder / "metrics.jsonl", {"step": step, "epoch": 1, **SCORES, "kl": 1.0 + step, "scene_top1": None})
        (folder / "previews" / f"step{step:07d}.png").write_bytes(b"png")
    for step in range(1, 1200):
        append_row(
            folder / "steps.jsonl", {"step": step, "loss": 1 / step, "learning_rate": 1e-3, "images_per_s": 30.0}
        )
    machine = {"processor": "a fast one"}
    status = Status(state, reason, 6, 12, 1, 31.4, 300, 90, "2026-01-01T00:00:00+00:00", 1.5, 1, machine)  # type: ignore[arg-type]
    write_status(folder, status)
    assert read_status(folder) == status
    return folder


def test_the_page_shows_what_the_folder_holds(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path / "my run")
    draw_history(folder)
    page = write_page(folder).read_text()
    for shown in ("my run", "running", "6 of 12", "5 min", "31.4", "4.000", "7.000", "1.900", "a fast one", "beach"):
        assert shown in page, shown
    assert "&lt;b&gt;.jpg" in page
    assert "<b>.jpg" not in page
    assert 'http-equiv="refresh"' in page
    assert '<tr class="changed"><td>batch_size</td>' in page
    assert '<tr class="changed"><td>epochs</td>' not in page
    assert "scene top-1" not in page  # it was never known
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    for file in ("previews/step0000006.png", "plots/scores.svg", "plots/losses.svg", "plots/pace.svg"):
        assert file in page
        assert (folder / file).exists()


@pytest.mark.parametrize(("state", "reason"), [("failed", "NonFiniteLossError: <ab_loss> is nan"), ("finished", "")])
def test_a_run_that_ended_is_not_loaded_again_and_says_why(tmp_path: Path, state: str, reason: str) -> None:
    page = write_page(folder_of_a_run(tmp_path / "run", state, reason)).read_text()
    assert 'http-equiv="refresh"' not in page
    assert f'class="state {state}"' in page
    assert reason.replace("<", "&lt;").replace(">", "&gt;") in page


def test_a_folder_of_an_older_version_has_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(Recipe(name="old").to_json())
    assert draw_history(tmp_path) == []
    page = write_page(tmp_path).read_text()
    assert "No evaluation yet" in page
    assert "not recorded" in page


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path / "run")
    (folder / "refused.json").write_text('{"a": ')
    with pytest.raises(RunFolderError, match=r"refused\.json is broken"):
        write_page(folder)
    (folder / "status.json").write_text("{")
    assert read_status(folder) == Status()


def test_plots_are_svg_with_a_bounded_number_of_points_and_equal_for_equal_rows(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path / "run")
    assert [plot.file for plot in draw_history(folder)] == ["scores.svg", "losses.svg", "pace.svg"]
    path = folder / "plots" / "losses.svg"
    first = path.read_bytes()
    text = "".join(ElementTree.fromstring(first).itertext())
    assert "weighted sum" in text
    assert "segmentation" not in text  # there is no such column
    longest = max(line.count(b"L ") for line in first.split(b"</g>"))
    assert 10 < longest <= POINTS
    draw_history(folder)
    assert path.read_bytes() == first


def test_plots_are_as_wide_as_the_page(tmp_path: Path) -> None:
    """However many panels they have: none leaves half of the page empty."""
    folder = folder_of_a_run(tmp_path / "run")
    widths = set()
    for plot in draw_history(folder):
        picture = ElementTree.fromstring((folder / "plots" / plot.file).read_bytes())
        widths.add(picture.attrib["width"])
    assert widths == {f"{WIDTH_IN * 72:g}pt"}
    assert "figure img, .preview img { width: 100%; }" in write_page(folder).read_text()


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (61, "1 min"), (3599, "59 min"), (11100, "3 h 05 min")])
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
