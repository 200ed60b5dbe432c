"""The page over a reload, and what it writes down for the command line, in a real Chromium."""

import base64
import hashlib
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.e2e.page_driver import (
    BROWSERS,
    CHELSEA,
    COFFEE,
    EXECUTABLE,
    Opener,
    as_file,
    choose,
    fill_range,
    put_in,
    settle,
    shown_pixels,
    wait_for_change,
    wait_until_kept,
)
from tests.e2e.server import Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(BROWSERS)} is installed (see `make browser`)"),
]

BLUE = by_pillow(np.full((40, 60, 3), (30, 60, 200), np.uint8), "PNG")


def small(number: int) -> dict[str, Any]:
    return as_file(f"{number}.png", by_pillow(smooth_gray(40, 60 + number), "PNG"))


def test_photographs_and_decisions_survive_a_reload(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE, *(small(number) for number in range(44)))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (45)")
    page.locator("#strip .shot").nth(7).click()
    key = settle(page)
    fill_range(page, "#vividness", 0.8)
    page.click("#hint-box > summary")
    page.click("#hint-middle")
    page.get_by_role("button", name="Brick").click()
    page.click("#swatches-done")
    page.set_input_files("#reference-file", [as_file("blue.png", BLUE)])  # type: ignore[arg-type]
    expect(page.locator("#reference-shown")).to_be_visible(visible=False)
    expect(page.locator("#reference-count")).to_have_text("(1)")
    wait_for_change(page, key)
    settle(page)
    before = shown_pixels(page)
    wait_until_kept(page)
    page.reload()
    expect(page.locator("#toast-text")).to_contain_text("45 photographs are back")
    settle(page)
    expect(page.locator("#place")).to_have_text("8 of 45")
    expect(page.locator("#name")).to_have_text("6.png")
    expect(page.locator("#vividness-shown")).to_have_text("0.80")
    expect(page.locator("#marks button")).to_have_count(1)
    expect(page.locator("#reference-count")).to_have_text("(1)")
    assert np.abs(shown_pixels(page).astype(int) - before).max() == 0
    expect(page.locator("#save-all")).to_have_text("All as ZIP (45)")


def test_earlier_looks_survive_reloads(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE, small(1))
    for name in ("Vivid", "Calm"):
        page.get_by_role("button", name=name, exact=True).click()
        wait_for_change(page, key)
        key = settle(page)
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#name")).to_have_text("1.png")
    settle(page)
    page.locator("#strip .shot").nth(0).click()
    expect(page.locator("#name")).to_have_text("coffee.jpg")
    settle(page)
    looks = page.locator("#earlier button")
    for reload in range(2):
        wait_until_kept(page)
        page.reload()
        settle(page)
        page.locator("#earlier-box > summary").click()
        # What made the look of now is remembered, too; pictures of what nobody saw since are asked for.
        expect(looks).to_have_text(["Vivid", "As it came"] if reload == 0 else ["Calm", "As it came"])
        expect(page.locator("#earlier canvas")).to_have_count(2)
        if reload == 0:
            key = settle(page)
            looks.first.click()
            expect(page.locator("#vividness-shown")).to_have_text("0.85")
            expect(looks).to_have_text(["Calm", "As it came"])
            wait_for_change(page, key)
    looks.first.click()
    expect(page.locator("#vividness-shown")).to_have_text("0.20")
    expect(looks).to_have_text(["Vivid", "As it came"])
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#earlier-box")).to_be_hidden()


def test_earlier_looks_give_way_where_there_is_no_room(open_page: Opener) -> None:
    page = open_page()
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 4e8 })")
    put_in(page, small(1), small(2))
    page.set_input_files("#reference-file", [as_file("blue.png", BLUE)])  # type: ignore[arg-type]
    expect(page.locator("#unkept")).to_be_visible()
    page.click("#reference-box > summary")
    page.click("#reference-drop")
    page.get_by_role("button", name="Vivid", exact=True).click()
    expect(page.locator("#earlier-count")).to_have_text("(3)")
    wait_until_kept(page)
    page.reload()
    settle(page)
    expect(page.locator("#earlier-count")).to_have_text("(2)")
    expect(page.locator("#strip li")).to_have_count(2)


