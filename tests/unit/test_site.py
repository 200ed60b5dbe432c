"""The documentation: the site builds without a warning and loads nothing from elsewhere; the links of README hold."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from service.http.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "audio": "src", "video": "src"}
"""Elements that make a browser fetch something, and where from; `link` is one too, by what it is for."""


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    result = build(ROOT / "mkdocs.yml", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "tools" / "site" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


class Loads(HTMLParser):
    """Collects what a page makes the browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "link" and given.get("rel") not in {"canonical", "prev", "next"}:
            self.found.append(given.get("href") or "")
        elif tag in LOADING and given.get(LOADING[tag]):
            self.found.append(given[LOADING[tag]] or "")


def test_every_page_is_built_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").glob("*.md")))
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found, page
        base = site if page.name == "404.html" else page.parent
        for address in loads.found:
            assert not re.match(r"[a-z]+:|//", address), f"{page.name} loads {address}"
            assert (base / address.lstrip("/").partition("?")[0]).exists(), f"{page.name} loads {address}, not there"


def test_style_sheets_load_nothing_from_elsewhere(site: Path) -> None:
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_lists_are_lists(site: Path) -> None:
    """Without an empty line before it a list becomes part of the paragraph, on the site but not in other renderers."""
    spoiled = [
        f"{page.name}: {hit.group(0)[:80]}"
        for page in site.rglob("*.html")
        for hit in re.finditer(r"<p>[^<]*(?:<(?!/p>)[^>]*>[^<]*)*\n(?:- |1\. )", page.read_text(encoding="utf-8"))
    ]
    assert not spoiled


def test_the_reference_says_every_route_option_and_status(site: Path) -> None:
    page = (site / "http-reference.html").read_text(encoding="utf-8")
    description = create_app(Settings(_env_file=None)).openapi()
    assert json.loads((site / "openapi.json").read_text(encoding="utf-8"))["paths"] == description["paths"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            part = page.partition(f">{method.upper()} {path}<")[2].partition("<h2")[0]
            assert part, f"{method} {path}"
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in part, f"{method} {path}: {parameter['name']}"
            for status in operation["responses"]:
                assert f"<td>{status}</td>" in part, f"{method} {path}: {status}"


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images", "*.md", "__pycache__"))
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md), [there](#nowhere)\n")
    config = re.sub(r"^nav:.*", "", (ROOT / "mkdocs.yml").read_text(), flags=re.DOTALL | re.MULTILINE)
    config = re.sub(r"^hooks:\n(  - .*\n)+", "", config, flags=re.MULTILINE)
    (tmp_path / "mkdocs.yml").write_text(config)
    result = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert result.returncode != 0
    assert "two.md" in result.stderr
    assert "#nowhere" in result.stderr


@pytest.mark.parametrize(
    ("text", "source", "uri", "expected"),
    [
        ("[card](../service/model/MODEL_CARD.md)", "docs/training.md", "training.md", "[card](model-card.md)"),
        ("[t](../../docs/training.md#x)", "service/model/MODEL_CARD.md", "model-card.md", "[t](training.md#x)"),
        ("[t](../training.md)", "docs/decisions/0008-x.md", "decisions/0008-x.md", "[t](../training.md)"),
        ("[c](../../CHANGELOG.md)", "docs/decisions/0008-x.md", "decisions/0008-x.md", "[c](../changelog.md)"),
        ("[code](../chroma/lab.py), [out](https://example.com/a)", "docs/a.md", "a.md", None),
        ("[here](#below)", "docs/a.md", "a.md", None),
    ],
)
def test_links_between_files_become_links_between_pages(
    hooks: ModuleType, text: str, source: str, uri: str, expected: str | None
) -> None:
    assert hooks.relink(text, ROOT / source, uri) == (text if expected is None else expected)


def test_an_item_after_a_second_paragraph_stays_an_item(hooks: ModuleType) -> None:
    assert hooks.loosened("- a\n\n  more\n  of it\n- b\n- c\n") == "- a\n\n  more\n  of it\n\n- b\n- c\n"
    code = "```yaml\na:\n\n  b: 1\n- c\n```\n"
    assert hooks.loosened(code) == code


def test_the_reference_follows_references_and_says_limits(hooks: ModuleType) -> None:
    level = {"type": "integer", "minimum": 1, "maximum": 8, "default": 1}
    description = {
        "components": {"schemas": {"Level": level}},
        "paths": {
            "/a": {
                "get": {
                    "summary": "Get it.",
                    "parameters": [
                        {"name": "level", "in": "query", "schema": {"$ref": "#/components/schemas/Level"}},
                        {
                            "name": "id",
                            "in": "path",
                            "required": True,
                            "description": "a|b",
                            "schema": {"anyOf": [{"enum": ["x", "y"]}, {"type": "null"}]},
                        },
                    ],
                    "responses": {
                        "200": {"description": "Here.", "content": {"application/json": {"example": {"k": 1}}}},
                        "404": {
                            "description": "No.",
                            "content": {"application/problem+json": {"examples": {"gone": {"value": {}}}}},
                        },
                    },
                }
            }
        },
    }
    page = hooks.render_reference(description)
    assert "## GET /a" in page
    assert "| `level` | query | whole number, 1 to 8 | `1` |" in page
    assert "| `id` | path | `x`, `y` | required | a\\|b |" in page
    assert "| 404 | No. `gone` | `application/problem+json` |" in page
    assert '"k": 1' in page


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/README.md"])
def test_files_beside_the_site_link_to_what_exists(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
    broken = []
    for link in links:
        if re.match(r"https?://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (ROOT / name).parent / place if place else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
