"""Kept pictures over HTTP, with the tiny model: other knobs without an inference, limits, keys; and variants."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests import onnx_factory
from tests.pictures import by_opencv, by_pillow, levels, smooth_gray, with_orientation
from tests.tiffs import tiff

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
FADED = by_pillow(90 + smooth_gray(48, 64) // 4, "PNG")
COLOR = by_pillow(levels(40, 56, 3), "PNG")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def settings_with(model_path: Path, **changes: Any) -> Settings:
    return Settings(model=model_path, device="cpu", threads=2, **changes)


@pytest.fixture(scope="module")
def client(model_path: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_with(model_path)), raise_server_exceptions=False) as made:
        yield made


def keep(client: TestClient, data: bytes = GRAY, query: str = "", **headers: str) -> str:
    answer = client.post(f"/pictures{query}", content=data, headers={"Content-Type": "image/png", **headers})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def post(client: TestClient, data: bytes, query: str = "", **headers: str) -> Any:
    return client.post(f"/colorize{query}", content=data, headers={"Content-Type": "image/png", **headers})


def read(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def pixels_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return read(answer.content)


def check_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:photochrom:problem:{name}"
    return problem


def metric(client: TestClient, line: str) -> float:
    found = re.search(rf"^photochrom_{re.escape(line)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in 8-bit steps."""
    scale = 257 if one.dtype == np.uint16 else 1
    return float(np.abs(one.astype(float) - other.astype(float)).mean() / scale)


def test_what_is_told_of_a_kept_picture(client: TestClient) -> None:
    answer = client.post("/pictures", files={"image": ("p.jpg", with_orientation(smooth_gray(40, 56), 6))})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert answer.headers["location"] == f"pictures/{told['id']}"
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", told["id"])
    assert (told["width"], told["height"], told["megapixels"]) == (40, 56, 0.00224)
    assert (told["model"], told["expires_in_s"]) == ("tiny-0001", 900)
    assert {scene["name"] for scene in told["scene"]} == set(onnx_factory.SCENES)
    assert sum(scene["probability"] for scene in told["scene"]) == pytest.approx(1, abs=0.01)
    assert told["scene"] == sorted(told["scene"], key=lambda scene: -scene["probability"])
    assert 0 < told["confidence"]["mean"] <= 1
    assert pixels_of(client.get(f"/{answer.headers['location']}")).shape == (56, 40, 3)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "mode=regression",
        "mode=fused",
        "mode=argmax",
        "vividness=0",
        "vividness=1&saturation=2",
        "temperature=2",
        "enlargement=guided",
        "look=warm",
        "look=vivid&mode=fused",
        "look=photochrom",
        "look=autochrome&mode=regression",
        "look=transparency",
        "hints=0.5,0.5,c03020;0.1,0.9,-12:30",
        "regions=gray/0.2,0.2,0.03&format=jpeg",
        "format=json",
        "depth=16&format=tiff",
    ],
)
@pytest.mark.parametrize(
    "data",
    [
        GRAY,
        COLOR,
        by_pillow(levels(40, 50, 4), "PNG"),
        by_opencv(smooth_gray(40, 50, dtype=np.uint16), ".png"),
        by_opencv(levels(40, 50, 4, dtype=np.uint16), ".png"),
    ],
    ids=["gray", "color", "rgba", "deep", "deep-rgba"],
)
def test_the_same_bytes_come_out_either_way(client: TestClient, data: bytes, query: str) -> None:
    asked = post(client, data, f"?{query}")
    assert asked.status_code == 200
    id = keep(client, data)
    runs = metric(client, "batch_size_count")
    assert client.get(f"/pictures/{id}?{query}").content == asked.content
    assert metric(client, "batch_size_count") == runs


def test_the_size_of_the_inference_is_kept(client: TestClient) -> None:
    id = keep(client, GRAY, "?size=96")
    asked = post(client, GRAY, "?size=96").content
    assert client.get(f"/pictures/{id}").content == asked
    assert client.get(f"/pictures/{keep(client)}").content != asked
    pages = tiff(smooth_gray(20, 30), pages=2)
    assert client.get(f"/pictures/{keep(client, pages, '?page=2')}").content == post(client, pages, "?page=2").content


