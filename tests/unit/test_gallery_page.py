"""The gallery: whose its pictures are, what the page says of them, and the program that makes it."""

import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from service.engine.session import Session
from tests import onnx_factory

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "images" / "gallery"
PAGE = ROOT / "docs" / "gallery.md"
MOST_BYTES = 2_500_000


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_gallery", ROOT / "tools" / "site" / "make_gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    del sys.modules[spec.name]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Two pictures of the gallery, one of each kind."""
    lines = (GALLERY / "sources.csv").read_text().splitlines()
    folder = tmp_path / "pictures"
    for name in ("color/chelsea.jpg", "old/1870ssphinx.jpg"):
        (folder / name).parent.mkdir(parents=True)
        shutil.copy(GALLERY / name, folder / name)
    kept = [line for line in lines[1:] if line.startswith(("chelsea", "1870ssphinx"))]
    (folder / "sources.csv").write_text("\n".join([lines[0], *kept]) + "\n")
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_factory.write_model(tmp_path / "model.onnx")


def test_every_picture_has_an_owner_and_terms(maker: ModuleType) -> None:
    sources = maker.read_sources(GALLERY)
    assert sum(source.kind == "color" for source in sources) == 12
    assert sum(source.kind == "old" for source in sources) == 8
    for source in sources:
        assert re.search(r"CC0|CC BY|public domain", source.license), source.file
        assert source.author, source.file
        assert source.title, source.file
        assert source.origin, source.file
    listed = {f"{source.kind}/{source.file}" for source in sources}
    assert listed == {f"{kind}/{path.name}" for kind in maker.KINDS for path in (GALLERY / kind).iterdir()}


def test_the_page_shows_and_credits_every_picture(maker: ModuleType) -> None:
    page = PAGE.read_text()
    for source in maker.read_sources(GALLERY):
        assert f"images/gallery/{maker.strip_name(source)})" in page
        assert f"{source.author}; {source.license}. {source.origin}" in page
    for link in re.findall(r"\((images/[^)]+)\)", page):
        assert (PAGE.parent / link).is_file(), link
    assert page.count(maker.REMARKS) == 1


def test_the_gallery_is_small() -> None:
    assert sum(path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()) < MOST_BYTES


def test_historical_originals_are_gray() -> None:
    for path in (GALLERY / "old").iterdir():
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 2, path.name


def test_one_command_makes_strips_and_page_and_keeps_what_is_written_by_hand(
    maker: ModuleType, copy: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "gallery.md"
    page.write_text(f"old words\n{maker.REMARKS}\nlooked at by hand\n")
    command = ["--model", str(model), "--gallery", str(copy), "--page", str(page)]
    assert maker.main(command) == 0
    first = page.read_text()
    assert maker.main(command) == 0
    assert page.read_text() == first
    assert "old words" not in first
    assert first.endswith(f"{maker.REMARKS}\nlooked at by hand\n")
    assert "(pictures/color-chelsea.jpg)" in first
    assert "Stefan van der Walt; CC0." in first
    assert "1 color photographs" in capsys.readouterr().out
    color, old = (cv2.imread(str(copy / f"{name}.jpg")) for name in ("color-chelsea", "old-1870ssphinx"))
    height, width = maker.TILE_HEIGHT_PX, round(451 * maker.TILE_HEIGHT_PX / 300)
    assert color.shape[:2] == (height, 3 * width + 2 * maker.GAP_PX)
    # Gray first, the truth last.
    assert np.ptp(color[:, : width - 8].astype(int), axis=-1).mean() < 1
    truth = cv2.resize(cv2.imread(str(copy / "color" / "chelsea.jpg")), (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(color[:, -width:].astype(int) - truth).mean() < 4
    assert old.shape[0] == height


def test_scores_on_the_page_are_those_of_the_pictures(maker: ModuleType, model: Path) -> None:
    session = Session(model, device="cpu")
    truth = maker.read_picture(GALLERY / "color" / "chelsea.jpg")
    picture = maker.show(truth, session, has_truth=True)
    assert picture.psnr_gray == pytest.approx(
        10 * np.log10(255**2 / np.square(picture.tiles["gray"].astype(float) - truth).mean())
    )
    assert (picture.tiles["ours"] != picture.tiles["gray"]).any()
    better = maker.Shown({}, psnr=22.0, psnr_gray=20.0)
    worse = maker.Shown({}, psnr=19.0, psnr_gray=20.0)
    sources = maker.read_sources(GALLERY)[:2]
    said = maker.summary(dict(zip(sources, (better, worse), strict=True)))
    assert "20.5 dB on average against 20.0 dB for gray; 1 of them score below gray" in said


def test_sheets_show_every_picture_of_a_folder(maker: ModuleType, copy: Path, model: Path, tmp_path: Path) -> None:
    for place in range(6):
        shutil.copy(copy / "old" / "1870ssphinx.jpg", copy / "old" / f"{place}.jpg")
    out = tmp_path / "sheets"
    assert maker.main(["--model", str(model), "--sheets", str(copy / "old"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["sheet-00.png", "sheet-01.png"]
    full, rest = (cv2.imread(str(out / f"sheet-0{number}.png")) for number in range(2))
    assert full.shape[0] == 3 * rest.shape[0] == 3 * (maker.SHEET_HEIGHT_PX + maker.GAP_PX)
    assert full.shape[1] > 1.9 * rest.shape[1]


def test_what_cannot_be_made_is_said(maker: ModuleType, copy: Path, model: Path, tmp_path: Path) -> None:
    assert maker.main(["--model", str(tmp_path / "none.onnx")]) == 1
    assert maker.main(["--model", str(model), "--sheets", str(tmp_path / "nowhere")]) == 1
    (copy / "color" / "chelsea.jpg").write_bytes(b"no picture")
    assert maker.main(["--model", str(model), "--gallery", str(copy), "--page", str(tmp_path / "page.md")]) == 1
    assert not (tmp_path / "page.md").exists()
