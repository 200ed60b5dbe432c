"""The page in a real Chromium, against the real service: what its tests share."""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests import onnx_factory
from tests.e2e.server import ROOT, Server
from tests.pictures import by_pillow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next(filter(None, map(shutil.which, BROWSERS)), None)

DATA = ROOT / "tests" / "data"
COFFEE, CHELSEA = DATA / "coffee.jpg", DATA / "chelsea.png"
INFERENCES = "photochrom_batch_size_count"
KEY = "a-key-for-the-page-42"
MAX_UPLOAD_BYTES = 3_000_000
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

Opener = Callable[..., Page]


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(model_path, tmp_path_factory.mktemp("log") / "log", max_upload_bytes=MAX_UPLOAD_BYTES)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def strict_server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that wants an API key and keeps no pictures."""
    running = Server(model_path, tmp_path_factory.mktemp("log") / "log", kept_bytes=0, api_keys=KEY)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def small_server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that has room to keep small pictures only."""
    running = Server(model_path, tmp_path_factory.mktemp("log") / "log", kept_bytes=700_000)
    yield running
    running.stop()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A Chromium that is closed at the end."""
    # Chromium's own sandbox refuses to work for root, and a container's /dev/shm is often small.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=EXECUTABLE, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


class Tabs:
    """Tabs of a browser that tests use one after the other: a new one costs as much as all that a test does in it."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, Page] = {}
        self._taken: list[tuple[str, Page, list[tuple[Any, Any]]]] = []

    def take(self, address: str, options: dict[str, Any]) -> Page:
        """Return an empty tab in a context with these options, which knows nothing of an address."""
        key = repr(sorted(options.items()))
        page = self._free.pop(key, None) or self._browser.new_context(**options).new_page()
        developer = page.context.new_cdp_session(page)
        developer.send("Storage.clearDataForOrigin", {"origin": address, "storageTypes": "all"})
        developer.detach()
        heard: list[tuple[Any, Any]] = []
        listen = type(page).on.__get__(page)
        page.on = lambda event, f: (heard.append((event, f)), listen(event, f))[1]  # type: ignore[method-assign]
        self._taken.append((key, page, heard))
        return page

    def give_back(self) -> None:
        """Empty what was taken: nobody listens, nothing is held back, and no page is there any more."""
        while self._taken:
            key, page, heard = self._taken.pop()
            if page.is_closed() or key in self._free:
                page.context.close()
                continue
            for other in page.context.pages:
                if other is not page:
                    other.close()
            for event, listener in heard:
                page.remove_listener(event, listener)
            page.unroute_all()
            page.context.set_offline(False)
            page.context.clear_cookies()
            page.evaluate("sessionStorage.clear()")
            page.goto("about:blank")
            self._free[key] = page


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> Tabs:
    return Tabs(browser)


@pytest.fixture
def open_page(tabs: Tabs, server: Server) -> Iterator[Opener]:
    """Open the page; at the end of the test no script failed, nothing broke the policy, and nobody else was asked."""
    wrong: list[str] = []
    asked: set[str] = set()

    def open_one(*, viewport: dict[str, int] | None = None, to: Server = server, **options: Any) -> Page:
        address = f"http://127.0.0.1:{to.port}"
        page = tabs.take(address, {"viewport": viewport or DESKTOP, **options})
        page.set_default_timeout(PATIENCE_MS)
        # A refused photograph is logged by the browser, too; that is what several tests are about.
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and "status of" not in m.text else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.add(re.sub(r"^((blob:)?https?://[^/]+).*", r"\1", request.url)))
        page.goto(f"{address}/")
        ours.update({address, f"blob:{address}"})
        return page

    ours: set[str] = set()
    yield open_one
    tabs.give_back()
    assert not [text for text in wrong if "ERR_INTERNET_DISCONNECTED" not in text]
    assert asked <= ours


def settle(page: Page) -> str:
    """Wait until the picture on the screen is the one that was asked for last; return what names it."""
    page.wait_for_function(
        """() => document.querySelector("#after").dataset.shown
            && document.querySelector("#stage").getAttribute("aria-busy") === "false" """
    )
    return page.eval_on_selector("#after", "image => image.dataset.shown")


def wait_for_change(page: Page, before: str) -> None:
    page.wait_for_function(
        'before => (document.querySelector("#after").dataset.shown ?? before) !== before', arg=before
    )
    settle(page)


