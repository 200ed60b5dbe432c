"""Regions, the brush and plausible colors on the page, in a real Chromium."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Request, Route, expect

from tests.e2e.page_driver import (
    BROWSERS,
    COFFEE,
    DESKTOP,
    EXECUTABLE,
    KEY,
    PHONE,
    Opener,
    as_file,
    click_at,
    fill_range,
    offer_colors,
    put_in,
    refuse,
    settle,
    shown_pixels,
    until,
    wait_for_change,
    wait_until_kept,
)
from tests.e2e.server import ROOT, Server
from tests.pictures import by_pillow

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(BROWSERS)} is installed (see `make browser`)"),
]

DARK_LEFT = np.where(np.arange(240) < 120, 70, 190) + np.arange(160)[:, None] % 3
HALVES = as_file("halves.png", by_pillow(DARK_LEFT.astype(np.uint8), "PNG"))
"""Two things: what is left is dark, what is right is bright."""


SHIPPED = ROOT / "service" / "model" / "default.onnx"
"""Regions grow by what this model takes for one thing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(SHIPPED, tmp_path_factory.mktemp("log") / "log")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that keeps no pictures."""
    running = Server(SHIPPED, tmp_path_factory.mktemp("log") / "log", kept_bytes=0, api_keys=KEY)
    yield running
    running.stop()


def regions_in(url: str) -> list[str]:
    """Return the regions that an address asks for, but for those that the outline is made of."""
    (text,) = parse_qs(urlsplit(url).query).get("regions", [""])
    return [region for region in text.split(";") if region and not region.startswith("0:")]


def asks_for(count: int, *, marks: int = 1) -> Callable[[Request], bool]:
    """Say of a request whether it asks for so many regions, the last of so many marks."""

    def is_so(request: Request) -> bool:
        regions = regions_in(request.url)
        return len(regions) == count and regions[-1].count("/") == marks

    return is_so


def start_region(page: Page, tool: str = "Region") -> None:
    page.click("#fix")
    page.get_by_role("button", name=tool, exact=True).click()


def outlined(page: Page) -> list[tuple[float, float]]:
    """Return the points of the outline, once it is there, as shares of the long side."""
    page.wait_for_function('() => document.querySelector("#edge").getAttribute("d")')
    path = page.get_attribute("#edge", "d") or ""
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path)]


def on_handle(page: Page) -> Any:
    return page.locator("#handles button")


# ------------------------------------------------------------------------------------------------------------- regions


def test_a_thing_is_made_blue_in_three_actions(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    plain = shown_pixels(page).astype(int)
    page.evaluate("() => { window.actions = 0; addEventListener('pointerdown', () => { window.actions++; }, true); }")
    page.get_by_role("button", name="Region", exact=True).click()
    click_at(page, 0.25, 0.5)
    # Before it has a color, one sees how far it goes: not beyond the cup.
    edge = outlined(page)
    assert 0.3 < max(x for x, _ in edge) < 0.6
    with page.expect_request(asks_for(1)) as asked:
        page.get_by_role("button", name="Sky").click()
    (region,) = regions_in(asked.value.url)
    color, mark = region.split("/")
    x, y, radius = map(float, mark.split(","))
    assert (color, x, y) == ("8fb4d6", pytest.approx(0.25, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert 0 < radius < 0.03
    wait_for_change(page, key)
    assert page.evaluate("window.actions") == 3
    blue = shown_pixels(page).astype(int)
    bluer = (blue - plain)[..., 2] - (blue - plain)[..., 0]
    height, width = bluer.shape
    clicked = bluer[height * 9 // 20 : height * 11 // 20, width // 5 : width * 3 // 10]
    assert clicked.mean() > 10 > abs(bluer[:, -width // 3 :]).mean() + 5
    with page.expect_request(lambda request: regions_in(request.url)[:1] == [f"808080/{mark}"]):
        page.click("#keep-gray")
    settle(page)
    with page.expect_request(lambda request: "@0.5" in "".join(regions_in(request.url))):
        fill_range(page, "#region-strength", 0.5)
    page.keyboard.press("Escape")
    expect(page.locator("#swatches")).to_be_hidden()
    expect(page.locator("#shape")).to_be_hidden()
    expect(on_handle(page)).to_be_focused()


def test_the_tools_wait_for_no_button_where_there_is_room(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    fix, brush = page.locator("#fix"), page.get_by_role("button", name="Brush", exact=True)
    expect(brush).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#brush-size")).to_be_hidden()
    brush.focus()
    page.keyboard.press("Enter")
    expect(fix).to_have_attribute("aria-pressed", "true")
    expect(brush).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#brush-size")).to_be_visible()
    expect(page.locator("#stage")).to_be_focused()
    fix.click()
    expect(brush).to_have_attribute("aria-pressed", "false")
    fix.click()  # What was chosen last is chosen again.
    expect(brush).to_have_attribute("aria-pressed", "true")
    page.set_viewport_size({"width": 1100, "height": 800})
    expect(brush).to_be_visible()
    fix.click()
    expect(brush).to_be_hidden()
    page.set_viewport_size(DESKTOP)


def test_white_spots_are_no_holes_of_the_outline(open_page: Opener) -> None:
    """In white no color is seen, whether a region has it or not."""
    page = open_page()
    pixels = np.full((240, 320), 60, np.uint8)
    pixels[40:200, 40:280] = 150
    pixels[110:122, 200:212] = 255
    put_in(page, as_file("spot.png", by_pillow(pixels, "PNG")))
    start_region(page)
    click_at(page, 0.3, 0.5)
    edge = np.array(outlined(page))
    within = (np.abs(edge - (206 / 320, 116 / 320)) < 20 / 320).all(axis=1)
    assert not within.any()
    assert edge[:, 0].max() > 0.8


def test_a_photograph_is_saved_while_a_region_is_open(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, HALVES)
    start_region(page)
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Brick").click()
    wait_for_change(page, key)
    expect(page.locator("#swatches")).to_be_visible()
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == "halves-color.png"


def test_more_clicks_add_and_take_away_and_each_is_undone(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    start_region(page)
    page.keyboard.down("Alt")
    click_at(page, 0.75, 0.2)
    page.keyboard.up("Alt")
    expect(page.locator("#toast-text")).to_contain_text("Begin with what belongs to the region")
    expect(page.locator("#swatches")).to_be_hidden()
    click_at(page, 0.25, 0.2)
    click_at(page, 0.75, 0.2)
    # Without a color it is no decision yet: undo takes back one click.
    expect(page.locator("#undo")).to_have_accessible_name("Undo: the last click")
    page.keyboard.press("Control+z")
    with page.expect_request(asks_for(1)):
        page.get_by_role("button", name="Brick").click()
    with page.expect_request(asks_for(1, marks=2)) as asked:
        click_at(page, 0.4, 0.8)
    assert "~" not in regions_in(asked.value.url)[0]
    page.keyboard.down("Alt")
    with page.expect_request(asks_for(1, marks=3)) as asked:
        click_at(page, 0.75, 0.5)
    page.keyboard.up("Alt")
    assert regions_in(asked.value.url)[0].rpartition("/")[2].startswith("~0.75")
    page.click("#mark-away")
    with page.expect_request(asks_for(1, marks=4)) as asked:
        click_at(page, 0.9, 0.9)
    assert regions_in(asked.value.url)[0].rpartition("/")[2].startswith("~0.9")
    key = settle(page)
    page.keyboard.press("Control+z")
    wait_for_change(page, key)
    marks = "async () => (await import('/page/state.js')).current().look.regions.map(({ marks }) => marks.length)"
    assert page.evaluate(marks) == [3]
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function(f"async () => String(await ({marks})()) === '4'")
    for _ in range(4):
        page.keyboard.press("Control+z")
    expect(on_handle(page)).to_have_count(0)
    expect(page.locator("#swatches")).to_be_hidden()
    page.keyboard.press("Control+Shift+z")
    expect(on_handle(page)).to_have_count(1)


def test_the_last_click_taken_back_closes_a_region_without_a_color(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    start_region(page)
    click_at(page, 0.25, 0.5)
    expect(page.locator("#swatches-done")).to_have_text("Cancel")
    page.click("#undo")
    expect(page.locator("#swatches")).to_be_hidden()
    expect(page.locator("#undo")).to_have_accessible_name("Undo: halves.png added")
    click_at(page, 0.25, 0.5)
    page.click("#swatches-done")
    expect(on_handle(page)).to_have_count(0)


def test_strokes_go_into_a_region_as_few_points(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    start_region(page, "Brush")
    fill_range(page, "#radius", 0.05)
    picture = page.locator("#after").bounding_box()
    assert picture

    def paint(*places: tuple[float, float]) -> None:
        points = [(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"]) for x, y in places]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=20)
        expect(page.locator("#stroke")).to_have_attribute("stroke-width", "0.1")
        page.mouse.up()

    paint((0.1, 0.3), (0.3, 0.3), (0.3, 0.9))
    with page.expect_request(asks_for(1)) as asked:
        page.get_by_role("button", name="Leaves").click()
    *shares, radius = map(float, regions_in(asked.value.url)[0].split("/")[1].split(","))
    assert shares == pytest.approx([0.1, 0.3, 0.3, 0.3, 0.3, 0.9], abs=0.01)
    assert radius == 0.05
    page.keyboard.down("Alt")
    with page.expect_request(asks_for(1, marks=2)) as asked:
        paint((0.6, 0.2), (0.9, 0.2))
    page.keyboard.up("Alt")
    assert regions_in(asked.value.url)[0].split("/")[2].startswith("~0.6")
    # A click of the brush is a short stroke; a point has no place in a region.
    with page.expect_request(asks_for(1, marks=3)):
        click_at(page, 0.2, 0.6)
    page.get_by_role("button", name="Point", exact=True).click()
    expect(page.locator("#swatches")).to_be_hidden()
    expect(on_handle(page)).to_have_count(1)


def test_regions_are_opened_listed_changed_and_erased(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    start_region(page)
    for x, name in ((0.25, "Brick"), (0.75, "Sky")):
        click_at(page, x, 0.5)
        page.get_by_role("button", name=name).click()
        page.click("#swatches-done")
    page.click("#fix")
    page.locator("#hint-box > summary").click()
    expect(page.locator("#regions li")).to_have_count(2)
    expect(page.locator("#hint-count")).to_have_text("(2)")
    with page.expect_request(lambda request: "@0.3" in "".join(regions_in(request.url))):
        fill_range(page, "#regions [type=range]", 0.3)
    page.get_by_label("Color of region 2").fill("#102030")
    expect(page.get_by_role("button", name="Region 2, color #102030")).to_be_visible()
    page.get_by_role("button", name="Change region 2").click()
    expect(page.locator("#of-region")).to_be_visible()
    expect(page.locator("#hint-color")).to_have_value("#102030")
    with page.expect_request(asks_for(2, marks=2)):
        click_at(page, 0.8, 0.2)
    page.click("#point-away")
    expect(page.locator("#regions li")).to_have_count(1)
    page.click("#toast-undo")
    expect(page.locator("#regions li")).to_have_count(2)
    on_handle(page).first.focus()
    page.keyboard.press("Delete")
    expect(page.locator("#regions li")).to_have_count(1)
    page.get_by_role("button", name="Remove region 1").click()
    expect(page.locator("#regions li")).to_have_count(0)
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.click("#hints-clear")
    expect(page.locator("#regions li")).to_have_count(0)
    expect(page.locator("#hint-count")).to_have_text("")
    page.click("#toast-undo")
    expect(page.locator("#regions li")).to_have_count(2)


def test_regions_survive_a_reload_and_are_written_down(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, HALVES)
    start_region(page)
    click_at(page, 0.25, 0.5)
    fill_range(page, "#region-strength", 0.8)
    page.get_by_role("button", name="Brick").click()
    wait_for_change(page, key)
    with page.expect_request(asks_for(1, marks=2)):
        click_at(page, 0.3, 0.8)
    settle(page)
    page.click("#swatches-done")
    before = shown_pixels(page)
    wait_until_kept(page)
    page.reload()
    expect(on_handle(page)).to_have_count(1)
    settle(page)
    assert np.array_equal(shown_pixels(page), before)
    with page.expect_download() as waiting:
        page.click("#save-looks")
    (look,) = json.loads(waiting.value.path().read_text())["pictures"].values()
    (region,) = look["regions"]
    assert region.startswith("a4553c@0.8/0.2")
    assert region.count("/") == 2
    assert look["options"] == {"vividness": 0.5}
    answer = server.client.post("/colorize", params={"regions": region}, content=HALVES["buffer"])
    assert answer.status_code == 200


def test_a_session_of_before_there_were_regions_comes_back(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    wait_until_kept(page)
    page.evaluate(
        """async () => {
            const { result } = await new Promise((resolve) => {
                const request = indexedDB.open("photochrom");
                request.onsuccess = () => resolve(request);
            });
            const store = result.transaction("sessions", "readwrite").objectStore("sessions");
            const done = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
            const [name] = await done(store.getAllKeys());
            const session = await done(store.get(name));
            for (const { look } of session.photos) delete look.regions;
            await done(store.put(session, name));
            result.close();
        }"""
    )
    page.reload()
    settle(page)
    start_region(page)
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Brick").click()
    expect(on_handle(page)).to_have_count(1)


def test_regions_stay_with_their_photograph(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, HALVES)
    start_region(page)
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Brick").click()
    page.click("#swatches-done")
    wait_for_change(page, key)
    page.get_by_role("button", name="Vivid", exact=True).click()
    page.click("#reset")
    expect(page.locator("#vividness-shown")).to_have_text("0.50")
    expect(on_handle(page)).to_have_count(1)
    page.set_input_files("#files", COFFEE)
    page.click("#for-all")
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#name")).to_have_text("coffee.jpg")
    expect(on_handle(page)).to_have_count(0)
    settle(page)
    click_at(page, 0.5, 0.5)
    expect(page.locator("#of-region")).to_be_visible()
    page.locator("#strip .shot").nth(0).click()
    expect(page.locator("#swatches")).to_be_hidden()
    expect(on_handle(page)).to_have_count(1)


def test_there_is_an_end_to_regions_and_to_their_strokes(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES)
    start_region(page)
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Brick").click()
    page.evaluate(
        """async () => {
            const { change, current } = await import("/page/state.js");
            const [one] = current().look.regions;
            const long = (length) =>
                ({ points: Array.from({ length }, () => [0.123, 0.456]), radius: 0.03, away: false });
            change("much", { regions: [{ ...one, marks: [...one.marks, ...[390, 390, 390, 150].map(long)] }] });
        }"""
    )
    picture = page.locator("#after").bounding_box()
    assert picture
    page.get_by_role("button", name="Brush", exact=True).click()
    page.mouse.move(picture["x"] + 5, picture["y"] + 5)
    page.mouse.down()
    for step in range(100):  # A spiral has no straight parts to leave out.
        angle, radius = step / 3, step / 100
        x, y = 0.5 + 0.45 * radius * np.cos(angle), 0.5 + 0.45 * radius * np.sin(angle)
        page.mouse.move(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"])
    page.mouse.up()
    expect(page.locator("#toast-text")).to_contain_text("no room for more clicks and strokes")
    page.evaluate(
        """async () => {
            const { change, current } = await import("/page/state.js");
            const [one] = current().look.regions;
            change("many", { regions: Array.from({ length: 16 }, () => ({ ...one, marks: one.marks.slice(0, 1) })) });
        }"""
    )
    page.keyboard.press("Escape")
    click_at(page, 0.9, 0.9)
    expect(page.locator("#toast-text")).to_contain_text("16 regions at most")
    expect(page.locator("#swatches")).to_be_hidden()


def test_a_region_is_colored_where_nothing_is_kept(open_page: Opener, strict_server: Server) -> None:
    page = open_page(to=strict_server)
    page.set_input_files("#files", [HALVES])  # type: ignore[arg-type]
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    key = settle(page)
    start_region(page)
    click_at(page, 0.25, 0.5)
    with page.expect_request(asks_for(1)) as asked:
        page.get_by_role("button", name="Brick").click()
    assert asked.value.method == "POST"
    wait_for_change(page, key)
    assert page.get_attribute("#edge", "d") == ""


# ---------------------------------------------------------------------------------------------------- fingers and keys


def test_a_finger_marks_a_thing_and_takes_away(open_page: Opener) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    offer_colors(page, "#4060a0", "#a06040")
    put_in(page, HALVES)
    page.locator("#fix").tap()
    page.get_by_role("button", name="Region", exact=True).tap()
    picture = page.locator("#after").bounding_box()
    assert picture

    def tap(x: float, y: float) -> None:
        page.touchscreen.tap(picture["x"] + x * picture["width"], picture["y"] + y * picture["height"])

    tap(0.25, 0.5)
    with page.expect_request(asks_for(1)):
        page.get_by_role("button", name="Plausible color 1").tap()
    # The card leaves the photograph and the tools free.
    card, ways = page.locator("#swatches").bounding_box(), page.locator("#ways button").first.bounding_box()
    assert card
    assert ways
    assert card["y"] >= ways["y"] + ways["height"]
    assert card["y"] > 0.45 * PHONE["height"]
    buttons = "#swatches button, #ways button, #of-region input"
    sizes = page.eval_on_selector_all(buttons, "all => all.map((each) => [each.offsetHeight, each.id || each.title])")
    assert [size for size in sizes if 0 < size[0] < 44] == []
    widths = page.eval_on_selector_all(
        "#presets button", "all => all.map((each) => [each.offsetWidth, each.offsetTop])"
    )
    assert min(width for width, _ in widths) >= 44
    assert len({top for _, top in widths}) == 1
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    page.locator("#mark-away").tap()
    with page.expect_request(asks_for(1, marks=2)) as asked:
        tap(0.8, 0.3)
    assert regions_in(asked.value.url)[0].rpartition("/")[2].startswith("~0.8")
    page.locator("#mark-add").tap()
    page.get_by_role("button", name="Brush", exact=True).tap()
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [
            {"x": picture["x"] + x * picture["width"], "y": picture["y"] + y * picture["height"], "id": number}
            for number, (x, y) in enumerate(places)
        ]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    # Two fingers zoom: what the first of them drew is none.
    touch("touchStart", (0.1, 0.1))
    touch("touchMove", (0.2, 0.1))
    touch("touchStart", (0.2, 0.1), (0.4, 0.4))
    touch("touchEnd")
    touch("touchStart", (0.1, 0.2))
    touch("touchMove", (0.2, 0.2))
    with page.expect_request(asks_for(1, marks=3)) as asked:
        touch("touchMove", (0.3, 0.2))
        touch("touchEnd")
    assert regions_in(asked.value.url)[0].rpartition("/")[2].startswith("0.1")


def test_keys_fix_colors_anywhere(open_page: Opener) -> None:
    page = open_page()
    put_in(page, HALVES, COFFEE)
    page.locator("#fix").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stage")).to_be_focused()
    expect(page.locator("#cross")).to_have_css("visibility", "visible")
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    expect(page.locator("#live")).to_have_text("30 % across, 50 % down")
    expect(page.locator("#place")).to_have_text("1 of 2")  # Arrows go to no other photograph meanwhile.
    page.get_by_role("button", name="Region", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator("#stage").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#swatches button:focus")).to_have_count(1)
    with page.expect_request(asks_for(1)) as asked:
        page.keyboard.press("Enter")
    assert regions_in(asked.value.url)[0].split("/")[1].startswith("0.300,0.496,")
    page.locator("#mark-add").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#stage")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    with page.expect_request(asks_for(1, marks=2)) as asked:
        page.keyboard.press("Alt+Enter")
    assert regions_in(asked.value.url)[0].rpartition("/")[2].startswith("~0.700,0.496")
    page.get_by_role("button", name="Brush", exact=True).click()
    page.locator("#stage").focus()
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    with page.expect_request(asks_for(1, marks=3)) as asked:
        page.keyboard.press("Enter")
    assert regions_in(asked.value.url)[0].rpartition("/")[2] == "0.700,0.496,0.700,0.596,0.030"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#fix")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#cross")).to_be_hidden()


def test_keys_take_a_color_from_the_picture(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    pixels = shown_pixels(page)
    start_region(page)
    click_at(page, 0.25, 0.5)
    page.locator("#dropper").focus()
    page.keyboard.press("Enter")
    page.locator("#stage").focus()
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    with page.expect_request(asks_for(1)) as asked:
        page.keyboard.press("Enter")
    color = regions_in(asked.value.url)[0].split("/")[0]
    taken = [int(color[at : at + 2], 16) for at in (0, 2, 4)]
    height, width, _ = pixels.shape
    around = pixels[int(0.4 * height) - 4 : int(0.4 * height) + 5, width // 2 - 4 : width // 2 + 5].astype(int)
    assert np.abs(around.mean(axis=(0, 1)) - taken).max() < 25


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_regions(open_page: Opener, scheme: str) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    offer_colors(page, "#4060a0", "#a06040")
    key = put_in(page, HALVES)
    page.locator("#hint-box > summary").click()
    start_region(page, "Brush")
    click_at(page, 0.25, 0.5)
    page.get_by_role("button", name="Plausible color 2").click()
    wait_for_change(page, key)
    outlined(page)
    page.locator("#earlier-box > summary").click()
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


# ---------------------------------------------------------------------------------------------------- plausible colors


def test_the_plausible_colors_of_a_place_are_those_the_service_tells(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    asked: list[str] = []
    waiting: list[Route] = []
    page.on("request", lambda request: asked.append(request.url) if "/colors?" in request.url else None)
    page.route("**/pictures/*/colors?*", lambda route: waiting.append(route))
    page.click("#fix")
    click_at(page, 0.5, 0.4)
    expect(page.locator("#plausible-none")).to_be_visible()
    expect(page.locator("#presets button:focus")).to_have_count(1)
    until(page, lambda: len(waiting) == 1)
    colors = [{"color": "#c08a70", "share": 0.41}, {"color": "#3050a0", "share": 0.2}]
    waiting[0].fulfill(json={"colors": colors})
    expect(page.locator("#plausible button")).to_have_count(2)
    expect(page.locator("#plausible-none")).to_be_hidden()
    expect(page.locator("#plausible button").first).to_have_accessible_name("Plausible color 1, #c08a70, 41 %")
    expect(page.locator("#hint-color")).to_have_value("#c08a70")
    query = parse_qs(urlsplit(asked[0]).query)
    assert (float(query["x"][0]), float(query["y"][0])) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.4, abs=0.01))
    assert query.keys() == {"x", "y"}
    with page.expect_request(lambda request: "hints=" in request.url and "3050a0" in request.url):
        page.locator("#plausible button").nth(1).click()
    expect(page.locator("#plausible button").nth(1)).to_have_attribute("aria-pressed", "true")
    settle(page)
    # What is known of a place is not asked for again.
    page.click("#swatches-done")
    page.locator("#marks button").click()
    expect(page.locator("#plausible button")).to_have_count(2)
    assert len(asked) == 1


def test_without_plausible_colors_there_are_the_common_ones(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    page.route("**/pictures/*/colors?*", lambda route: refuse(route, 500, "internal-error"))
    page.click("#fix")
    with page.expect_response(re.compile("/colors")):
        click_at(page, 0.5, 0.4)
    expect(page.locator("#plausible")).to_be_hidden()
    with page.expect_request(re.compile("hints=")):
        page.get_by_role("button", name="Sky").click()


def test_the_service_itself_tells_plausible_colors(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    page.click("#fix")
    with page.expect_response(re.compile(r"/pictures/[^/]+/colors\?")) as answered:
        click_at(page, 0.5, 0.4)
    assert answered.value.status == 200
    colors = [told["color"] for told in answered.value.json()["colors"]]
    assert 1 <= len(colors) <= 6
    expect(page.locator("#plausible button")).to_have_count(len(colors))
    with page.expect_request(lambda request: "hints=" in request.url and colors[0][1:] in request.url):
        page.locator("#plausible button").first.click()


# ------------------------------------------------------------------------------------------------------- earlier looks


def test_earlier_looks_come_back_by_a_click(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    expect(page.locator("#earlier-box")).to_be_hidden()
    page.get_by_role("button", name="Vivid", exact=True).click()
    wait_for_change(page, key)
    vivid = settle(page)
    page.get_by_role("button", name="Calm", exact=True).click()
    wait_for_change(page, vivid)
    page.locator("#earlier-box > summary").click()
    expect(page.locator("#earlier button")).to_have_text(["Vivid", "As it came"])
    expect(page.locator("#earlier canvas")).to_have_count(2)
    page.locator("#earlier button").first.click()
    expect(page.locator("#vividness-shown")).to_have_text("0.85")
    expect(page.locator("#earlier button")).to_have_text(["Calm", "As it came"])
    page.click("#toast-undo")
    expect(page.locator("#vividness-shown")).to_have_text("0.20")
    expect(page.locator("#earlier button")).to_have_text(["Vivid", "As it came"])
