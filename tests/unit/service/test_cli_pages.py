"""`photochrom colorize --pages`: files of several pages."""

import json
from pathlib import Path

import pytest
from PIL import Image

from service.archive import pages
from service.settings import ENV_PREFIX, Settings
from tests.pictures import by_pillow, smooth_gray
from tests.unit.service.test_cli import picture, run


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, model_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    monkeypatch.setenv("PHOTOCHROM_MODEL", str(model_path))
    monkeypatch.setenv("PHOTOCHROM_DEVICE", "cpu")


def test_all_pages_are_colored_each_into_a_file_of_its_own(tmp_path: Path) -> None:
    pages = [Image.fromarray(smooth_gray(20 + page, 25)) for page in range(3)]
    album = by_pillow(pages[0], "TIFF", save_all=True, append_images=pages[1:], dpi=(300, 300))
    sources = [picture(tmp_path / "in/album.tif", album), picture(tmp_path / "in/single.tif")]
    refused = run("colorize", *sources, "--out", tmp_path / "refused")
    assert "album.tif: The file holds 3 pictures" in refused.stderr
    assert "--pages" in refused.stderr
    out = tmp_path / "out"
    result = run("colorize", *sources, "--pages", "--json", "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["album-1.png", "album-2.png", "album-3.png", "single.png"]
    for number in (1, 2, 3):
        with Image.open(out / f"album-{number}.png") as answer:
            assert answer.size == (25, 19 + number)
            assert answer.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("pages") for line in told[:2]] == [3, None]
    assert told[0]["target"].endswith("album-1.png")
    again = run("colorize", *sources, "--pages", "--out", out)
    assert "0 colored, 2 already there" in again.stdout
    (out / "album-3.png").unlink()
    assert "1 colored, 1 already there" in run("colorize", *sources, "--pages", "--out", out).stdout
    assert (out / "album-3.png").exists()


def test_a_file_of_one_page_keeps_its_name(tmp_path: Path) -> None:
    single = by_pillow(smooth_gray(9, 9), "TIFF")
    assert list(pages.split(single, tmp_path / "a.png")) == [(single, tmp_path / "a.png")]
    no_tiff = by_pillow(smooth_gray(9, 9), "PNG")
    assert list(pages.split(no_tiff, tmp_path / "a.png")) == [(no_tiff, tmp_path / "a.png")]
    assert not pages.are_done(tmp_path / "nowhere.tif", tmp_path / "a.png")