def test_remove_all_clears_the_browser_too_and_can_be_undone(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE, CHELSEA)
    wait_until_kept(page)
    page.click("#clear")
    expect(page.locator("#welcome")).to_be_visible()
    page.click("#toast-undo")
    expect(page.locator("#strip li")).to_have_count(2)
    page.click("#clear")
    expect(page.locator("#welcome")).to_be_visible()
    page.wait_for_function(
        """async () => {
            const { result } = await new Promise((resolve) => {
                const request = indexedDB.open("photochrom");
                request.onsuccess = () => resolve(request);
            });
            const count = (name) => new Promise((resolve) => {
                const request = result.transaction(name).objectStore(name).count();
                request.onsuccess = () => resolve(request.result);
            });
            const total = (await count("files")) + (await count("sessions"));
            result.close();
            return total === 0;
        }"""
    )
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#toast-text")).to_have_text("")


def test_a_tab_takes_over_what_another_left_but_not_what_one_has(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    wait_until_kept(page)
    second = page.context.new_page()
    second.goto(page.url)
    choose(second, CHELSEA)
    settle(second)
    expect(second.locator("#strip li")).to_have_count(1)
    wait_until_kept(second)
    page.close()
    third = second.context.new_page()
    third.goto(second.url)
    expect(third.locator("#name")).to_have_text("coffee.jpg")
    settle(third)
    second.reload()
    expect(second.locator("#name")).to_have_text("chelsea.png")


def test_it_asks_before_something_is_lost(open_page: Opener) -> None:
    page = open_page()
    page.evaluate("() => { IDBObjectStore.prototype.put = () => { throw new Error('no room'); }; }")
    put_in(page, COFFEE)
    assert page.evaluate('() => dispatchEvent(new Event("beforeunload", { cancelable: true }))') is False
    page.get_by_role("button", name="Remove coffee.jpg").click()
    expect(page.locator("#welcome")).to_be_visible()
    wait_until_kept(page)


def test_there_is_a_limit_to_what_a_browser_keeps(open_page: Opener) -> None:
    page = open_page()
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 4e8 })")
    put_in(page, small(1), small(2), small(3))
    expect(page.locator("#unkept")).to_contain_text("keeps 2 of 3 photographs over a reload")
    page.reload()
    expect(page.locator("#toast-text")).to_contain_text("2 photographs are back")


def test_decisions_are_written_down_for_the_command_line(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, COFFEE, CHELSEA, as_file("notes.txt", b"no photograph", "text/plain"))
    expect(page.locator("#strip .failed")).to_have_count(1)
    fill_range(page, "#vividness", 0.8)
    page.click("#finer > summary")
    page.select_option("#size", "128")
    page.uncheck("#tone")
    wait_for_change(page, key)
    page.click("#hint-box > summary")
    page.click("#hint-middle")
    page.get_by_role("button", name="Brick").click()
    page.click("#swatches-done")
    page.set_input_files("#reference-file", [as_file("blue.png", BLUE)])  # type: ignore[arg-type]
    expect(page.locator("#reference-count")).to_have_text("(1)")
    with page.expect_download() as waiting:
        page.click("#save-looks")
    assert waiting.value.suggested_filename == "looks.json"
    looks = json.loads(waiting.value.path().read_text())
    model = server.client.get("/model").json()
    coffee, chelsea, blue = (
        hashlib.sha256(data).hexdigest() for data in (COFFEE.read_bytes(), CHELSEA.read_bytes(), BLUE)
    )
    assert looks == {
        "photochrom_looks": 1,
        "model": {"digest": model["sha256"], "precision": model["precision"]},
        "pictures": {
            coffee: {
                "name": "coffee.jpg",
                "options": {"vividness": 0.8, "size": 128, "tone": "off", "reference_strength": 0.5},
                "hints": ["0.5000,0.5000,a4553c"],
                "reference": blue,
            },
            chelsea: {"name": "chelsea.png", "options": {"vividness": 0.5}, "hints": [], "reference": None},
        },
        "references": {blue: base64.b64encode(BLUE).decode()},
    }
    # What the service makes of that file's options is what is saved here; what it has kept is rounded.
    with page.expect_download() as waiting:
        page.click("#save")
    options = looks["pictures"][coffee]["options"] | {"hints": ";".join(looks["pictures"][coffee]["hints"])}
    files = {"image": COFFEE.read_bytes(), "reference": BLUE}
    answer = server.client.post("/colorize", params=options, files=files)
    assert answer.status_code == 200
    saved, made = (
        np.asarray(Image.open(source)).astype(int) for source in (waiting.value.path(), BytesIO(answer.content))
    )
    assert np.abs(saved - made).max() <= 1
