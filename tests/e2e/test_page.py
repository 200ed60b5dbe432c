"""The page in a real Chromium, against the real service: what people do with it, by mouse, finger and keyboard."""

import base64
import io
import re
import struct
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests import onnx_factory
from tests.e2e.page_driver import (
    BROWSERS,
    CHELSEA,
    COFFEE,
    EXECUTABLE,
    INFERENCES,
    KEY,
    PHONE,
    Held,
    Opener,
    as_file,
    choose,
    color_of,
    fill_range,
    hand_over,
    let_requests_come,
    noisy,
    offer_colors,
    put_in,
    refuse,
    refuse_to_keep,
    settle,
    shown_pixels,
    until,
    wait_for_change,
    wait_for_versions,
)
from tests.e2e.server import Server
from tests.formats.files import png
from tests.pictures import by_opencv, by_pillow, png_chunk, smooth_gray

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(BROWSERS)} is installed (see `make browser`)"),
]

MOST_WEIGHT_BYTES = 220_000


# -------------------------------------------------------------------------------------------------- how it is delivered


def test_the_page_is_light_and_lets_nothing_foreign_in(open_page: Opener, server: Server) -> None:
    answer = server.client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script>", answer.text)
    page = open_page()
    page.wait_for_load_state("networkidle")
    asked = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    files = [answer, *(server.client.get(url) for url in sorted(set(asked)))]
    assert [file.status_code for file in files] == [200] * len(files)
    assert {"app.js", "answers.js", "style.css", "icon.svg"} <= {url.rpartition("/")[2] for url in asked}
    assert sum(len(file.content) for file in files) <= MOST_WEIGHT_BYTES


# ---------------------------------------------------------------------------------------------------- what people do


def test_a_dropped_photograph_comes_back_in_color(open_page: Opener) -> None:
    page = open_page()
    expect(page.locator("#welcome")).to_be_visible()
    hand_over(page, "dragenter", COFFEE)
    expect(page.locator("#drop")).to_be_visible()
    hand_over(page, "drop", COFFEE)
    settle(page)
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator("#name")).to_have_text("coffee.jpg")
    expect(page.locator("#facts")).to_contain_text("512 \u00d7 341 px")
    expect(page.locator("#scenes li")).to_have_count(len(onnx_factory.SCENES))
    expect(page.locator("#live")).to_contain_text("coffee.jpg is in color")
    # The tiny network colors black and white differently, so a color picture is not gray.
    assert np.ptp(shown_pixels(page).astype(int), axis=-1).mean() > 10


def test_a_pasted_photograph_is_taken(open_page: Opener) -> None:
    page = open_page()
    hand_over(page, "paste", COFFEE)
    settle(page)
    expect(page.locator("#strip li")).to_have_count(1)