def test_a_faded_picture_says_that_its_tones_were_stretched(client: TestClient) -> None:
    for data, query, tone in (
        (FADED, "", "applied"),
        (FADED, "tone=auto", "applied"),
        (FADED, "tone=off", "none"),
        (GRAY, "", "none"),
    ):
        assert post(client, data, f"?format=json&{query}").json()["tone"] == tone
        told = client.post(f"/pictures?{query}", files={"image": ("p.png", data)}).json()
        assert told["tone"] == tone
        assert client.get(f"/pictures/{told['id']}?format=json").json()["tone"] == tone


def test_tones_change_the_color_and_the_tag_of_faded_pictures_alone(client: TestClient) -> None:
    auto, off = (post(client, FADED, f"?tone={tone}") for tone in ("auto", "off"))
    assert far(pixels_of(auto), pixels_of(off)) > 0.1
    assert auto.headers["etag"] != off.headers["etag"]
    assert post(client, GRAY, "?tone=off").content == post(client, GRAY).content
    kept = [client.get(f"/pictures/{keep(client, FADED, f'?tone={tone}')}") for tone in ("auto", "off")]
    assert kept[0].headers["etag"] != kept[1].headers["etag"]
    for fresh, again in zip((auto, off), kept, strict=True):
        assert fresh.content == again.content


def test_pictures_whose_pixels_are_not_kept_come_out_the_same(model_path: Path) -> None:
    data = by_pillow(levels(240, 320, 3), "PNG")
    with TestClient(create_app(settings_with(model_path, kept_bytes=800_000))) as small:
        id = keep(small, data)
        pictures = small.app.state.services.pipeline.kept  # type: ignore[attr-defined]
        assert pictures.get(id, "").ready is None
        assert post(small, data).content == small.get(f"/pictures/{id}").content


def test_knobs_work_on_a_kept_picture_and_formats_too(client: TestClient) -> None:
    id = keep(client)
    plain = pixels_of(client.get(f"/pictures/{id}"))
    for query in ("vividness=0", "saturation=0.5", "mode=argmax", "temperature=2", "hints=0.5,0.5,00ff00"):
        assert not np.array_equal(plain, pixels_of(client.get(f"/pictures/{id}?{query}"))), query
    for output_format in ("png", "jpeg", "webp"):
        for given in ({"params": {"format": output_format}}, {"headers": {"Accept": f"image/{output_format}"}}):
            answer = client.get(f"/pictures/{id}", **given)  # type: ignore[arg-type]
            assert answer.headers["content-type"] == f"image/{output_format}"
            assert pixels_of(answer).shape == (48, 64, 3)
    check_problem(client.get(f"/pictures/{id}", headers={"Accept": "image/gif"}), 406, "not-acceptable")


@pytest.mark.parametrize("data", [by_pillow(smooth_gray(200, 300), "PNG"), by_pillow(levels(200, 300, 4), "PNG")])
def test_a_preview_is_smaller_and_alike(client: TestClient, data: bytes) -> None:
    id = keep(client, data)
    whole = pixels_of(client.get(f"/pictures/{id}"))
    small = pixels_of(client.get(f"/pictures/{id}?max_side=100"))
    assert small.shape == (67, 100, whole.shape[2])
    assert pixels_of(client.get(f"/pictures/{id}?max_side=300")).shape == whole.shape
    assert pixels_of(client.get(f"/pictures/{id}?max_side=5000")).shape == whole.shape
    if whole.shape[2] == 3:
        assert far(small, cv2.resize(whole, (100, 67), interpolation=cv2.INTER_AREA)) < 2


