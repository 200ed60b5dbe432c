"""The API's own page in a real Chromium: Swagger UI under our policy, from our files, colors a photograph."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests import onnx_factory
from tests.e2e.page_driver import EXECUTABLE
from tests.e2e.server import PATIENCE_S, Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium is installed (see `make browser`)"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("docs")
    running = Server(onnx_factory.write_model(folder / "tiny.onnx"), folder / "log")
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The page; at the end nothing broke the policy, no script failed, and nobody else was asked."""
    wrong: list[str] = []
    asked: set[str] = set()
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(1000 * PATIENCE_S)
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.add(request.url))
    opened.goto(f"http://127.0.0.1:{server.port}/docs")
    yield opened
    context.close()
    assert not wrong
    assert {url for url in asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:", "blob:"))} == set()


def test_it_shows_every_operation(page: Page, server: Server) -> None:
    described = server.client.get("/openapi.json").json()["paths"]
    operations = page.locator(".opblock")
    expect(operations).to_have_count(sum(len(methods) for methods in described.values()))
    expect(page.locator("#operations-pictures-colorize")).to_be_visible()


def test_a_photograph_is_colored_from_it(page: Page, tmp_path: Path) -> None:
    photograph = tmp_path / "gray.png"
    photograph.write_bytes(by_pillow(smooth_gray(48, 64), "PNG"))
    block = page.locator("#operations-pictures-colorize")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_label("Request content type").select_option("image/png")
    block.locator("input[type=file]").set_input_files(photograph)
    with page.expect_response("**/colorize*") as answered:
        block.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200
    assert answered.value.headers["content-type"] == "image/png"
    picture = block.locator(".live-responses-table img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])") == [64, 48]


def test_ours_of_it_is_accessible(page: Page) -> None:
    expect(page.locator("#operations-pictures-colorize")).to_be_visible()
    found = Axe().run(
        page, options={"runOnly": ["document-title", "html-has-lang", "meta-viewport", "landmark-one-main"]}
    )
    assert found.violations_count == 0, found.generate_report()