def wait_for_versions(page: Page) -> None:
    page.wait_for_function('() => document.querySelector("#variants").dataset.shown')


def put_in(page: Page, *files: Path | dict[str, Any]) -> str:
    """Give the page files as its button does; return what names the picture that is shown then."""
    choose(page, *files)
    return settle(page)


def choose(page: Page, *files: Path | dict[str, Any]) -> None:
    payloads = [file if isinstance(file, dict) else as_file(file.name, file.read_bytes()) for file in files]
    page.set_input_files("#files", payloads)  # type: ignore[arg-type]


def hand_over(page: Page, kind: str, *files: Path) -> None:
    """Drop or paste files."""
    page.evaluate(
        """([kind, files]) => {
            const transfer = new DataTransfer();
            for (const { name, data } of files) {
                const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const options = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(kind === "paste"
                ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
                : new DragEvent(kind, { ...options, dataTransfer: transfer }));
        }""",
        [kind, [{"name": file.name, "data": base64.b64encode(file.read_bytes()).decode()} for file in files]],
    )


class Held:
    """Requests of one kind that wait until the test lets them go; in the order in which they came."""

    def __init__(self, page: Page, url: str | re.Pattern[str], method: str = "POST") -> None:
        self._page, self._method = page, method
        self.routes: list[Route] = []
        page.route(url, self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.method == self._method:
            self.routes.append(route)
        else:
            route.fallback()

    def wait_for(self, count: int) -> Route:
        """Return the last of so many."""
        until(self._page, lambda: len(self.routes) >= count)
        return self.routes[count - 1]


def until(page: Page, is_so: Callable[[], bool]) -> None:
    """Wait for what the page's requests bring about here."""
    for _ in range(PATIENCE_MS // 10):
        if is_so():
            return
        page.wait_for_timeout(10)  # Playwright hands requests over only while it is asked for something.
    raise AssertionError("it never came so far")


def let_requests_come(page: Page) -> None:
    """Ask for something, and get it: whatever the page had asked for before has been heard of by then."""
    page.evaluate("fetch('page/icon.svg').then(() => null)")


def refuse(route: Route, status: int, kind: str, **headers: str) -> None:
    facts = {"type": f"urn:photochrom:problem:{kind}", "title": kind, "status": status, "detail": kind}
    headers = {"Content-Type": "application/problem+json", **headers}
    route.fulfill(status=status, headers=headers, body=json.dumps(facts))


def refuse_to_keep(route: Route) -> None:
    refuse(route, 413, "too-large-to-keep")


def shown_pixels(page: Page) -> np.ndarray:
    """Return the color layer as it is now, RGB."""
    url = page.evaluate(
        """() => {
            const image = document.querySelector("#after");
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext("2d").drawImage(image, 0, 0);
            return canvas.toDataURL();
        }"""
    )
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def click_at(page: Page, x: float, y: float) -> None:
    """Click on a place of the picture in color, shares of its width and height."""
    picture = page.locator("#after").bounding_box()
    assert picture
    page.mouse.click(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"])


def offer_colors(page: Page, *colors: str) -> None:
    """Have these be the colors that are plausible anywhere."""
    told = [{"color": color, "share": 1 / (place + 2)} for place, color in enumerate(colors)]
    page.route("**/pictures/*/colors?*", lambda route: route.fulfill(json={"colors": told}))


def wait_until_kept(page: Page) -> None:
    """Wait until the page would go without asking."""
    page.wait_for_function('() => dispatchEvent(new Event("beforeunload", { cancelable: true }))')


def fill_range(page: Page, selector: str, value: float) -> None:
    page.eval_on_selector(
        selector,
        """(field, value) => { field.value = value; field.dispatchEvent(new Event("input", { bubbles: true })); }""",
        value,
    )


def as_file(name: str, data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": media_type, "buffer": data}


def noisy(name: str, seed: int = 1, *, side: int = 1000) -> dict[str, Any]:
    """A photograph that `small_server` has no room to keep; of those with a side of 600 px it can keep one."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
    return as_file(name, by_pillow(noise, "PNG"))


def color_of(page: Page, selector: str, name: str = "backgroundColor") -> tuple[int, ...]:
    text = page.eval_on_selector(selector, "(element, name) => getComputedStyle(element)[name]", name)
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
