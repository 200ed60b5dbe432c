"""The page as a workbench, in a real Chromium: seeing, fixing colors, undoing, browsing, saving."""

import io
import re
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.page_driver import (
    BROWSERS,
    CHELSEA,
    COFFEE,
    EXECUTABLE,
    PHONE,
    Opener,
    as_file,
    choose,
    click_at,
    fill_range,
    put_in,
    settle,
    shown_pixels,
    wait_for_change,
    wait_for_versions,
)
from tests.e2e.server import Server
from tests.pictures import by_pillow, smooth_gray

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(BROWSERS)} is installed (see `make browser`)"),
]


def asked_hints(url: str) -> list[tuple[float, float, str]]:
    found = re.search(r"[?&]hints=([^&]+)", url)
    entries = found.group(1).replace("%2C", ",").split("%3B") if found else []
    return [(float(x), float(y), color) for x, y, color in (entry.split(",") for entry in entries)]


# ---------------------------------------------------------------------------------------------------- the first visit


def test_the_first_visit_shows_what_it_does_and_samples_to_try(open_page: Opener) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#first-split").focus()
    page.keyboard.press("Home")
    inset = "image => getComputedStyle(image).clipPath"
    assert page.eval_on_selector("#first-color", inset) == "inset(0px 0px 0px 0%)"
    page.keyboard.press("End")
    assert page.eval_on_selector("#first-color", inset) == "inset(0px 0px 0px 100%)"
    expect(page.locator("figcaption")).to_contain_text("public domain")
    expect(page.locator("#welcome")).to_contain_text("photochrom colorize FOLDER")
    assert not [url for url in asked if url.endswith(".jpg")]
    page.get_by_role("button", name="A soda fountain, 1899").click()
    settle(page)
    expect(page.locator("#name")).to_have_text("soda-fountain.jpg")
    assert [url.rpartition("/")[2] for url in asked if url.endswith(".jpg")] == ["soda-fountain.jpg"]


def test_a_sample_that_does_not_come_is_said(open_page: Opener) -> None:
    page = open_page()
    page.route("**/locomotive.jpg", lambda route: route.fulfill(status=404, body="gone"))
    page.get_by_role("button", name="A locomotive, 1880s").click()
    expect(page.locator("#toast-text")).to_contain_text("The sample did not come")
    expect(page.locator("#toast")).to_have_class("on")
    expect(page.locator("#welcome")).to_be_visible()


def test_the_description_of_the_api_is_a_click_away(open_page: Opener, server: Server) -> None:
    page = open_page()
    addresses = page.eval_on_selector_all("a", "links => links.map((link) => link.getAttribute('href'))")
    assert addresses
    assert {server.client.get(f"/{address}").status_code for address in addresses} == {200}


# ------------------------------------------------------------------------------------------------------------- seeing