def test_who_has_the_answer_already_gets_none(client: TestClient) -> None:
    id = keep(client)
    first = client.get(f"/pictures/{id}?vividness=0.7")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-store"
    again = client.get(f"/pictures/{id}?vividness=0.7", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    for query in (
        "vividness=0.8",
        "vividness=0.7&hints=0,0,000000",
        "vividness=0.7&max_side=64",
        "vividness=0.7&variant=2",
    ):
        assert client.get(f"/pictures/{id}?{query}", headers={"If-None-Match": tag}).status_code == 200
    # The same bytes, kept again, are the same picture.
    assert client.get(f"/pictures/{keep(client)}?vividness=0.7").headers["etag"] == tag


def test_a_picture_can_be_let_go(client: TestClient) -> None:
    id = keep(client)
    answer = client.delete(f"/pictures/{id}")
    assert (answer.status_code, answer.content) == (204, b"")
    for asked in (
        client.get(f"/pictures/{id}"),
        client.get(f"/pictures/{id}/confidence"),
        client.get(f"/pictures/{id}/colors?x=0.5&y=0.5"),
        client.delete(f"/pictures/{id}"),
        client.get("/pictures/nobody-knows"),
        client.get(f"/pictures/{keep(client)}?reference={id}"),
    ):
        problem = check_problem(asked, 404, "picture-not-kept")
        assert "post it again" in problem["detail"]
        assert asked.headers["cache-control"] == "no-store"


def test_every_method_of_an_address_is_named(client: TestClient) -> None:
    for path, methods in (
        ("/pictures/x", "DELETE, GET, HEAD"),
        ("/pictures", "POST"),
        ("/pictures/x/confidence", "GET, HEAD"),
        ("/pictures/x/colors", "GET, HEAD"),
    ):
        answer = client.put(path)
        check_problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == methods


def test_the_confidence_is_drawn(client: TestClient) -> None:
    id = keep(client, by_pillow(smooth_gray(100, 1200), "PNG"))
    answer = client.get(f"/pictures/{id}/confidence")
    assert answer.headers["content-type"] == "image/png"
    drawn = pixels_of(answer)
    assert (drawn.shape, drawn.dtype) == ((43, 512), np.uint8)
    mean = client.get(f"/pictures/{id}?format=json").json()["confidence"]["mean"]
    assert drawn.mean() / 255 == pytest.approx(mean, abs=0.02)
    assert pixels_of(client.get(f"/pictures/{keep(client)}/confidence")).shape == (48, 64)


def test_the_colors_of_a_place_are_listed(client: TestClient, model_path: Path) -> None:
    """Of the tiny model black is blue and white is orange; the very place counts, of the upright picture."""
    gray = np.repeat(np.repeat(np.array([[40, 215]], np.uint8), 96, axis=0), 64, axis=1)
    id = keep(client, with_orientation(gray, 6))  # Turned: dark is at the top.
    runs = metric(client, "batch_size_count")
    found = {}
    for name, y in (("dark", 0.1), ("light", 0.9)):
        answer = client.get(f"/pictures/{id}/colors?x=0.5&y={y}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        colors = answer.json()["colors"]
        shares = [each["share"] for each in colors]
        assert 1 <= len(colors) <= 6
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1
        red, _, blue = bytes.fromhex(colors[0]["color"][1:])
        found[name] = (red, blue)
    assert found["dark"][1] > found["dark"][0]
    assert found["light"][0] > found["light"][1]
    assert metric(client, "batch_size_count") == runs
    data = by_pillow(levels(240, 320, 3), "PNG")
    with TestClient(create_app(settings_with(model_path, kept_bytes=800_000))) as small:
        where = "colors?x=0.3&y=0.7"
        kept = small.app.state.services.pipeline.kept  # type: ignore[attr-defined]
        without = keep(small, data)
        assert kept.get(without, "").ready is None
        again = small.get(f"/pictures/{without}/{where}").json()
        assert again == client.get(f"/pictures/{keep(client, data)}/{where}").json()


@pytest.mark.parametrize(
    ("query", "option"),
    [
        ("", "x"), ("x=0.5", "y"), ("x=1.01&y=0", "x"), ("x=0&y=-0.1", "y"), ("x=nan&y=0", "x"), ("x=a&y=0", "x"),
        ("x=0&y=0&variant=2", "variant"), ("x=0&x=0&y=0", "x"),
    ],
)  # fmt: skip
def test_what_is_no_place_is_named(client: TestClient, query: str, option: str) -> None:
    problem = check_problem(client.get(f"/pictures/{keep(client)}/colors?{query}"), 422, "invalid-option")
    assert problem["errors"][0]["option"] == option


@pytest.mark.parametrize("mode", ["annealed", "regression", "fused", "argmax"])
def test_a_warm_look_is_warmer_and_a_reference_wins(client: TestClient, mode: str) -> None:
    id, palette = keep(client), keep(client, by_pillow(np.full((8, 8, 3), (40, 60, 200), np.uint8), "PNG"))

    def blue_yellow(query: str) -> float:
        answer = pixels_of(client.get(f"/pictures/{id}?mode={mode}&{query}"))
        return float(cv2.cvtColor(answer.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[..., 2].mean())

    assert blue_yellow("look=warm") > blue_yellow("look=natural") + 0.2
    followed, warm = (
        pixels_of(client.get(f"/pictures/{id}?mode={mode}&reference={palette}&look={look}"))
        for look in ("natural", "warm")
    )
    np.testing.assert_array_equal(followed, warm)


def test_looks_of_a_time_have_its_colors_and_a_reference_wins(client: TestClient) -> None:
    id, palette = keep(client), keep(client, by_pillow(np.full((8, 8, 3), (40, 60, 200), np.uint8), "PNG"))
    looks = ("natural", "photochrom", "autochrome", "transparency")
    labs = {
        look: cv2.cvtColor(
            pixels_of(client.get(f"/pictures/{id}?vividness=0.5&look={look}")).astype(np.float32) / 255,
            cv2.COLOR_BGR2LAB,
        )
        for look in looks
    }
    blue_yellow = {look: float(lab[..., 2].mean()) for look, lab in labs.items()}
    chroma = {look: float(np.linalg.norm(lab[..., 1:], axis=-1).mean()) for look, lab in labs.items()}
    assert blue_yellow["photochrom"] > blue_yellow["natural"] + 0.2
    assert float(np.abs(labs["transparency"] - labs["natural"])[..., 1:].mean()) > 0.2
    assert chroma["autochrome"] < chroma["natural"] - 0.2
    followed = {client.get(f"/pictures/{id}?vividness=0.5&reference={palette}&look={look}").content for look in looks}
    assert len({answer[-4096:] for answer in followed}) == 1


def test_a_look_brings_its_vividness_unless_one_is_given(client: TestClient) -> None:
    id = keep(client)
    plain, natural, vivid, point, given = (
        pixels_of(client.get(f"/pictures/{id}?{query}"))
        for query in ("", "look=natural", "look=vivid", "vividness=0.85", "look=vivid&vividness=0.5")
    )
    np.testing.assert_array_equal(plain, natural)
    np.testing.assert_array_equal(vivid, point)
    np.testing.assert_array_equal(plain, given)
    assert not np.array_equal(plain, vivid)
    problem = check_problem(client.get(f"/pictures/{id}?look=cold"), 422, "invalid-option")
    assert problem["errors"][0]["option"] == "look"


def test_room_is_bounded_and_counted(model_path: Path) -> None:
    with TestClient(create_app(settings_with(model_path, kept_bytes=900_000))) as small:
        first = keep(small)
        each = metric(small, "kept_bytes")
        assert each > len(GRAY) + 16 * 16 * 313 * 2 / 2
        fit = int(900_000 // each)
        others = [keep(small) for _ in range(fit)]
        assert metric(small, "kept_pictures") == fit
        assert metric(small, "kept_bytes") == fit * each <= 900_000
        assert metric(small, 'kept_evictions_total{reason="room"}') == 1
        check_problem(small.get(f"/pictures/{first}"), 404, "picture-not-kept")
        assert small.get(f"/pictures/{others[0]}").status_code == 200
        assert (metric(small, "kept_hits_total"), metric(small, "kept_misses_total")) == (1, 1)
        problem = check_problem(
            small.post("/pictures?size=512", content=GRAY, headers={"Content-Type": "image/png"}),
            413,
            "too-large-to-keep",
        )
        assert problem["limit"] == 900_000
        answer = small.post("/colorize?size=512", content=GRAY, headers={"Content-Type": "image/png"})
        assert answer.status_code == 200
        assert metric(small, "inflight_megapixels") == 0


def test_nothing_is_kept_when_it_is_switched_off(model_path: Path) -> None:
    with TestClient(create_app(settings_with(model_path, kept_bytes=0))) as off:
        for answer in (off.post("/pictures", content=GRAY), off.get("/pictures/x"), off.delete("/pictures/x")):
            assert "keeps no pictures" in check_problem(answer, 404, "picture-not-kept")["detail"]
        assert post(off, GRAY).status_code == 200


def test_only_the_same_key_opens_a_picture(model_path: Path) -> None:
    keys = ("the-first-of-two-keys", "the-second-of-two-keys")
    with TestClient(create_app(settings_with(model_path, api_keys=",".join(keys)))) as locked:
        check_problem(locked.post("/pictures", content=GRAY), 401, "unauthorized")
        id = keep(locked, GRAY, **{"X-API-Key": keys[0]})
        mine, other = {"Authorization": f"Bearer {keys[0]}"}, {"Authorization": f"Bearer {keys[1]}"}
        for path in (f"/pictures/{id}", f"/pictures/{id}/confidence", f"/pictures/{id}/colors?x=0&y=1"):
            check_problem(locked.get(path), 401, "unauthorized")
            check_problem(locked.get(path, headers=other), 404, "picture-not-kept")
            assert locked.get(path, headers=mine).status_code == 200
        theirs = keep(locked, GRAY, **{"X-API-Key": keys[1]})
        asked = locked.get(f"/pictures/{id}?reference={theirs}", headers=mine)
        check_problem(asked, 404, "picture-not-kept")
        check_problem(locked.delete(f"/pictures/{id}", headers=other), 404, "picture-not-kept")
        check_problem(locked.delete(f"/pictures/{id}"), 401, "unauthorized")
        assert locked.delete(f"/pictures/{id}", headers=mine).status_code == 204


@pytest.mark.parametrize(
    "query",
    [
        "variant=0", "variant=9", "max_side=10", "size=64", "variants=2", "hints=1", "hints=2,0,ffffff",
        "hints=0,0,fff", "hints=0,0,200:0", "hints=0,0,ffffff;", "reference_strength=2", "format=gif", "vividness=nan",
    ],
)  # fmt: skip
def test_nonsense_options_are_named(client: TestClient, query: str) -> None:
    problem = check_problem(client.get(f"/pictures/{keep(client)}?{query}"), 422, "invalid-option")
    assert [entry["option"] for entry in problem["errors"]] == [query.partition("=")[0]]


def test_a_wrong_hint_is_pointed_out(client: TestClient) -> None:
    asked = client.get(f"/pictures/{keep(client)}", params={"hints": "0.5,0.5,#c03020;0.1,1.2,#c03020"})
    problem = check_problem(asked, 422, "invalid-option")
    assert problem["errors"] == [{"option": "hints", "reason": "hint 2 of 2: y is '1.2', not a number from 0 to 1"}]
    assert problem["detail"] == "hints: hint 2 of 2: y is '1.2', not a number from 0 to 1."


def test_a_color_may_have_its_sharp(client: TestClient) -> None:
    id = keep(client)
    answers = [client.get(f"/pictures/{id}?hints=0.5,0.5,{color}") for color in ("c03020", "%23c03020", "%23C03020")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.content for answer in answers}) == 1


def test_an_answer_may_be_called_bytes(client: TestClient) -> None:
    """What generated clients ask for: the same picture under another name."""
    id, opaque = keep(client), {"Accept": "application/octet-stream"}
    for path in (f"/pictures/{id}", f"/pictures/{id}?format=jpeg", f"/pictures/{id}/confidence"):
        called, plain = client.get(path, headers=opaque), client.get(path)
        assert called.headers["content-type"] == "application/octet-stream"
        assert called.content == plain.content
    packed = client.post("/colorize?variants=2", content=GRAY, headers=opaque)
    assert packed.headers["content-type"] == "application/octet-stream"
    assert zipfile.is_zipfile(io.BytesIO(packed.content))


def test_only_so_many_hints_are_taken(client: TestClient) -> None:
    id = keep(client)
    hints = [f"{place / 64:.6f},0.5,ff8800" for place in range(65)]
    assert client.get(f"/pictures/{id}", params={"hints": ";".join(hints[:64])}).status_code == 200
    check_problem(client.get(f"/pictures/{id}", params={"hints": ";".join(hints)}), 422, "invalid-option")


@pytest.mark.parametrize("data", [b"", b"hello", GRAY[:-40]])
def test_bad_pictures_are_not_kept(client: TestClient, data: bytes) -> None:
    before = metric(client, "kept_pictures")
    answer = client.post("/pictures", content=data, headers={"Content-Type": "image/png"})
    assert answer.status_code in (415, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert metric(client, "kept_pictures") == before
    check_problem(client.post("/pictures", files={"reference": ("p.png", GRAY)}), 422, "invalid-option")


# ------------------------------------------------------------------------------------------ variants, hints, reference


def test_several_variants_come_in_a_zip(client: TestClient) -> None:
    runs = metric(client, "batch_size_count")
    answer = post(client, GRAY, "?variants=3&format=webp")
    assert answer.headers["content-type"] == "application/zip"
    assert metric(client, "batch_size_count") == runs + 1
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"variant-{number}.webp" for number in (1, 2, 3)]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        pictures = [archive.read(name) for name in archive.namelist()]
    assert pictures[0] == post(client, GRAY, "?format=webp").content
    shapes = {Image.open(io.BytesIO(data)).size for data in pictures}
    assert shapes == {(64, 48)}
    assert post(client, GRAY, "?variants=3&format=webp").content == answer.content
    assert "held_bytes 0.0" in client.get("/metrics").text


def test_a_variant_is_the_same_whatever_number_is_asked_for(client: TestClient) -> None:
    with zipfile.ZipFile(io.BytesIO(post(client, GRAY, "?variants=4").content)) as archive:
        four = [read(archive.read(name)) for name in archive.namelist()]
    id = keep(client)
    for number, picture in enumerate(four, start=1):
        assert far(picture, pixels_of(client.get(f"/pictures/{id}?variant={number}"))) < 0.2
    for mode in ("regression", "fused", "argmax"):
        one, two = (pixels_of(client.get(f"/pictures/{id}?mode={mode}&variant={number}")) for number in (1, 2))
        assert far(one, two) > 0.1, mode


def test_a_scan_without_grays_is_colored_with_a_note(client: TestClient) -> None:
    bilevel = by_pillow(Image.fromarray(smooth_gray(40, 50) > 128), "TIFF", compression="group4")
    told = post(client, bilevel, "?format=json").json()
    assert len(told["pictures"]) == 1
    assert told["notes"] == ["it is black and white alone, without grays: there is little to color"]
    assert post(client, GRAY, "?format=json").json()["notes"] == []
    kept = client.post("/pictures", content=bilevel).json()
    assert kept["notes"] == told["notes"]
    assert client.get(f"/pictures/{kept['id']}?format=json").json()["notes"] == told["notes"]
    assert client.post("/pictures", content=GRAY).json()["notes"] == []


def test_json_tells_what_the_network_thinks(client: TestClient) -> None:
    plain = post(client, GRAY)
    for answer in (
        post(client, GRAY, Accept="application/json"),
        post(client, GRAY, "?format=json"),
        client.get(f"/pictures/{keep(client)}", headers={"Accept": "application/json"}),
    ):
        assert answer.headers["content-type"] == "application/json"
        told = answer.json()
        facts = {"width", "height", "model", "computed_in", "scene", "tone", "notes", "palette", "confidence"}
        assert set(told) == facts | {"pictures"}
        assert (told["width"], told["height"], told["model"]) == (64, 48, "tiny-0001")
        assert [*told["scene"][0]] == ["name", "probability"]
        assert sum(color["share"] for color in told["palette"]) == pytest.approx(1, abs=0.01)
        assert all(re.fullmatch("#[0-9a-f]{6}", color["hex"]) for color in told["palette"])
        (picture,) = told["pictures"]
        assert (picture["variant"], picture["media_type"]) == (1, "image/png")
        assert base64.b64decode(picture["data"]) == plain.content
    assert base64.b64decode(post(client, GRAY, "?format=json").json()["pictures"][0]["data"]) == plain.content


def test_json_holds_several_variants_in_the_format_that_is_liked(client: TestClient) -> None:
    answer = post(client, GRAY, "?variants=2", Accept="application/json, image/jpeg;q=0.5")
    told = json.loads(answer.content)
    assert [(one["variant"], one["media_type"]) for one in told["pictures"]] == [(1, "image/jpeg"), (2, "image/jpeg")]
    assert post(client, GRAY, "?variants=2", Accept="application/zip").headers["content-type"] == "application/zip"
    check_problem(post(client, GRAY, Accept="application/zip"), 406, "not-acceptable")
    assert post(client, GRAY, "?format=png", Accept="application/json").headers["content-type"] == "image/png"


def test_an_answer_of_several_pictures_is_bounded(model_path: Path) -> None:
    noise = by_pillow(levels(200, 200), "PNG")
    with TestClient(create_app(settings_with(model_path, max_answer_bytes=300_000))) as small:
        assert post(small, noise, "?variants=2").status_code == 200
        problem = check_problem(post(small, noise, "?variants=8"), 413, "answer-too-large")
        assert (problem["limit"], problem["unit"]) == (300_000, "bytes")
        assert post(small, noise, "?variants=3&format=jpeg").status_code == 200
        for gauge in ("held_bytes", "inflight_megapixels"):
            assert metric(small, gauge) == 0


def test_pictures_in_the_making_count_as_held(model_path: Path) -> None:
    noise = by_pillow(levels(200, 200), "PNG")
    with TestClient(create_app(settings_with(model_path, max_upload_bytes=50_000, max_held_bytes=300_000))) as small:
        assert post(small, noise, "?variants=2").status_code == 200
        check_problem(post(small, noise, "?variants=8"), 503, "overloaded")
        assert metric(small, "held_bytes") == 0


def test_hints_are_obeyed(client: TestClient) -> None:
    gray = np.full((80, 80), 128, np.uint8)
    hinted = pixels_of(post(client, by_pillow(gray, "PNG"), "?hints=0.5,0.5,20:30"))
    lab = cv2.cvtColor(hinted.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    assert np.hypot(*(lab[40, 40, 1:] - (20, 30))) < 5
    swatch = np.uint8([[[60, 120, 150]]])  # BGR of 967 83c
    color = pixels_of(post(client, by_pillow(gray, "PNG"), "?hints=0.5,0.5,96783c"))
    wanted = cv2.cvtColor(swatch.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)[0, 0, 1:]
    lab = cv2.cvtColor(color.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    assert np.hypot(*(lab[40, 40, 1:] - wanted)) < 5


def test_regions_are_obeyed_and_named(client: TestClient) -> None:
    rows, columns = np.mgrid[:80, :100]
    gray = np.where(np.hypot(rows - 40, columns - 50) < 25, 180, 60).astype(np.uint8)
    data = by_pillow(gray, "PNG")
    query = "regions=20:30/0.5,0.5,0.05/~0.05,0.05,0.05"
    plain, colored = (pixels_of(post(client, data, f"?{each}")) for each in ("", query))
    lab = cv2.cvtColor(colored.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    assert np.hypot(*(lab[40, 50, 1:] - (20, 30))) < 8
    assert np.abs(colored[:6, :6].astype(int) - plain[:6, :6]).mean() < 4
    weak = pixels_of(post(client, data, f"?{query.replace('/', '@0/', 1)}"))
    assert np.abs(weak.astype(int) - plain).max() <= 2
    id = keep(client, data)
    kept = pixels_of(client.get(f"/pictures/{id}?{query}"))
    assert np.abs(kept.astype(int) - colored).mean() < 1
    tags = {post(client, data, each).headers["etag"] for each in ("", f"?{query}", f"?{query}1")}
    assert len(tags) == 3
    problem = check_problem(post(client, data, "?regions=gray/0,0,0;blue/0,0,0"), 422, "invalid-option")
    assert problem["errors"][0]["reason"].startswith("region 2 of 2: 'blue' is no color")


def test_as_many_regions_as_are_taken_take_no_more_than_their_bytes(client: TestClient) -> None:
    strokes = "/".join("0.25,0.25,0.75,0.75,0.02" for _ in range(40))
    text = ";".join([f"gray/{strokes}"] * 16)
    assert 15_000 < len(text) < 16_384
    assert client.post("/colorize", params={"regions": text}, content=GRAY).status_code == 200
    asked = client.post("/colorize", params={"regions": text + "0" * 1400}, content=GRAY)
    check_problem(asked, 422, "invalid-option")


def test_a_reference_is_followed(client: TestClient) -> None:
    blue = by_pillow(Image.new("RGB", (60, 40), (40, 90, 160)), "PNG")
    warm = by_pillow(Image.new("RGB", (60, 40), (170, 120, 50)), "PNG")
    id = keep(client)

    def blueness(pixels: np.ndarray) -> float:
        return float(pixels[..., 0].astype(float).mean() - pixels[..., 2].mean())

    plain = pixels_of(post(client, GRAY))
    found = {}
    for name, reference in (("blue", blue), ("warm", warm)):
        files = {"image": ("p.png", GRAY), "reference": ("r.png", reference)}
        asked = pixels_of(client.post("/colorize?reference_strength=1", files=files))
        kept = pixels_of(client.get(f"/pictures/{id}?reference_strength=1&reference={keep(client, reference)}"))
        assert far(asked, kept) < 0.2
        found[name] = blueness(asked)
        unmoved = pixels_of(client.post("/colorize?reference_strength=0", files=files))
        assert far(unmoved, plain) < 0.1
    assert found["blue"] > found["warm"] + 2
    regressed = (
        pixels_of(client.get(f"/pictures/{id}?mode=regression&reference_strength=1&reference={keep(client, one)}"))
        for one in (blue, warm)
    )
    assert far(*regressed) > 1


def test_a_bad_reference_is_named(client: TestClient) -> None:
    for bad, status, name in (
        (b"hello", 415, "unsupported-picture"),
        (tiff(levels(9, 9, 3), tags={259: [6]}), 415, "unsupported-picture"),
        (GRAY[:-40], 422, "broken-picture"),
    ):
        files = {"image": ("p.png", GRAY), "reference": ("r.png", bad)}
        problem = check_problem(client.post("/colorize", files=files), status, name)
        assert problem["detail"].startswith("The reference photograph: ")
    alone = client.post("/colorize", files={"reference": ("r.png", GRAY)})
    check_problem(alone, 422, "empty-upload")
    check_problem(client.post("/colorize", files=[("image", ("p.png", GRAY))] * 2), 400, "malformed-request")


def test_the_tag_knows_variants_hints_and_reference(client: TestClient) -> None:
    tags = {
        post(client, GRAY, query).headers["etag"] for query in ("", "?variants=2", "?hints=0,0,ff0000", "?format=json")
    }
    for reference in (GRAY, COLOR):
        files = {"image": ("p.png", GRAY), "reference": ("r.png", reference)}
        tags |= {
            client.post(f"/colorize?{query}", files=files).headers["etag"] for query in ("", "reference_strength=1")
        }
    assert len(tags) == 8
