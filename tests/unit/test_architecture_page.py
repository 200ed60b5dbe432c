"""The page on architecture: its map is what the code says, and where it sends people there is a file."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_map", ROOT / "tools" / "site" / "make_map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_map_is_made_of_the_code(maker: ModuleType) -> None:
    shown = PAGE.partition(maker.START)[2].partition(maker.END)[0]
    assert shown.strip() == maker.render().strip(), "python tools/site/make_map.py"


def test_every_room_says_what_it_is_for_and_stands_on_the_map(maker: ModuleType) -> None:
    found = [room for package in maker.PACKAGES for room in maker.rooms(package)]
    assert len(found) > 12
    assert all(what for _, what, _ in found)
    assert all(f"`{path}/`" in PAGE for path, _, _ in found)


def test_a_newcomer_finds_ten_places() -> None:
    table = PAGE.partition("## Where do I add ...?")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| a")]
    assert len(rows) == 10
    for row in rows:
        named = re.findall(r"`([\w/.]+)`", row)
        assert named, row
        assert [name for name in named if not (ROOT / name).is_file()] == [], row
