"""The page of old plates: what it shows, what it says, and the program that makes it."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from chroma.lab import rgb_u8_to_lightness
from service.engine.session import Session
from tests import onnx_factory
from tests.unit.training.pictures import scene, write_plates

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "old-plates.md"
MOST_BYTES = 1_500_000
MOST_WORDS = 350


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_old_plates", ROOT / "tools" / "site" / "make_old_plates.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.fixture
def plates(maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenes, of which the page shows one."""
    monkeypatch.setattr(maker, "SCENES", {"scene1": "A disk"})
    return write_plates(tmp_path / "plates", 2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_factory.write_model(tmp_path / "model.onnx")


@pytest.fixture
def page(maker: ModuleType, tmp_path: Path) -> Path:
    path = tmp_path / "docs" / "page.md"
    path.parent.mkdir()
    path.write_text(f"by hand\n{maker.START}\nold\n{maker.END}\nthe end\n")
    return path


def make(maker: ModuleType, plates: Path, page: Path, *more: str | Path) -> int:
    pictures = page.parent / "images"
    arguments = ["--plates", plates, "--page", page, "--pictures", pictures, *more]
    return int(maker.main([str(argument) for argument in arguments]))


def test_the_page_shows_every_scene_in_few_words_and_bytes(maker: ModuleType) -> None:
    text, pictures = PAGE.read_text(encoding="utf-8"), maker.PICTURES
    assert set(re.findall(r"images/old-plates/(\w+)\.webp", text)) == set(maker.SCENES)
    assert {path.stem for path in pictures.iterdir()} == set(maker.SCENES)
    assert sum(path.stat().st_size for path in pictures.iterdir()) <= MOST_BYTES
    assert (text.count(maker.START), text.count(maker.END)) == (1, 1)
    assert len(text.partition(maker.START)[0].split()) <= MOST_WORDS
    for word in ("Prokudin-Gorskii", "Library\nof Congress", "public domain", "not colorimetry"):
        assert word in text


def test_one_command_makes_pictures_and_figures_and_keeps_what_is_written_by_hand(
    maker: ModuleType, plates: Path, page: Path, model: Path
) -> None:
    (page.parent / "images").mkdir()
    (page.parent / "images" / "former.webp").write_bytes(b"of a scene that is no longer shown")
    assert make(maker, plates, page, "--model", model) == 0
    text = page.read_text()
    assert text.startswith("by hand\n")
    assert text.endswith("\nthe end\n")
    assert "old\n" not in text
    assert "**A disk**\n\n![truth, plates, answers](images/scene1.webp)" in text
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == ["do nothing (gray)", "ours, pan plate", "ours, ortho plate", "ours, blue plate"]
    assert "2 scenes" in text
    assert [path.name for path in (page.parent / "images").iterdir()] == ["scene1.webp"]


def test_the_same_comes_out_again(maker: ModuleType, plates: Path, page: Path, model: Path) -> None:
    made = []
    for _ in range(2):
        assert make(maker, plates, page, "--model", model) == 0
        made.append((page.read_text(), (page.parent / "images" / "scene1.webp").read_bytes()))
    assert made[0] == made[1]


def test_a_former_model_gets_a_row_of_its_own(maker: ModuleType, plates: Path, page: Path, model: Path) -> None:
    heights = []
    for more in ((), ("--before", model)):
        assert make(maker, plates, page, "--model", model, *more) == 0
        heights.append(cv2.imread(str(page.parent / "images" / "scene1.webp")).shape[0])
    tile = round(72 * maker.TILE_WIDTH_PX / 96)
    assert heights == [2 * tile + maker.GAP_PX, 3 * tile + 2 * maker.GAP_PX]
    text = page.read_text()
    figures = {row[1].strip(): row[2:] for row in (line.split("|") for line in text.splitlines()) if len(row) > 2}
    assert figures["ours, blue plate"] == figures["before, blue plate"]
    assert "answers of the former model" in text


def test_truth_and_plates_stand_beside_the_answers(maker: ModuleType, plates: Path, model: Path) -> None:
    read = maker.read_scene(plates / "truth" / "scene1.png")
    sheet = maker.draw_scene(read, {"ours": Session(model, device="cpu")})
    right, down = maker.TILE_WIDTH_PX + maker.GAP_PX, sheet.shape[0] // 2 + maker.GAP_PX
    truth, pan, answer = sheet[down // 2 :, :right], sheet[:down, right:], sheet[down:, right:]
    assert truth[60, 100, 3] == pan[60, 100, 3] == answer[60, 100, 3] == 255
    assert np.ptp(truth[60, 100, :3].astype(int)) > 20
    assert np.ptp(pan[60, 100, :3].astype(int)) <= 2
    assert sheet[0, 0, 3] == sheet[-1, 0, 3] == 0  # nothing above and below the truth
    blue = sheet[60, 3 * right + 100, :3].astype(float)
    at = scene(1)[round(60 * 72 / 174), round(100 * 96 / 232), 2]
    assert abs(blue.mean() - at) < 20


def test_an_answer_that_is_judged_has_the_truths_lightness(maker: ModuleType, plates: Path, model: Path) -> None:
    read, session = maker.read_scene(plates / "truth" / "scene1.png"), Session(model, device="cpu")
    served = maker.color(read["blue"], session)
    judged = maker.color(read["blue"], session, read["truth"])
    assert np.abs(rgb_u8_to_lightness(judged) - rgb_u8_to_lightness(read["truth"])).mean() < 0.5
    assert np.abs(rgb_u8_to_lightness(served) - rgb_u8_to_lightness(read["truth"])).mean() > 2


def test_what_cannot_be_made_is_said_in_one_line(
    maker: ModuleType, plates: Path, page: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = page.read_text()
    assert make(maker, plates, page, "--model", page.parent / "none.onnx") == 1
    assert make(maker, plates / "nowhere", page, "--model", model) == 1
    (plates / "boxes.csv").write_text("name\nscene1\n")
    assert make(maker, plates, page, "--model", model) == 1
    assert page.read_text() == before
    assert not (page.parent / "images").exists()
    page.write_text("no marks")
    assert make(maker, plates, page, "--model", model) == 1
    assert capsys.readouterr().err.count("\n") == 4