def test_the_original_is_shown_as_long_as_a_key_or_button_is_held(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    stage = page.locator("#stage").bounding_box()
    assert stage

    def hidden_right_of_before() -> float:
        clip = page.eval_on_selector("#pane-before", "pane => pane.style.clipPath")
        return float(re.findall(r"[\d.]+", clip)[:2][-1])

    half = hidden_right_of_before()
    page.keyboard.down("o")
    assert hidden_right_of_before() == 0
    expect(page.locator("#tag-after")).to_be_hidden()
    page.keyboard.up("o")
    assert hidden_right_of_before() == half
    page.locator("#hold").hover()
    page.mouse.down()
    assert hidden_right_of_before() == 0
    page.mouse.up()
    assert hidden_right_of_before() == half


def test_before_and_after_stand_side_by_side(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    page.click("#apart")
    expect(page.locator("#split")).to_be_hidden()
    stage, before, after = (page.locator(each).bounding_box() for each in ("#stage", "#before", "#after"))
    assert stage
    assert before
    assert after
    assert before["width"] == after["width"] <= stage["width"] / 2
    assert before["x"] + before["width"] <= stage["x"] + stage["width"] / 2 + 1
    assert after["x"] - before["x"] == pytest.approx(stage["width"] / 2, abs=1)
    page.click("#fix")
    click_at(page, 0.5, 0.5)
    with page.expect_request(lambda request: bool(asked_hints(request.url))) as asked:
        page.locator("#presets button").first.click()
    assert asked_hints(asked.value.url)[0][:2] == (pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    page.click("#fix")
    page.click("#apart")
    expect(page.locator("#split")).to_be_visible()


def test_versions_are_seen_at_a_useful_size(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    wait_for_versions(page)
    second = page.locator("#variants img").nth(1)
    small = second.bounding_box()
    page.click("#larger")
    expect(page.locator("#larger")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.querySelector('#variants button:nth-child(2) img').naturalWidth > 500")
    large = second.bounding_box()
    assert small
    assert large
    assert large["width"] > 2 * small["width"]
    assert large["width"] / large["height"] == pytest.approx(600 / 400, rel=0.05)
    key = settle(page)
    page.get_by_role("button", name="Version 2").click()
    wait_for_change(page, key)
    page.click("#larger")
    assert (second.bounding_box() or {})["width"] == small["width"]


def test_arrows_go_from_one_photograph_to_the_next(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE, CHELSEA)
    expect(page.locator("#place")).to_have_text("1 of 2")
    expect(page.locator("#counts")).to_have_text("2 in color")
    expect(page.locator("#strip .title")).to_have_text(["coffee.jpg", "chelsea.png"])
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#name")).to_have_text("chelsea.png")
    settle(page)
    page.click("#previous")
    expect(page.locator("#place")).to_have_text("1 of 2")
    settle(page)
    # An enlarged one is moved instead.
    page.click("#zoom-in")
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#name")).to_have_text("coffee.jpg")
    page.click("#grid")
    expect(page.locator("#stage")).to_be_hidden()
    assert page.locator(".shot").first.bounding_box()["width"] > 150  # type: ignore[index]
    page.click("#grid")
    expect(page.locator("#stage")).to_be_visible()


def test_failures_are_named_by_what_went_wrong_and_removed_at_once(open_page: Opener) -> None:
    page = open_page()
    cut = as_file("cut.png", CHELSEA.read_bytes()[:9000])
    texts = [as_file(name, b"no photograph at all", "text/plain") for name in ("a.txt", "b.txt")]
    choose(page, as_file("coffee.jpg", COFFEE.read_bytes()), cut, *texts)
    expect(page.locator("#failures summary")).to_have_text("3 could not be colored")
    page.locator("#failures summary").click()
    reasons = page.locator("#failures li")
    expect(reasons).to_have_count(2)
    expect(reasons.nth(0)).to_contain_text("cut.png: The file is damaged")
    expect(reasons.nth(1)).to_contain_text("a.txt, b.txt: This is not a photograph")
    page.click("#failures-away")
    expect(page.locator("#strip li")).to_have_count(1)
    expect(page.locator("#failures")).to_be_hidden()
    page.click("#toast-undo")
    expect(page.locator("#strip li")).to_have_count(4)


# ------------------------------------------------------------------------------------------------------ fixing a color


def test_a_red_place_is_made_blue_in_three_actions(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    plain = shown_pixels(page)
    wait_for_versions(page)
    page.click("#fix")
    click_at(page, 0.25, 0.5)
    expect(page.locator("#spot")).to_be_visible()
    with page.expect_request(lambda request: bool(asked_hints(request.url))) as asked:
        page.get_by_role("button", name="Sky").click()
    ((x, y, color),) = asked_hints(asked.value.url)
    assert (x, y, color) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01), "8fb4d6")
    wait_for_change(page, key)
    fixed = shown_pixels(page).astype(int)
    at = (int(y * plain.shape[0]), int(x * plain.shape[1]))
    assert fixed[at][2] - fixed[at][0] > int(plain[at][2]) - int(plain[at][0])
    # Another color for the same place, as long as its card is open.
    with page.expect_request(lambda request: asked_hints(request.url) == [(x, y, "808080")]):
        page.click("#keep-gray")
    page.keyboard.press("Escape")
    expect(page.locator("#swatches")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#fix")).to_have_attribute("aria-pressed", "false")


def test_points_are_dragged_opened_again_and_erased_by_key(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    page.click("#fix")
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Brick").click()
    page.click("#swatches-done")
    wait_for_change(page, key)
    mark = page.locator("#marks button")
    expect(mark).to_be_focused()
    at, picture = mark.bounding_box(), page.locator("#after").bounding_box()
    assert at
    assert picture
    page.mouse.move(at["x"] + 10, at["y"] + 10)
    page.mouse.down()
    page.mouse.move(at["x"] + 10 + picture["width"] / 2, at["y"] + 10, steps=5)
    page.mouse.up()
    page.locator("#hint-box summary").click()
    expect(page.get_by_label("Point 1, percent across")).to_have_value("75")
    expect(page.locator("#swatches")).to_be_hidden()
    # The whole drag is one step.
    page.click("#undo")
    expect(page.get_by_label("Point 1, percent across")).to_have_value("25")
    page.click("#redo")
    expect(page.get_by_label("Point 1, percent across")).to_have_value("75")
    mark.click()
    expect(page.locator("#swatches")).to_be_visible()
    expect(page.get_by_role("button", name="Brick")).to_have_attribute("aria-pressed", "true")
    page.click("#point-away")
    expect(mark).to_have_count(0)
    page.click("#undo")
    mark.press("Delete")
    expect(page.locator("#hints li")).to_have_count(0)


def test_a_color_is_taken_from_the_picture_or_the_reference(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    blue = np.full((40, 60, 3), (30, 60, 200), np.uint8)
    page.locator("#reference-box summary").click()
    page.set_input_files("#reference-file", [as_file("blue.png", by_pillow(blue, "PNG"))])  # type: ignore[arg-type]
    wait_for_change(page, key)
    page.click("#fix")
    click_at(page, 0.25, 0.5)
    page.click("#dropper")
    with page.expect_request(lambda request: bool(asked_hints(request.url))) as asked:
        page.click("#reference-shown")
    assert asked_hints(asked.value.url)[0][2] == "1e3cc8"
    page.click("#dropper")
    pixels = shown_pixels(page)
    with page.expect_request(lambda request: "1e3cc8" not in request.url and bool(asked_hints(request.url))) as asked:
        click_at(page, 0.9, 0.9)
    hints = asked_hints(asked.value.url)
    assert len(hints) == 1
    taken = np.array([int(hints[0][2][i : i + 2], 16) for i in (0, 2, 4)])
    there = pixels[int(0.9 * pixels.shape[0]), int(0.9 * pixels.shape[1])].astype(int)
    assert np.abs(taken - there).max() < 60


def test_a_finger_fixes_a_color_and_moves_its_point(open_page: Opener) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2, color_scheme="dark")
    key = put_in(page, COFFEE)
    page.locator("#fix").tap()
    picture = page.locator("#after").bounding_box()
    assert picture
    x, y = picture["x"] + 0.25 * picture["width"], picture["y"] + 0.5 * picture["height"]
    page.touchscreen.tap(x, y)
    with page.expect_request(lambda request: bool(asked_hints(request.url))) as asked:
        page.get_by_role("button", name="Leaves").tap()
    assert asked_hints(asked.value.url) == [(pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01), "5f7f38")]
    wait_for_change(page, key)
    page.locator("#swatches-done").tap()
    fingers = page.context.new_cdp_session(page)
    for kind, points in (
        ("touchStart", [{"x": x, "y": y}]),
        ("touchMove", [{"x": x + 20, "y": y}]),
        ("touchMove", [{"x": x + 0.5 * picture["width"], "y": y}]),
        ("touchEnd", []),
    ):
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.locator("#hint-box > summary").tap()
    expect(page.get_by_label("Point 1, percent across")).to_have_value("75")


def test_there_is_an_end_to_points(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    page.click("#fix")
    click_at(page, 0.1, 0.5)
    page.locator("#presets button").first.click()
    page.evaluate(
        """async () => {
            const { change, current } = await import("/page/state.js");
            const [one] = current().look.hints;
            change("many points", { hints: Array.from({ length: 64 }, () => one) });
        }"""
    )
    expect(page.locator("#hints li")).to_have_count(64)
    click_at(page, 0.9, 0.9)
    page.locator("#presets button").first.click()
    expect(page.locator("#toast-text")).to_contain_text("64 points at most")
    expect(page.locator("#hints li")).to_have_count(64)


# ----------------------------------------------------------------------------------------------------- undo and redo


def test_everything_can_be_undone_and_done_again(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE, CHELSEA)
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    for value in (0.6, 0.7, 0.8):
        fill_range(page, "#vividness", value)
    page.dispatch_event("#vividness", "change")
    wait_for_change(page, key)
    key = settle(page)
    page.click("#for-all")
    page.get_by_role("button", name="Remove chelsea.png").click()
    expect(page.locator("#strip li")).to_have_count(1)
    # The removal, with what it was given; then "use for all"; then the whole stroke of the slider.
    page.keyboard.press("Control+z")
    expect(page.locator("#strip li")).to_have_count(2)
    expect(page.locator("#name")).to_have_text("chelsea.png")
    expect(page.locator("#vividness-shown")).to_have_text("0.80")
    page.keyboard.press("Control+z")
    expect(page.locator("#toast-text")).to_have_text("Undone: use for all.")
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#vividness-shown")).to_have_text("0.50")
    page.keyboard.press("Control+z")
    expect(page.locator("#name")).to_have_text("coffee.jpg")
    expect(page.locator("#vividness-shown")).to_have_text("0.50")
    for _ in range(3):
        page.keyboard.press("Control+Shift+z")
    expect(page.locator("#strip li")).to_have_count(1)
    expect(page.locator("#vividness-shown")).to_have_text("0.80")
    expect(page.locator("#redo")).to_be_disabled()
    settle(page)


def test_what_was_removed_comes_back_in_color(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.get_by_role("button", name="Remove coffee.jpg").click()
    expect(page.locator("#welcome")).to_be_visible()
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.click("#toast-undo")
    settle(page)
    expect(page.locator("#strip li")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(page.locator("#welcome")).to_be_visible()


# ------------------------------------------------------------------------------------------------------------- saving


def saved(page: Page, kind: str) -> tuple[str, Any]:
    page.select_option("#save-as", kind)
    with page.expect_download() as waiting:
        page.click("#save")
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_what_is_saved_is_of_the_kind_that_is_chosen(
    open_page: Opener, server: Server, small_server: Server, keeps: bool
) -> None:
    page = open_page(to=server if keeps else small_server)
    side = 60 if keeps else 1000
    noise = np.random.default_rng(1).integers(0, 256, (side, side), dtype=np.uint8)
    put_in(page, as_file("scan.png", by_pillow(noise, "PNG")))
    expect(page.locator("#versions")).to_be_visible(visible=keeps)
    name, data = saved(page, "webp")
    with Image.open(io.BytesIO(data)) as image:
        assert (name, image.format, image.size) == ("scan-color.webp", "WEBP", (side, side))
    name, data = saved(page, "tiff16")
    with Image.open(io.BytesIO(data)) as image:
        assert (name, image.format, image.tag_v2[258]) == ("scan-color.tif", "TIFF", (16, 16, 16))  # type: ignore[attr-defined]
    name, data = saved(page, "pair")
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (name, pixels.shape) == ("scan-color.jpg", (side, 2 * side, 3))
    gray, color = (np.ptp(half, axis=-1).mean() for half in (pixels[:, :side], pixels[:, side:]))
    assert gray < 2 < 10 < color


def test_many_are_saved_without_asking_for_what_is_kept_no_more(open_page: Opener, server: Server) -> None:
    page = open_page()
    pictures = [by_pillow(smooth_gray(40, 60 + number), "PNG") for number in range(17)]
    key = put_in(page, *(as_file(f"{number}.png", data) for number, data in enumerate(pictures)))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (17)")
    wait_for_versions(page)
    page.get_by_role("button", name="Version 2").click()
    wait_for_change(page, key)
    wait_for_versions(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    with page.expect_download() as waiting:
        page.click("#save-all")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        assert archive.namelist() == [f"{number}-color.png" for number in range(17)]
        # Byte for byte what the command line writes; another version than the first is only made of what is kept.
        for number in (1, 16):
            made = server.client.post("/colorize?vividness=0.5", content=pictures[number]).content
            assert archive.read(f"{number}-color.png") == made
    assert sum("POST" in line and "/colorize?" in line for line in asked) == 16
    assert sum("variant=2" in line for line in asked) == 1


def test_of_a_scan_without_grays_it_is_said_that_there_is_little_to_color(open_page: Opener) -> None:
    page = open_page()
    put_in(page, as_file("photo.png", by_pillow(smooth_gray(40, 60), "PNG")))
    expect(page.locator("#notes")).to_be_hidden()
    drawing = np.where(smooth_gray(80, 120) > 128, 255, 0).astype(np.uint8)
    choose(page, as_file("drawing.png", by_pillow(drawing, "PNG")))
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#notes")).to_contain_text("little to color")


def test_looks_are_points_of_the_curve(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, as_file("small.png", by_pillow(smooth_gray(40, 60), "PNG")))
    expect(page.get_by_role("button", name="Natural")).to_have_attribute("aria-pressed", "true")
    with page.expect_request(lambda request: "vividness=0.85" in request.url):
        page.get_by_role("button", name="Vivid", exact=True).click()
    wait_for_change(page, key)
    expect(page.locator("#vividness-shown")).to_have_text("0.85")
    page.locator("#finer summary").click()
    fill_range(page, "#saturation", 1.5)
    expect(page.get_by_role("button", name="Vivid", exact=True)).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Calm").click()
    expect(page.locator("#saturation-shown")).to_have_text("1.00")
    with page.expect_request(lambda request: "look=warm" in request.url):
        page.get_by_role("button", name="Warm", exact=True).click()
    warm, natural = (page.get_by_role("button", name=name, exact=True) for name in ("Warm", "Natural"))
    expect(warm).to_have_attribute("aria-pressed", "true")
    expect(natural).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize(
    ("name", "look", "vividness"),
    [
        ("1890s print", "photochrom", "0.5"),
        ("1910s plate", "autochrome", "0.5"),
        ("1940s slide", "transparency", "0.7"),
    ],
)
def test_a_photograph_gets_the_colors_of_its_time(open_page: Opener, name: str, look: str, vividness: str) -> None:
    page = open_page()
    key = put_in(page, as_file("small.png", by_pillow(smooth_gray(40, 60), "PNG")))
    plain = shown_pixels(page)
    button = page.get_by_role("button", name=name, exact=True)
    with page.expect_request(re.compile(rf"vividness={vividness}&look={look}\b")):
        button.click()
    wait_for_change(page, key)
    assert not np.array_equal(shown_pixels(page), plain)
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#looks [aria-pressed=true]")).to_have_count(1)
    page.get_by_role("button", name="Natural", exact=True).click()
    expect(button).to_have_attribute("aria-pressed", "false")
