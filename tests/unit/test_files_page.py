"""The page on files: its tables are what the code says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text()


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_files", ROOT / "tools" / "site" / "make_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_tables_are_made_of_the_code(maker: ModuleType) -> None:
    assert maker.rewritten(PAGE) == PAGE, "python tools/site/make_files.py"


def test_the_tables_follow_the_code(maker: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker, "FORMATS", maker.FORMATS[:1])
    monkeypatch.setattr(maker, "ROUTES", maker.ROUTES[:1])
    assert "| PNG | every one |" in PAGE
    assert "| PNG | every one |" not in maker.rewritten(PAGE)
