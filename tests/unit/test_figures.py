"""The figures of docs/how-it-works.md: drawn by one command, each of them shown, small enough to be committed."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from service.engine.session import Session
from tests import onnx_factory

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "images" / "how"
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_figures", ROOT / "tools" / "site" / "make_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before
    del sys.modules[spec.name]


def test_every_figure_is_drawn_with_any_model(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "DPI", 50)
    session = Session(onnx_factory.write_model(tmp_path / "tiny.onnx"), device="cpu")
    made = maker.make_figures(session, tmp_path / "figures")
    assert [path.stem for path in made] == [draw.__name__ for draw in maker.FIGURES]
    for path in made:
        with Image.open(path) as picture:
            assert picture.format == "WEBP"
            assert min(picture.size) > 100
            assert np.asarray(picture.convert("L")).std() > 5, f"{path.name} is blank"


def test_one_figure_can_be_drawn_alone(maker: ModuleType, tmp_path: Path) -> None:
    model = onnx_factory.write_model(tmp_path / "tiny.onnx")
    assert maker.main(["--model", str(model), "--out", str(tmp_path / "out"), "front"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["front.webp"]


def test_a_missing_model_is_said_in_one_line(
    maker: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maker.main(["--model", str(tmp_path / "none.onnx"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_pages_show_every_figure_and_all_are_small(maker: ModuleType) -> None:
    text = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("how-it-works.md", "index.md"))
    shown = set(re.findall(r"images/how/(\w+)\.webp", text))
    assert shown == {draw.__name__ for draw in maker.FIGURES} == {path.stem for path in FIGURES.iterdir()}
    for path in FIGURES.iterdir():
        assert path.stat().st_size < MOST_BYTES, path.name