def test_the_slider_follows_keys_and_pointer(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    split = page.locator("#split")
    split.focus()
    for key, value in [("ArrowRight", "52"), ("ArrowLeft", "50"), ("PageUp", "60"), ("Home", "0"), ("End", "100")]:
        page.keyboard.press(key)
        expect(split).to_have_attribute("aria-valuenow", value)
    expect(split).to_have_attribute("aria-valuetext", "100 % before, 0 % in color")
    picture = page.locator("#before").bounding_box()
    assert picture
    # Dragging anywhere moves it.
    page.mouse.move(picture["x"] + 300, picture["y"] + 100)
    page.mouse.down()
    page.mouse.move(picture["x"] + picture["width"] / 4, picture["y"] + 100, steps=4)
    page.mouse.up()
    expect(split).to_have_attribute("aria-valuenow", "25")
    clip = page.eval_on_selector("#pane-before", "pane => pane.style.clipPath")
    stage = page.locator("#stage").bounding_box()
    assert stage
    hidden = float(re.findall(r"[\d.]+", clip)[1])
    assert stage["x"] + stage["width"] - hidden == pytest.approx(picture["x"] + picture["width"] / 4, abs=2)


def test_knobs_answer_without_a_new_inference(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    wait_for_versions(page)
    before, inferences = shown_pixels(page), server.metric(INFERENCES)
    for selector, value in (("#vividness", 1.0), ("#saturation", 0.0)):
        fill_range(page, selector, value)
        wait_for_change(page, key)
        key, after = settle(page), shown_pixels(page)
        assert np.abs(after.astype(int) - before).mean() > 1
        before = after
    # Without saturation it is gray, give or take JPEG.
    assert np.ptp(before.astype(int), axis=-1).mean() < 2
    page.locator("#finer summary").click()
    for selector, value in (("#mode", "regression"), ("#mode", "argmax")):
        page.select_option(selector, value)
        wait_for_change(page, key)
        key = settle(page)
    page.uncheck("#automatic")
    wait_for_change(page, key)
    key = settle(page)
    page.check("#enlargement")
    wait_for_change(page, key)
    assert server.metric(INFERENCES) == inferences
    expect(page.locator("#temperature")).to_be_enabled()
    page.click("#reset")
    expect(page.locator("#vividness-shown")).to_have_text("0.50")
    expect(page.locator("#temperature-shown")).to_have_text("automatic")


def test_the_size_asks_the_network_again(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    wait_for_versions(page)
    inferences = server.metric(INFERENCES)
    page.locator("#finer summary").click()
    with page.expect_request(lambda request: request.method == "POST" and "size=128" in request.url):
        page.select_option("#size", "128")
    wait_for_change(page, key)
    assert server.metric(INFERENCES) == inferences + 1


def test_the_network_can_be_shown_the_tones_as_they_are(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    wait_for_versions(page)
    inferences = server.metric(INFERENCES)
    page.locator("#finer summary").click()
    expect(page.locator("#tone")).to_be_checked()
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("pictures?tone=off")):
        page.uncheck("#tone")
    wait_for_change(page, key)
    key = settle(page)
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("pictures")):
        page.click("#reset")
    wait_for_change(page, key)
    expect(page.locator("#tone")).to_be_checked()
    assert server.metric(INFERENCES) == inferences + 2


@pytest.mark.parametrize("fate", ["kept", "refused"])
def test_a_size_changed_while_another_one_is_posted_is_posted_next(open_page: Opener, fate: str) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    page.locator("#reference-box summary").click()
    with page.expect_request(lambda request: "reference=" in request.url):
        page.set_input_files("#reference-file", CHELSEA)
    wait_for_change(page, key)
    key = settle(page)
    wait_for_versions(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url.partition('?')[0]}"))
    posts = Held(page, "**/pictures?*")
    page.locator("#finer summary").click()
    page.select_option("#size", "512")
    posts.wait_for(1)
    page.select_option("#size", "128")
    if fate == "kept":
        posts.routes[0].continue_()
    else:
        refuse_to_keep(posts.routes[0])
    assert "size=128" in posts.wait_for(2).request.url
    posts.routes[1].continue_()
    wait_for_change(page, key)
    wait_for_versions(page)
    assert [name.rpartition("/")[2] for name in asked if name.startswith("POST")] == ["pictures", "pictures"]
    assert not [name for name in asked if "null" in name]


def test_a_size_for_all_reaches_those_that_are_being_posted(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    posts = Held(page, re.compile(r"/pictures(\?|$)"))
    choose(page, CHELSEA)
    posts.wait_for(1)
    page.locator("#finer summary").click()
    page.select_option("#size", "128")
    posts.wait_for(2)
    page.click("#for-all")
    posts.routes[0].continue_()
    assert "size=128" in posts.wait_for(3).request.url
    for route in posts.routes[1:]:
        route.continue_()
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")


def test_a_text_file_is_refused_in_words_and_the_others_go_on(open_page: Opener) -> None:
    page = open_page()
    text = as_file("notes.txt", b"no photograph at all", "text/plain")
    cut, whole = as_file("cut.png", CHELSEA.read_bytes()[:9000]), as_file("whole.png", CHELSEA.read_bytes())
    choose(page, text, cut, whole)
    expect(page.locator("#message")).to_contain_text("It reads JPEG, PNG, WebP, TIFF, BMP, GIF")
    expect(page.locator("#message")).to_have_class("wrong")
    expect(page.locator("#save")).to_be_disabled()
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#message")).to_contain_text("damaged or cut off")
    page.locator("#strip .shot").nth(2).click()
    settle(page)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#save")).to_be_enabled()
    page.get_by_role("button", name="Remove notes.txt").click()
    page.get_by_role("button", name="Remove cut.png").click()
    expect(page.locator("#strip li")).to_have_count(1)


def test_a_picture_of_a_kind_that_is_not_read_is_refused_by_its_name(open_page: Opener) -> None:
    page = open_page()
    of_high_range = png(smooth_gray(40, 60), png_chunk(b"cICP", bytes([9, 16, 0, 1])))
    choose(page, as_file("hdr.png", of_high_range))
    expect(page.locator("#message")).to_contain_text("PQ")


def test_a_file_over_the_limit_is_refused_in_words(open_page: Opener) -> None:
    page = open_page()
    noise = np.random.default_rng(1).integers(0, 256, (1100, 1100, 3), np.uint8)
    choose(page, as_file("large.png", by_opencv(noise, ".png")))
    expect(page.locator("#message")).to_contain_text("larger than this service takes (100 megapixels and 3 MB at most)")


def test_the_download_has_the_size_of_the_photograph(open_page: Opener) -> None:
    page = open_page()
    put_in(page, CHELSEA)
    with page.expect_download() as waiting:
        page.click("#save")
    download = waiting.value
    assert download.suggested_filename == "chelsea-color.png"
    with Image.open(download.path()) as image:
        assert (image.format, image.size) == ("PNG", (451, 300))


@pytest.mark.parametrize(("choice", "name", "kind"), [("tiff", "tif", "TIFF"), ("jpeg", "jpg", "JPEG")])
@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_the_download_has_the_format_that_is_chosen_and_what_belongs_to_the_photograph(
    open_page: Opener, server: Server, strict_server: Server, choice: str, name: str, kind: str, keeps: bool
) -> None:
    page = open_page(to=server if keeps else strict_server)
    choose(page, as_file("scan.jpg", by_pillow(smooth_gray(40, 60), "JPEG", dpi=(600, 600))))
    if not keeps:
        page.fill("#key", KEY)
        page.keyboard.press("Enter")
    settle(page)
    page.select_option("#save-as", choice)
    with page.expect_download() as waiting:
        page.click("#save")
    assert waiting.value.suggested_filename == f"scan-color.{name}"
    with Image.open(waiting.value.path()) as image:
        assert (image.format, image.size, image.info["dpi"]) == (kind, (60, 40), (600, 600))
    with page.expect_download() as again:
        page.select_option("#save-as", "png")
        page.click("#save")
    assert again.value.suggested_filename == "scan-color.png"


def test_all_photographs_come_as_one_archive(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE, CHELSEA, as_file("coffee.png", by_pillow(smooth_gray(40, 60), "PNG")))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (3)")
    with page.expect_download() as waiting:
        page.click("#save-all")
    data = Path(waiting.value.path()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["coffee-color.png", "chelsea-color.png", "coffee-2-color.png"]
        sizes = [Image.open(io.BytesIO(archive.read(name))).size for name in archive.namelist()]
        assert sizes == [(512, 341), (451, 300), (60, 40)]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert struct.unpack("<I", data[:4]) == (0x04034B50,)
    expect(page.locator("#live")).to_have_text("3 photographs are saved.")


def test_a_dropped_folder_keeps_its_folders_in_the_archive(open_page: Opener) -> None:
    page = open_page()
    gray = base64.b64encode(by_pillow(smooth_gray(40, 60), "PNG")).decode()
    page.evaluate(
        """([gray, names]) => {
            const bytes = Uint8Array.from(atob(gray), (letter) => letter.charCodeAt(0));
            const fileOf = (path) => ({ isFile: true, name: path.split("/").pop(), fullPath: path,
                file: (done) => done(new File([bytes], path.split("/").pop(), { type: "image/png" })) });
            const folder = (children) => ({ isDirectory: true, createReader: () => {
                const parts = [children, []];
                return { readEntries: (done) => done(parts.shift()) };
            } });
            const album = folder([folder(names.map((name) => fileOf(`/album/deep/${name}`))), fileOf("/album/a.png")]);
            album.name = "album";
            const transfer = { types: ["Files"], files: [], items: [{ webkitGetAsEntry: () => album }] };
            const event = new Event("drop", { bubbles: true, cancelable: true });
            event.dataTransfer = transfer;
            document.body.dispatchEvent(event);
        }""",
        [gray, ["a.png", "a.PNG", "notes.txt"]],
    )
    expect(page.locator("#save-all")).to_have_text("All as ZIP (3)")
    expect(page.locator("#live")).not_to_be_empty()
    with page.expect_download() as waiting:
        page.click("#save-all")
    with zipfile.ZipFile(waiting.value.path()) as archive:
        names = ["album/deep/a-color.png", "album/deep/a-2-color.png", "album/a-color.png"]
        assert sorted(archive.namelist()) == sorted(names)


def test_zoom_by_buttons_wheel_keys_and_drag(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    fit = page.locator("#zoom").inner_text()
    page.click("#zoom-in")
    expect(page.locator("#zoom")).not_to_have_text(fit)
    widths = [page.locator(layer).bounding_box()["width"] for layer in ("#stage", "#before", "#after")]  # type: ignore[index]
    assert widths[1] == widths[2] > widths[0]
    left = page.locator("#after").bounding_box()["x"]  # type: ignore[index]
    page.mouse.move(700, 200)
    page.mouse.down()
    page.mouse.move(760, 200, steps=4)
    page.mouse.up()
    assert page.locator("#after").bounding_box()["x"] == pytest.approx(left + 60, abs=1)  # type: ignore[index]
    expect(page.locator("#split")).to_have_attribute("aria-valuenow", "50")
    page.click("#zoom-fit")
    expect(page.locator("#zoom")).to_have_text(fit)
    page.mouse.move(500, 300)
    page.mouse.wheel(0, -300)
    expect(page.locator("#zoom")).not_to_have_text(fit)
    page.locator("#stage").focus()
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text(fit)
    page.keyboard.press("+")
    expect(page.locator("#zoom")).not_to_have_text(fit)
    page.click("#zoom-fit")
    page.locator("#stage").dblclick(position={"x": 200, "y": 150})
    expect(page.locator("#zoom")).not_to_have_text(fit)


def test_a_large_photograph_is_previewed_small_and_zoomed_sharp(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, as_file("large.jpg", by_opencv(smooth_gray(2000, 3000), ".jpg"), "image/jpeg"))
    assert page.eval_on_selector("#after", "image => image.naturalWidth") == 1024
    page.click("#zoom-full")
    wait_for_change(page, key)
    expect(page.locator("#zoom")).to_have_text("100 %")
    assert page.eval_on_selector("#after", "image => image.naturalWidth") == 3000


def test_the_overlay_hatches_only_where_it_is_unsure(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    expect(page.locator("#veil")).to_be_hidden()
    sure = np.full((341, 512), 255, np.uint8)
    sure[:, :256] = 20
    page.route("**/confidence*", lambda route: route.fulfill(body=by_opencv(sure, ".png"), content_type="image/png"))
    page.click("#overlay")
    expect(page.locator("#veil")).to_be_visible()
    expect(page.locator("#legend")).to_be_visible()
    left, right = page.eval_on_selector(
        "#veil",
        """veil => [0, veil.width / 2].map((x) => {
            const { data } = veil.getContext("2d").getImageData(x, 0, veil.width / 2, veil.height);
            return data.filter((value, index) => index % 4 === 3 && value > 0).length / (data.length / 4);
        })""",
    )
    assert 0.2 < left < 0.5
    assert right == 0
    assert page.locator("#veil").bounding_box() == page.locator("#after").bounding_box()
    page.click("#overlay")
    expect(page.locator("#veil")).to_be_hidden()


def test_where_nothing_is_unsure_that_is_said(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    page.click("#overlay")
    expect(page.locator("#toast-text")).to_contain_text("nowhere unsure")


def test_the_overlay_is_that_of_the_size_that_is_shown(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    maps = Held(page, "**/confidence*", "GET")
    page.click("#overlay")
    first = maps.wait_for(1)
    answer = first.fetch()
    page.eval_on_selector("#finer", "box => { box.open = true; }")
    page.select_option("#size", "128")
    wait_for_change(page, key)
    first.fulfill(response=answer)
    second = maps.wait_for(2)
    assert second.request.url != first.request.url
    second.continue_()
    expect(page.locator("#veil")).to_be_visible()


def test_versions_are_shown_and_can_be_chosen(open_page: Opener, server: Server) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    wait_for_versions(page)
    inferences = server.metric(INFERENCES)
    images = page.locator("#variants img")
    expect(images).to_have_count(4)
    assert all(images.nth(i).evaluate("image => image.naturalWidth") == 256 for i in range(4))
    with page.expect_request(lambda request: "variant=3" in request.url and "max_side=256" not in request.url):
        page.get_by_role("button", name="Version 3").click()
    wait_for_change(page, key)
    expect(page.get_by_role("button", name="Version 3")).to_have_attribute("aria-pressed", "true")
    page.click("#more")
    expect(images).to_have_count(8)
    assert server.metric(INFERENCES) == inferences


def test_a_reference_photograph_is_followed(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    page.locator("#reference-box summary").click()
    with page.expect_request(lambda request: "reference=" in request.url and "reference_strength=0.5" in request.url):
        page.set_input_files("#reference-file", CHELSEA)
    wait_for_change(page, key)
    key = settle(page)
    expect(page.locator("#reference-shown")).to_be_visible()
    with page.expect_request(lambda request: "reference_strength=1" in request.url):
        fill_range(page, "#strength", 1)
    page.click("#reference-drop")
    wait_for_change(page, key)
    expect(page.locator("#reference-shown")).to_be_hidden()


@pytest.mark.parametrize("fate", ["kept", "refused"])
def test_what_becomes_of_a_reference_does_not_affect_its_successor(open_page: Opener, fate: str) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    page.locator("#reference-box summary").click()
    posts = Held(page, "**/pictures")
    page.set_input_files("#reference-file", CHELSEA)
    posts.wait_for(1)
    blue = np.full((40, 60, 3), (30, 60, 200), np.uint8)
    page.set_input_files("#reference-file", [as_file("blue.png", by_pillow(blue, "PNG"))])  # type: ignore[arg-type]
    with page.expect_request(lambda request: "reference=" in request.url) as asked:
        posts.wait_for(2).continue_()
    successor = re.search(r"[?&]reference=([^&]+)", asked.value.url).group(1)  # type: ignore[union-attr]
    wait_for_change(page, key)
    key = settle(page)
    if fate == "kept":
        with page.expect_response(lambda response: response.request.method == "DELETE") as forgotten:
            posts.wait_for(1).continue_()
        assert successor not in forgotten.value.url
    else:
        refuse_to_keep(posts.wait_for(1))
    with page.expect_request(lambda request: "vividness=1" in request.url) as asked:
        fill_range(page, "#vividness", 1)
    assert f"reference={successor}" in asked.value.url
    wait_for_change(page, key)
    expect(page.locator("#cover")).to_be_hidden()


def test_a_reference_belongs_to_the_photograph_that_it_was_picked_for(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE, CHELSEA)
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    page.locator("#reference-box summary").click()
    posts = Held(page, "**/pictures")
    page.set_input_files("#reference-file", CHELSEA)
    posts.wait_for(1)
    page.locator("#strip .shot").nth(1).click()
    with page.expect_request(lambda request: "reference=" in request.url):
        posts.routes[0].continue_()
    expect(page.locator("#reference-shown")).to_be_hidden()
    page.locator("#strip .shot").nth(0).click()
    expect(page.locator("#reference-shown")).to_be_visible()


def test_a_look_can_be_used_for_all_photographs(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE, CHELSEA)
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    fill_range(page, "#vividness", 0.8)
    wait_for_change(page, key)
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#vividness-shown")).to_have_text("0.50")
    page.locator("#strip .shot").nth(0).click()
    page.click("#for-all")
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#vividness-shown")).to_have_text("0.80")


def test_a_look_for_all_posts_few_at_a_time_and_comes_through(open_page: Opener, small_server: Server) -> None:
    page = open_page(to=small_server)
    key = put_in(page, *(noisy(f"{number}.png", number) for number in range(5)))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (5)")
    fill_range(page, "#saturation", 0)
    wait_for_change(page, key)
    posts = Held(page, "**/colorize?*")
    page.click("#for-all")
    posts.wait_for(2)
    let_requests_come(page)
    assert len(posts.routes) == 2
    refuse(posts.routes[0], 503, "overloaded", **{"Retry-After": "1"})
    for count in range(2, 6):
        posts.wait_for(count).continue_()
    expect(page.locator("#save-all")).to_have_text("All as ZIP (5)")
    page.wait_for_function(
        """() => [...document.querySelectorAll("#strip canvas")].every((canvas) => {
            const { data } = canvas.getContext("2d").getImageData(96, 72, 20, 20);
            return data.every((value, i) => i % 4 === 3 || Math.abs(value - data[i - (i % 4)]) < 4);
        })"""
    )


def test_a_photograph_on_its_way_is_waited_for_not_posted_twice(open_page: Opener, small_server: Server) -> None:
    page = open_page(to=small_server)
    key = put_in(page, COFFEE, noisy("large.png"))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    fill_range(page, "#saturation", 0)
    wait_for_change(page, key)
    key = settle(page)
    posts = Held(page, "**/colorize?*")
    page.click("#for-all")
    posts.wait_for(1)
    page.locator("#strip .shot").nth(1).click()
    let_requests_come(page)
    # Nobody has to wait for it who looks at another one.
    page.locator("#strip .shot").nth(0).click()
    settle(page)
    page.locator("#strip .shot").nth(1).click()
    posts.routes[0].continue_()
    assert settle(page) != key
    assert len(posts.routes) == 1


def test_answers_at_full_size_are_held_as_far_as_there_is_room(open_page: Opener, small_server: Server) -> None:
    page = open_page(to=small_server)
    put_in(page, *(noisy(f"{number}.png", number) for number in range(4)))
    expect(page.locator("#save-all")).to_have_text("All as ZIP (4)")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)

    def posted_while_each_is_looked_at() -> int:
        before = len(posts)
        for number in range(4):
            page.locator("#strip .shot").nth(number).click()
            settle(page)
        return len(posts) - before

    assert posted_while_each_is_looked_at() == 0
    # Two of this size may be held besides the one on the screen.
    key = settle(page)
    page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 60e6 })")
    fill_range(page, "#vividness", 1)
    wait_for_change(page, key)
    page.click("#for-all")
    expect(page.locator("#save-all")).to_have_text("All as ZIP (4)")
    assert posted_while_each_is_looked_at() > 0


# ---------------------------------------------------------------------------------------------- when something is wrong


def test_a_picture_that_the_service_has_forgotten_is_posted_again(open_page: Opener, server: Server) -> None:
    page = open_page()
    with page.expect_response(lambda response: response.request.method == "POST") as posted:
        key = put_in(page, COFFEE)
    wait_for_versions(page)
    inferences = server.metric(INFERENCES)
    assert server.client.delete(f"/pictures/{posted.value.json()['id']}").status_code == 204
    fill_range(page, "#vividness", 0.9)
    wait_for_change(page, key)
    expect(page.locator("#message")).to_be_hidden()
    assert server.metric(INFERENCES) == inferences + 1


def test_what_was_forgotten_and_removed_is_not_posted_again(open_page: Opener, server: Server) -> None:
    page = open_page()
    with page.expect_response(lambda response: response.request.method == "POST") as posted:
        put_in(page, COFFEE)
    wait_for_versions(page)
    assert server.client.delete(f"/pictures/{posted.value.json()['id']}").status_code == 204
    posts = Held(page, "**/pictures")
    fill_range(page, "#vividness", 0.9)
    posts.wait_for(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="Remove coffee.jpg").click()
    expect(page.locator("#welcome")).to_be_visible()
    let_requests_come(page)
    assert [url for url in asked if "pictures" in url] == []


def test_posting_again_what_was_forgotten_leaves_nobody_waiting(open_page: Opener, server: Server) -> None:
    page = open_page()
    names: list[str] = []
    page.on("response", lambda response: names.append(response.json()["id"]) if response.status == 201 else None)
    put_in(page, COFFEE, CHELSEA)
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    wait_for_versions(page)
    assert [server.client.delete(f"/pictures/{name}").status_code for name in names] == [204, 204]
    posts = Held(page, "**/pictures")
    fill_range(page, "#vividness", 0.9)
    posts.wait_for(1)
    page.click("#for-all")
    posts.wait_for(2)
    choose(page, as_file("third.png", by_pillow(smooth_gray(40, 60), "PNG")))
    expect(page.locator("#strip li")).to_have_count(3)
    for count in (1, 2, 3):
        posts.wait_for(count).continue_()
    expect(page.locator("#save-all")).to_have_text("All as ZIP (3)")


def test_a_picture_that_comes_late_does_not_speak_for_the_next_one(open_page: Opener) -> None:
    page = open_page()
    put_in(page, COFFEE)
    wait_for_versions(page)
    posts = Held(page, "**/pictures")
    choose(page, CHELSEA)
    posts.wait_for(1)
    page.evaluate(
        """() => {
            document.querySelector("#after").decode = () => new Promise((resolve) => { window.decoded = resolve; });
        }"""
    )
    fill_range(page, "#vividness", 0.9)
    page.wait_for_function("() => window.decoded")
    page.locator("#strip .shot").nth(1).click()
    expect(page.locator("#cover")).to_have_text(re.compile("Sending|Coloring"))
    page.evaluate("() => new Promise((resolve) => { decoded(); setTimeout(resolve); })")
    expect(page.locator("#cover")).to_be_visible()
    assert page.get_attribute("#after", "data-shown") is None


def test_a_busy_service_is_asked_again_after_a_countdown(open_page: Opener) -> None:
    page = open_page()
    page.route("**/pictures", lambda route: refuse(route, 503, "overloaded", **{"Retry-After": "2"}), times=1)
    choose(page, COFFEE)
    expect(page.locator("#message")).to_contain_text(re.compile("too much to do just now. Trying again in [12] s"))
    settle(page)
    expect(page.locator("#message")).to_be_hidden()


def test_a_network_that_goes_costs_nothing(open_page: Opener) -> None:
    page = open_page()
    key = put_in(page, COFFEE)
    page.context.set_offline(True)
    fill_range(page, "#vividness", 0.9)
    expect(page.locator("#cover")).to_contain_text("The service cannot be reached")
    page.context.set_offline(False)
    wait_for_change(page, key)
    expect(page.locator("#cover")).to_be_hidden()
    expect(page.locator("#strip li")).to_have_count(1)


def test_without_kept_pictures_and_with_a_key_it_works_too(open_page: Opener, strict_server: Server) -> None:
    page = open_page(to=strict_server)
    choose(page, COFFEE)
    expect(page.locator("#lock")).to_be_visible()
    page.fill("#key", "wrong-but-long-enough")
    page.keyboard.press("Enter")
    expect(page.locator("#lock-why")).to_contain_text("does not know the key")
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    key = settle(page)
    assert not page.locator("#lock").is_visible()
    expect(page.locator("#versions")).to_be_hidden()
    expect(page.locator("#overlay")).to_be_hidden()
    before = shown_pixels(page)
    inferences = strict_server.metric(INFERENCES)
    fill_range(page, "#vividness", 1)
    wait_for_change(page, key)
    assert strict_server.metric(INFERENCES) > inferences
    assert np.abs(shown_pixels(page).astype(int) - before).mean() > 1
    with page.expect_download() as waiting:
        page.click("#save")
    with Image.open(waiting.value.path()) as image:
        assert image.size == (512, 341)


def test_a_reference_is_taken_before_the_page_knows_that_none_is_kept(open_page: Opener, strict_server: Server) -> None:
    page = open_page(to=strict_server)
    page.evaluate("key => sessionStorage.setItem('photochrom-key', key)", KEY)
    posts = Held(page, "**/pictures")
    choose(page, COFFEE)
    posts.wait_for(1)
    page.locator("#reference-box summary").click()
    page.set_input_files("#reference-file", CHELSEA)
    posts.wait_for(2).continue_()
    expect(page.locator("#reference-shown")).to_be_visible()
    with page.expect_request(lambda request: "/colorize?" in request.url and "reference_strength=0.5" in request.url):
        posts.routes[0].continue_()
    settle(page)
    expect(page.locator("#message")).to_be_hidden()


def test_what_has_no_room_to_be_kept_is_colored_all_the_same(open_page: Opener, small_server: Server) -> None:
    large = noisy("large.png")
    page = open_page(to=small_server)
    key = put_in(page, large)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#versions")).to_be_hidden()
    with page.expect_request(lambda request: "/colorize?vividness=1" in request.url):
        fill_range(page, "#vividness", 1)
    wait_for_change(page, key)
    # Another one has room; as its reference the large one goes along each time.
    choose(page, COFFEE)
    page.locator("#strip .shot").nth(1).click()
    settle(page)
    expect(page.locator("#versions")).to_be_visible()
    page.locator("#reference-box summary").click()
    with page.expect_request(lambda request: "/colorize?" in request.url and "reference_strength=0.5" in request.url):
        page.set_input_files("#reference-file", [large])  # type: ignore[arg-type]
    settle(page)
    expect(page.locator("#reference-shown")).to_be_visible()
    expect(page.locator("#versions")).to_be_hidden()
    with page.expect_request("**/pictures/*?*"):
        page.click("#reference-drop")
    expect(page.locator("#versions")).to_be_visible()


def test_the_overlay_goes_and_comes_with_the_room_for_a_reference(open_page: Opener, small_server: Server) -> None:
    page = open_page(to=small_server)
    put_in(page, COFFEE)
    page.click("#overlay")
    expect(page.locator("#veil")).to_be_visible()
    page.locator("#reference-box summary").click()
    page.set_input_files("#reference-file", [noisy("large.png")])  # type: ignore[arg-type]
    expect(page.locator("#overlay")).to_be_hidden()
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.locator("#legend")).to_be_hidden()
    expect(page.locator("#live")).to_contain_text("no room to keep the reference: there are no versions")
    settle(page)
    expect(page.locator("#veil")).to_be_hidden()
    page.click("#reference-drop")
    expect(page.locator("#overlay")).to_be_visible()
    expect(page.locator("#veil")).to_be_visible()
    expect(page.locator("#legend")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("There are versions again")


def test_what_is_known_of_a_kept_photograph_outlasts_a_reference_without_room(
    open_page: Opener, small_server: Server
) -> None:
    page = open_page(to=small_server)
    key = put_in(page, COFFEE)
    facts = page.locator("#facts").inner_text()
    page.set_input_files("#reference-file", [noisy("large.png")])  # type: ignore[arg-type]
    wait_for_change(page, key)
    choose(page, CHELSEA)
    page.locator("#strip .shot").nth(1).click()
    page.locator("#strip .shot").nth(0).click()
    expect(page.locator("#facts")).to_have_text(facts)
    expect(page.locator("#scenes li")).to_have_count(len(onnx_factory.SCENES))
    expect(page.locator("#sureness")).to_contain_text("sure of the colors")
    # What was kept at another size does not stand in for what is wanted now.
    page.locator("#finer summary").click()
    with page.expect_request(lambda request: "/colorize?" in request.url and "size=128" in request.url):
        page.select_option("#size", "128")
    page.locator("#reference-box summary").click()
    with page.expect_request(lambda request: request.method == "POST" and "/pictures?size=128" in request.url):
        page.click("#reference-drop")
    settle(page)


def test_a_reference_that_pushes_its_photograph_out_goes_along_instead(open_page: Opener, small_server: Server) -> None:
    page = open_page(to=small_server)
    key = put_in(page, noisy("photograph.png", 1, side=600))
    expect(page.locator("#versions")).to_be_visible()
    reference = noisy("reference.png", 2, side=600)
    with page.expect_request(lambda request: "/colorize?" in request.url and "reference_strength=0.5" in request.url):
        page.set_input_files("#reference-file", [reference])  # type: ignore[arg-type]
    wait_for_change(page, key)
    expect(page.locator("#message")).to_be_hidden()
    expect(page.locator("#versions")).to_be_hidden()


def test_leaving_and_removing_let_the_service_forget(open_page: Opener, server: Server) -> None:
    page = open_page()
    with page.expect_response(lambda response: response.request.method == "POST") as posted:
        put_in(page, COFFEE)
    name = f"/pictures/{posted.value.json()['id']}"
    assert server.client.get(f"{name}?max_side=64").status_code == 200
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.get_by_role("button", name="Remove coffee.jpg").click()
    assert server.client.get(f"{name}?max_side=64").status_code == 404
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator("#pick")).to_be_focused()


# ------------------------------------------------------------------------------------------------------- for everyone


def test_a_phone_has_no_sideways_scroll(open_page: Opener) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    offer_colors(page, "#4060a0", "#a06040")
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    put_in(page, COFFEE, CHELSEA)
    for box in ("#finer", "#hint-box", "#reference-box"):
        page.locator(f"{box} > summary").click()
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    sizes = page.eval_on_selector_all(
        "button:not(#marks *), select, summary",
        "all => all.map((each) => [each.offsetHeight, each.id || each.textContent]).filter(([height]) => height)",
    )
    assert [size for size in sizes if size[0] < 44] == []
    page.click("#hint-middle")
    page.locator("#plausible button").first.click()
    assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    assert page.locator("#swatches").bounding_box()["y"] > 740 * 0.45  # type: ignore[index]
    page.click("#swatches-done")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    stage = page.locator("#stage").bounding_box()
    assert stage
    assert stage["y"] == 0
    assert stage["height"] <= 0.45 * PHONE["height"] + 1


def test_a_finger_moves_the_slider_and_two_zoom(open_page: Opener) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    put_in(page, COFFEE)
    stage = page.locator("#stage").bounding_box()
    assert stage
    y = stage["y"] + 60
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *xs: float) -> None:
        points = [{"x": x, "y": y, "id": number} for number, x in enumerate(xs)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 180)
    for x in (190, 230, 270):
        touch("touchMove", x)
    touch("touchEnd")
    expect(page.locator("#split")).to_have_attribute("aria-valuenow", "75")
    fit = page.locator("#zoom").inner_text()
    touch("touchStart", 150, 210)
    for spread in (50, 90, 120):
        touch("touchMove", 180 - spread, 180 + spread)
    touch("touchEnd")
    expect(page.locator("#zoom")).not_to_have_text(fit)


def test_dark_follows_the_system_and_the_switch(open_page: Opener) -> None:
    page = open_page(color_scheme="dark")
    assert max(color_of(page, "body")) < 40 < 200 < min(color_of(page, "body", "color"))
    page.get_by_role("button", name="Light colors").click()
    assert min(color_of(page, "body")) > 200 > 60 > max(color_of(page, "body", "color"))
    page.reload()
    page.get_by_role("button", name="Dark colors").wait_for()
    assert min(color_of(page, "body")) > 200


def test_everything_can_be_done_by_keyboard(open_page: Opener) -> None:
    page = open_page()
    # From here on choosers are caught: to begin with that at the key press can lose the chooser on a busy machine.
    page.on("filechooser", lambda _chooser: None)

    def tab_to(selector: str) -> None:
        for _ in range(60):
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab never comes to {selector}")

    tab_to("#pick")
    with page.expect_file_chooser() as waiting:
        page.keyboard.press("Enter")
    waiting.value.set_files(COFFEE)
    key = settle(page)
    page.evaluate("document.activeElement.blur()")
    tab_to("#split")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#split")).to_have_attribute("aria-valuenow", "52")
    outline = page.eval_on_selector("#split span", "knob => getComputedStyle(knob).outlineStyle")
    assert outline == "solid"
    tab_to("#vividness")
    page.keyboard.press("End")
    wait_for_change(page, key)
    expect(page.locator("#vividness-shown")).to_have_text("1.00")
    tab_to("#hint-box > summary")
    page.keyboard.press("Enter")
    tab_to("#hint-middle")
    page.keyboard.press("Enter")
    expect(page.locator("#swatches button:focus")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#hints li")).to_have_count(1)
    page.keyboard.press("Escape")
    mark = page.get_by_role("button", name="Point 1, color")
    expect(mark).to_be_focused()
    across = page.get_by_label("Point 1, percent across")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(across).to_have_value("52")
    page.keyboard.press("Control+z")
    expect(across).to_have_value("51")
    page.keyboard.press("Delete")
    expect(page.locator("#hints li")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(page.locator("#hints li")).to_have_count(1)
    across.fill("20")
    page.evaluate("async () => (await import('/page/state.js')).changed()")  # Whatever comes while somebody types.
    page.keyboard.press("Tab")
    expect(across).to_have_value("20")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Opener, scheme: str) -> None:
    page = open_page(color_scheme=scheme, reduced_motion="reduce")

    def check(state: str) -> None:
        results = Axe().run(page)
        assert results.violations_count == 0, f"{state}: {results.generate_report()}"

    check("empty")
    put_in(page, COFFEE, CHELSEA, as_file("notes.txt", b"no photograph", "text/plain"))
    expect(page.locator("#strip .failed")).to_have_count(1)
    expect(page.locator("#save-all")).to_have_text("All as ZIP (2)")
    for box in ("#finer", "#hint-box", "#reference-box", "#seen", "#failures"):
        page.locator(f"{box} > summary").click()
    page.click("#hint-middle")
    page.locator("#presets button").first.click()
    check("fixing a color")
    page.click("#swatches-done")
    page.click("#overlay")
    page.set_input_files("#reference-file", CHELSEA)
    expect(page.locator("#reference-shown")).to_be_visible()
    settle(page)
    check("with photographs")
    page.click("#grid")
    check("all at once")
    page.click("#grid")
    page.locator("#strip .shot").nth(2).click()
    check("with an error")
    page.click("#help-open")
    check("with help")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('#lock').showModal()")
    check("with the dialog")


def test_nothing_moves_for_those_who_want_it_still(open_page: Opener) -> None:
    counts = []
    for motion in ("no-preference", "reduce"):
        page = open_page(reduced_motion=motion)
        put_in(page, COFFEE)
        page.eval_on_selector("#stage", 'stage => stage.setAttribute("aria-busy", "true")')
        counts.append(page.evaluate("document.getAnimations({ subtree: true }).filter(a => a.animationName).length"))
    assert counts == [1, 0]


def test_a_tiff_is_shown_although_browsers_cannot_in_color_first(open_page: Opener) -> None:
    page = open_page()
    asked: list[bool] = []
    page.on("request", lambda request: "/pictures/" in request.url and asked.append("saturation=0" in request.url))
    gray = cv2.resize(cv2.imread(str(COFFEE), cv2.IMREAD_GRAYSCALE), (90, 60))
    put_in(page, as_file("scan.tif", by_opencv(gray, ".tiff"), "image/tiff"))
    page.wait_for_function('() => document.querySelector("#before").naturalWidth > 0')
    expect(page.locator("#before")).to_be_visible()
    assert asked[:2] == [False, True]


def test_addresses_of_what_was_shown_are_given_back(open_page: Opener) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            window.live = new Set();
            const { createObjectURL, revokeObjectURL } = URL;
            URL.createObjectURL = (blob) => { const url = createObjectURL(blob); live.add(url); return url; };
            URL.revokeObjectURL = (url) => { live.delete(url); revokeObjectURL(url); };
        }"""
    )
    gray = cv2.resize(cv2.imread(str(COFFEE), cv2.IMREAD_GRAYSCALE), (90, 60))
    put_in(page, as_file("scan.tif", by_opencv(gray, ".tiff"), "image/tiff"), CHELSEA)
    for number in (1, 0, 1, 0):
        page.locator("#strip .shot").nth(number).click()
        settle(page)
        page.wait_for_function('() => document.querySelector("#before").naturalWidth > 0')
    for count in range(2):
        key = settle(page)
        page.set_input_files("#reference-file", (CHELSEA, COFFEE)[count])
        wait_for_change(page, key)
    wait_for_versions(page)
    # Both photographs as they came, the one on the screen in color, and the reference.
    until(page, lambda: page.evaluate("live.size") == 4)
    assert page.evaluate("live.has(document.querySelector('#after').src)")
