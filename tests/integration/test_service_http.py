"""The whole application with the tiny model, through Starlette's client: pictures, options, problems, operation."""

import asyncio
import errno
import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from chroma.lab import gray_to_lightness, rgb_u8_to_lightness
from service.errors import StartupError
from service.http import site
from service.http.app import create_app
from service.pictures.formats import READABLE_TYPES
from service.settings import Settings
from service.telemetry import STAGES
from tests import onnx_factory
from tests.pictures import bomb_png, by_opencv, by_pillow, levels, smooth_gray, with_orientation
from tests.tiffs import tiff

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def settings_with(model_path: Path, **changes: Any) -> Settings:
    return Settings(model=model_path, device="cpu", threads=2, **changes)


@pytest.fixture(scope="module")
def client(model_path: Path) -> Iterator[TestClient]:
    limits = {"max_megapixels": 13, "max_upload_bytes": 30_000_000}
    with TestClient(create_app(settings_with(model_path, **limits)), raise_server_exceptions=False) as made:
        yield made


def post(client: TestClient, data: bytes, query: str = "", **headers: str) -> Any:
    return client.post(f"/colorize{query}", content=data, headers={"Content-Type": "image/png", **headers})


def pixels_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(image, {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}[image.shape[2]])


def check_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    """Assert that an answer is the named problem, complete and without anything of the inside; return it."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:photochrom:problem:{name}"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert not re.search(r"Traceback|site-packages|\.py\b|/tmp/", answer.text)
    return problem


@pytest.mark.parametrize(
    ("data", "shape", "dtype"),
    [
        (by_pillow(smooth_gray(1, 1), "PNG"), (1, 1, 3), np.uint8),
        (by_pillow(smooth_gray(17, 3000), "PNG"), (17, 3000, 3), np.uint8),
        (by_pillow(smooth_gray(3000, 17), "PNG"), (3000, 17, 3), np.uint8),
        (by_opencv(smooth_gray(40, 50, dtype=np.uint16), ".png"), (40, 50, 3), np.uint16),
        (by_opencv(smooth_gray(40, 50, dtype=np.uint16), ".tif"), (40, 50, 3), np.uint16),
        (by_pillow(levels(40, 50, 4), "PNG"), (40, 50, 4), np.uint8),
        (with_orientation(smooth_gray(40, 56), 6), (56, 40, 3), np.uint8),
        (by_pillow(Image.fromarray(levels(40, 50, 3)).convert("CMYK"), "JPEG"), (40, 50, 3), np.uint8),
        (by_pillow(Image.fromarray(levels(40, 50, 3)).quantize(16), "PNG"), (40, 50, 3), np.uint8),
        (by_pillow(smooth_gray(40, 50), "BMP"), (40, 50, 3), np.uint8),
        (by_pillow(levels(40, 50, 3), "WEBP"), (40, 50, 3), np.uint8),
        ((DATA / "coffee.jpg").read_bytes(), (341, 512, 3), np.uint8),
    ],
    ids=[
        "1x1",
        "3000x17",
        "17x3000",
        "16-bit-png",
        "16-bit-tiff",
        "rgba",
        "rotated",
        "cmyk",
        "palette",
        "bmp",
        "webp",
        "jpeg",
    ],
)
def test_the_answer_has_the_size_of_the_question(
    client: TestClient, data: bytes, shape: tuple[int, ...], dtype: type
) -> None:
    answer = post(client, data)
    pixels = pixels_of(answer)
    assert (pixels.shape, pixels.dtype) == (shape, dtype)
    assert answer.headers["content-type"] == "image/png"


def test_twelve_megapixels(client: TestClient) -> None:
    answer = post(client, cv2.imencode(".jpg", smooth_gray(3000, 4000))[1].tobytes(), **{"Content-Type": "image/jpeg"})
    assert pixels_of(answer).shape == (3000, 4000, 3)


def test_the_answer_has_the_lightness_and_the_alpha_of_the_question(client: TestClient) -> None:
    gray = smooth_gray(120, 160)
    rgb = pixels_of(post(client, by_pillow(gray, "PNG"), "?vividness=1"))
    change = np.abs(rgb_u8_to_lightness(rgb) - gray_to_lightness(gray))
    assert change.mean() <= 0.3
    assert np.percentile(change, 99) <= 1.0
    rgba = levels(30, 40, 4)
    np.testing.assert_array_equal(pixels_of(post(client, by_pillow(rgba, "PNG")))[..., 3], rgba[..., 3])


def test_raw_body_and_form_give_the_same_picture(client: TestClient) -> None:
    raw = post(client, GRAY)
    form = client.post("/colorize", files={"image": ("p.png", GRAY, "image/png")})
    untyped = client.post("/colorize", content=GRAY, headers={"Content-Type": "application/octet-stream"})
    assert raw.content == form.content == untyped.content
    assert raw.headers["etag"] == form.headers["etag"]


def test_options_reach_the_picture(client: TestClient) -> None:
    plain = pixels_of(post(client, GRAY))
    for query in (
        "mode=regression", "mode=fused", "mode=argmax", "vividness=0", "vividness=1", "temperature=2", "saturation=0.5",
        "size=32", "enlargement=guided",
    ):  # fmt: skip
        assert not np.array_equal(plain, pixels_of(post(client, GRAY, f"?{query}"))), query
    np.testing.assert_array_equal(
        plain, pixels_of(post(client, GRAY, "?mode=annealed&vividness=0.5&saturation=1&size=64"))
    )
    gray = pixels_of(post(client, GRAY, "?saturation=0"))
    np.testing.assert_array_equal(gray, np.dstack([smooth_gray(48, 64)] * 3))


@pytest.mark.parametrize(
    ("output_format", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("tiff", "TIFF")]
)
def test_format_is_the_callers(client: TestClient, output_format: str, kind: str) -> None:
    for data in (GRAY, by_pillow(levels(48, 64, 4), "PNG"), by_opencv(levels(48, 64, 4, dtype=np.uint16), ".png")):
        answer = post(client, data, f"?format={output_format}")
        assert answer.headers["content-type"] == f"image/{output_format}"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == (kind, (64, 48))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/webp", "webp"),
        ("image/tiff", "tiff"),
        ("image/png;q=0.5, image/jpeg", "jpeg"),
        ("text/html, image/webp;q=0.9, */*;q=0.8", "webp"),
        ("image/png;q=0, */*;q=0.1", "jpeg"),
    ],
)
def test_accept_chooses_the_format(client: TestClient, accept: str, kind: str) -> None:
    answer = post(client, GRAY, Accept=accept)
    assert (answer.headers["content-type"], answer.headers["vary"]) == (f"image/{kind}", "Accept")
    asked = post(client, GRAY, f"?format={kind}", Accept="image/png, */*;q=0")
    assert asked.content == answer.content
    assert asked.headers["etag"] == answer.headers["etag"]
    # What one caller has is no answer to another who wants another format.
    others = {"png", "jpeg", "webp", "tiff"} - {kind}
    for other in others:
        headers = {"Accept": f"image/{other}", "If-None-Match": answer.headers["etag"]}
        assert post(client, GRAY, **headers).headers["content-type"] == f"image/{other}"
    again = post(client, GRAY, Accept=accept, **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["vary"]) == (304, "Accept")


def test_who_takes_no_picture_gets_a_problem_unless_a_format_is_named(client: TestClient) -> None:
    for accept in ("application/xml", "image/gif", "image/*;q=0", "text/*"):
        problem = check_problem(post(client, GRAY, Accept=accept), 406, "not-acceptable")
        assert problem["formats"] == ["image/png", "image/jpeg", "image/webp", "image/tiff", "application/json"]
        assert "'format'" in problem["detail"]
        assert post(client, GRAY, "?format=webp", Accept=accept).headers["content-type"] == "image/webp"
    # The other routes do not choose.
    assert client.get("/health", headers={"Accept": "image/png"}).status_code == 200


def test_a_large_form_never_touches_the_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starlette would write files above a megabyte into the temporary folder, which may be full or not there at all."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    picture = by_pillow(levels(1200, 1300), "PNG")
    assert len(picture) > 1_500_000
    answer = client.post("/colorize", files={"image": ("p.png", picture)})
    assert pixels_of(answer).shape == (1200, 1300, 3)


def test_headers_of_an_answer(client: TestClient) -> None:
    answer = post(client, GRAY, **{"X-Request-ID": "my-id.7"})
    assert answer.headers["x-request-id"] == "my-id.7"
    assert answer.headers["x-photochrom-model"] == "tiny-0001"
    assert answer.headers["x-photochrom-scene"] in {quote(scene) for scene in onnx_factory.SCENES}
    timing = re.findall(r"(\w+);dur=(\d+\.\d)", answer.headers["server-timing"])
    assert [stage for stage, _ in timing] == list(STAGES)
    assert re.fullmatch(r'"[0-9a-f]{32}"', answer.headers["etag"])


def test_hostile_request_ids_are_replaced(client: TestClient) -> None:
    for given in ("a" * 65, "no spaces", 'x"y', ""):
        made = client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)


def test_the_same_question_has_the_same_answer_and_tag(client: TestClient) -> None:
    first, second = post(client, GRAY), post(client, GRAY)
    assert first.content == second.content
    assert first.headers["etag"] == second.headers["etag"]
    others = {post(client, GRAY, query).headers["etag"] for query in ("?vividness=0.6", "?format=jpeg", "?size=96")}
    others.add(post(client, by_pillow(smooth_gray(48, 65), "PNG")).headers["etag"])
    assert len(others | {first.headers["etag"]}) == 5


@pytest.mark.parametrize("named", ["*", 'W/"x", *', '"x", {tag}'])
def test_any_answer_and_one_of_several_count_as_had(client: TestClient, named: str) -> None:
    tag = post(client, GRAY).headers["etag"]
    assert post(client, GRAY, **{"If-None-Match": named.format(tag=tag)}).status_code == 304


def test_tags_may_come_in_several_lines(client: TestClient) -> None:
    tag = client.get("/page/app.js").headers["etag"]
    lines = [("If-None-Match", '"x"'), ("If-None-Match", tag)]
    assert client.get("/page/app.js", headers=lines).status_code == 304


def test_who_has_the_answer_already_gets_none(client: TestClient) -> None:
    tag = post(client, GRAY).headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}'):
        answer = post(client, GRAY, **{"If-None-Match": given})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert post(client, GRAY, **{"If-None-Match": '"other"'}).status_code == 200
    assert post(client, GRAY, "?vividness=1", **{"If-None-Match": tag}).status_code == 200


JPEG = (DATA / "coffee.jpg").read_bytes()


@pytest.mark.parametrize(
    ("data", "status", "name"),
    [
        (b"", 422, "empty-upload"),
        (b"hello, I am not a picture", 415, "unsupported-picture"),
        (b"%PDF-1.7", 415, "unsupported-picture"),
        (tiff(levels(9, 9, 3), tags={259: [6]}), 415, "unsupported-picture"),
        (JPEG[: len(JPEG) // 2], 422, "broken-picture"),
        (JPEG[:100], 422, "broken-picture"),
        (by_pillow(levels(99, 99), "PNG")[:-30], 422, "broken-picture"),
        (bomb_png(), 413, "picture-too-large"),
        (
            by_pillow(
                Image.fromarray(levels(9, 9)), "TIFF", save_all=True, append_images=[Image.fromarray(levels(9, 9))]
            ),
            422,
            "several-frames",
        ),
    ],
    ids=["empty", "text", "gif", "old-jpeg-tiff", "half-jpeg", "head-of-jpeg", "cut-png", "bomb", "two-pages"],
)
def test_bad_pictures_are_the_callers_problem(client: TestClient, data: bytes, status: int, name: str) -> None:
    check_problem(post(client, data), status, name)
    if data:
        check_problem(client.post("/colorize", files={"image": ("p.jpg", data)}), status, name)
    assert post(client, GRAY).status_code == 200


def test_one_page_of_several_is_colored(client: TestClient) -> None:
    pages = [Image.fromarray(levels(9 + page, 9)) for page in range(3)]
    album = by_pillow(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    problem = check_problem(post(client, album), 422, "several-frames")
    assert problem["pages"] == 3
    answers = [post(client, album, f"?page={page}") for page in (1, 2, 3)]
    assert [Image.open(io.BytesIO(answer.content)).size for answer in answers] == [(9, 9), (9, 10), (9, 11)]
    assert len({answer.headers["etag"] for answer in answers}) == 3
    assert check_problem(post(client, album, "?page=4"), 422, "invalid-option")["pages"] == 3
    assert post(client, GRAY, "?page=1").status_code == 200
    check_problem(post(client, GRAY, "?page=2"), 422, "invalid-option")
    check_problem(post(client, album, "?page=0"), 422, "invalid-option")
    kept = [client.post(f"/pictures?page={page}", content=album).json() for page in (1, 3)]
    assert [picture["height"] for picture in kept] == [9, 11]
    renders = [client.get(f"/pictures/{picture['id']}") for picture in kept]
    assert [Image.open(io.BytesIO(answer.content)).size for answer in renders] == [(9, 9), (9, 11)]
    assert renders[0].headers["etag"] != renders[1].headers["etag"]


def test_limits_are_named(client: TestClient) -> None:
    problem = check_problem(post(client, bomb_png()), 413, "picture-too-large")
    assert (problem["limit"], problem["unit"]) == (13, "megapixels")
    answer = post(client, by_opencv(np.zeros((1, 16_384), np.uint8), ".png"), "?format=webp")
    assert check_problem(answer, 422, "unfit-format")["limit"] == 16_383


@pytest.mark.parametrize("announced", [True, False])
def test_an_upload_may_be_too_large(model_path: Path, announced: bool) -> None:
    with TestClient(create_app(settings_with(model_path, max_upload_bytes=1000))) as small:
        read = []

        def body() -> Iterator[bytes]:
            for _ in range(100):
                read.append(1)
                yield bytes(500)

        headers = {"Content-Type": "image/png"} | ({"Content-Length": "50000"} if announced else {})
        for path in ("/colorize", "/nowhere"):
            answer = small.post(path, content=body(), headers=headers)
            if path == "/nowhere" and not announced:
                check_problem(answer, 404, "not-found")
                continue
            problem = check_problem(answer, 413, "upload-too-large")
            assert (problem["limit"], problem["unit"]) == (1000, "bytes")
        assert post(small, by_pillow(levels(5, 5), "PNG")).status_code == 200
        form = small.post("/colorize", files={"image": ("p.png", bytes(5000))})
        check_problem(form, 413, "upload-too-large")


@pytest.mark.parametrize(
    "query",
    [
        "mode=magic",
        "vividness=2",
        "vividness=nan",
        "vividness=-0.1",
        "vividness=x",
        "temperature=0",
        "temperature=inf",
        "saturation=-1",
        "saturation=1e9",
        "size=1",
        "size=99999",
        "size=64.5",
        "format=gif",
        "enlargement=big",
        "vividnes=1",
    ],
)
def test_nonsense_options_are_named(client: TestClient, query: str) -> None:
    option = query.partition("=")[0]
    problem = check_problem(post(client, GRAY, f"?{query}"), 422, "invalid-option")
    assert [entry["option"] for entry in problem["errors"]] == [option]
    assert option in problem["detail"]


def test_content_types_and_forms(client: TestClient) -> None:
    for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
        answer = client.post("/colorize", content=GRAY, headers={"Content-Type": kind})
        check_problem(answer, 415, "unsupported-picture")
        assert "-H 'Content-Type" in answer.json()["detail"]
    check_problem(client.post("/colorize", files={"photo": ("p.png", GRAY)}), 422, "invalid-option")
    check_problem(client.post("/colorize", files={"image": (None, "text")}), 422, "invalid-option")
    extra = client.post("/colorize", files={"image": ("p.png", GRAY)}, data={"mode": "argmax"})
    assert "query" in check_problem(extra, 422, "invalid-option")["detail"]
    two = client.post("/colorize", files=[("image", ("p.png", GRAY)), ("image", ("q.png", GRAY))])
    check_problem(two, 400, "malformed-request")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check_problem(client.post("/colorize", content=b"--x--\r\n", headers=headers), 422, "empty-upload")
    check_problem(client.post("/colorize", content=b"garbage", headers=headers), 400, "malformed-request")
    without_boundary = {"Content-Type": "multipart/form-data"}
    check_problem(client.post("/colorize", content=b"x", headers=without_boundary), 400, "malformed-request")
    empty_file = client.post("/colorize", files={"image": ("p.png", b"")})
    check_problem(empty_file, 422, "empty-upload")


@pytest.mark.parametrize("query", ["?vividness=0&vividness=1", "?format=png&size=64&format=png", "?hints=&hints="])
def test_an_option_given_twice_is_refused(client: TestClient, query: str) -> None:
    problem = check_problem(post(client, GRAY, query), 422, "invalid-option")
    assert [error["option"] for error in problem["errors"]] == [query[1:].partition("=")[0]]


@pytest.mark.parametrize("path", ["/health/", "/colorize/", "/page/app.js/"])
def test_nobody_is_sent_elsewhere(client: TestClient, path: str) -> None:
    answer = client.get(path, headers={"Host": "elsewhere.example"}, follow_redirects=False)
    check_problem(answer, 404, "not-found")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/", "/docs", "/docs/start.js", "/page/app.js", "/health", "/health/live", "/metrics", "/model", "/openapi.json"],
)
def test_head_is_get_without_the_content(client: TestClient, path: str) -> None:
    head, got = client.head(path), client.get(path)
    assert head.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("etag") == got.headers.get("etag")


def test_head_is_for_what_can_be_got(client: TestClient) -> None:
    answer = client.head("/colorize")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_too_little_memory_is_our_fault(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare_without_room(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("service.engine.pipeline.prepare_lightness", prepare_without_room)
        answer = post(client, GRAY)
    check_problem(answer, 503, "out-of-memory")
    assert answer.headers["retry-after"] == "5"
    assert 'photochrom_rejected_total{reason="out-of-memory"}' in client.get("/metrics").text
    assert post(client, GRAY).status_code == 200


def test_the_framework_answers_with_problems_too(client: TestClient) -> None:
    check_problem(client.get("/nowhere"), 404, "not-found")
    check_problem(client.get("/redoc"), 404, "not-found")
    answer = client.get("/colorize")
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    check_problem(client.post("/health"), 405, "method-not-allowed")
    check_problem(client.request("BREW", "/colorize"), 405, "method-not-allowed")


def test_an_unexpected_error_leaks_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret /etc/passwd")

    with monkeypatch.context() as patched, caplog.at_level(logging.INFO):
        patched.setattr("service.engine.making.make_file", fail)
        answer = post(client, GRAY)
    check_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "secret" in caplog.text
    assert post(client, GRAY).status_code == 200


def test_health_and_model(client: TestClient) -> None:
    assert client.get("/health/live").json() == client.get("/health/ready").json() == {"status": "ok"}
    health = client.get("/health").json()
    assert (health["status"], health["provider"], health["model"]) == ("ok", "CPUExecutionProvider", "tiny-0001")
    assert (health["inflight_megapixels"], health["waiting_requests"], health["queue_depth"]) == (0, 0, 0)
    model = client.get("/model").json()
    assert model["sha256"] == health["model_sha256"]
    stamp = json.loads(onnx_factory.make_stamp().to_json())
    assert {name: model[name] for name in stamp} == stamp


def test_metrics_count_what_happened(model_path: Path) -> None:
    with TestClient(create_app(settings_with(model_path))) as fresh:
        post(fresh, GRAY)
        post(fresh, b"x")
        fresh.get("/nowhere/secret-token")
        answer = fresh.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    for line in (
        'photochrom_requests_total{code="200",route="/colorize"} 1.0',
        'photochrom_requests_total{code="415",route="/colorize"} 1.0',
        'photochrom_requests_total{code="404",route="unmatched"} 1.0',
        'photochrom_rejected_total{reason="unsupported-picture"} 1.0',
        'photochrom_stage_duration_seconds_count{stage="read"} 2.0',
        'photochrom_stage_duration_seconds_count{stage="encode"} 1.0',
        "photochrom_batch_size_sum 1.0",
        "photochrom_inflight_megapixels 0.0",
        "photochrom_input_megapixels_count 1.0",
        "photochrom_output_bytes_count 1.0",
        "photochrom_ready 1.0",
        'provider="CPUExecutionProvider"} 1.0',
    ):
        assert line in text
    assert "secret-token" not in text


def test_one_log_line_a_request(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "service"):
        post(client, b"x", **{"X-Request-ID": "traced"})
        client.get("/health/live")
    facts = [record.facts for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert len(facts) == 1
    assert facts[0]["problem"] == "unsupported-picture"
    assert (facts[0]["method"], facts[0]["path"], facts[0]["status"]) == ("POST", "/colorize", 415)


def test_probes_tell_draining_from_failing(model_path: Path) -> None:
    with TestClient(create_app(settings_with(model_path))) as fresh:
        pipeline = fresh.app.state.services.pipeline  # type: ignore[attr-defined]
        pipeline.draining = True
        assert fresh.get("/health/live").status_code == 200
        answer = fresh.get("/health/ready")
        check_problem(answer, 503, "draining")
        assert answer.headers["retry-after"] == "1"
        assert fresh.get("/health").json()["status"] == "draining"
        assert "photochrom_ready 0.0" in fresh.get("/metrics").text
        assert post(fresh, GRAY).status_code == 200  # What still arrives is still served.
        pipeline.draining = False
        pipeline.batcher.close()
        check_problem(fresh.get("/health/live"), 503, "failing")
        check_problem(fresh.get("/health/ready"), 503, "failing")
        assert fresh.get("/health").json()["status"] == "failing"
        check_problem(post(fresh, GRAY), 503, "draining")


def test_a_killed_inference_thread_turns_liveness_red(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise SystemExit  # No `except Exception` in the way of this one.

    with TestClient(create_app(settings_with(model_path))) as fresh:
        assert fresh.get("/health/live").status_code == 200
        batcher = fresh.app.state.services.pipeline.batcher  # type: ignore[attr-defined]
        monkeypatch.setattr(batcher, "_run", die)
        # Whoever waits for the thread, and whoever comes later, is told at once instead of after the deadline.
        for _ in range(2):
            check_problem(post(fresh, GRAY), 503, "failing")
        batcher._thread.join(60)
        check_problem(fresh.get("/health/live"), 503, "failing")
        check_problem(fresh.get("/health/ready"), 503, "failing")
        assert fresh.get("/health").json()["status"] == "failing"
        for gauge in ("inflight_megapixels", "waiting_requests", "queue_depth", "held_bytes"):
            assert f"photochrom_{gauge} 0.0" in fresh.get("/metrics").text


def test_the_page_is_served_with_all_that_it_names(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\(", answer.text)
    assert "<!-- part" not in answer.text
    assert len(re.findall('id="(?:welcome|viewer|panel|lock)"', answer.text)) == 4
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;")
    assert "unsafe" not in policy
    assert not re.search(r"<(script|style)>|\son\w+=|\sstyle=", answer.text)
    named = set(re.findall(r"(?:src|href)=\"(page/[^\"]+)\"", answer.text))
    assert named >= {
        "page/style.css",
        "page/small.css",
        "page/app.js",
        "page/icon.svg",
        "page/sphinx-color.webp",
    }
    modules = {"page/app.js"}
    named -= modules
    while missing := modules - named:
        named |= missing
        texts = [client.get(f"/{name}").text for name in missing]
        modules |= {
            f"page/{name}" for text in texts for name in re.findall(r'^import .*"\./([^"]+)";$', text, re.MULTILINE)
        }
    samples = {f"page/{name}.jpg" for name in re.findall(r'<button type="button" value="([a-z-]+)" aria', answer.text)}
    assert len(samples) == 3
    named |= samples
    kinds = {
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
        "webp": "image/webp",
        "jpg": "image/jpeg",
    }
    for name in ("", *named):
        file = client.get(f"/{name}")
        assert file.status_code == 200
        assert name == "" or file.headers["content-type"] == kinds[name.rpartition(".")[2]]
        again = client.get(f"/{name}", headers={"If-None-Match": file.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for name in ("index.html", "nothing.js", "..%2fapp.py", "%2e%2e/routes.py"):
        check_problem(client.get(f"/page/{name}"), 404, "not-found")


@pytest.mark.parametrize("path", ["/", "/docs", "/health", "/metrics", "/model", "/openapi.json", "/nowhere"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    for answer in (client.get(path), client.delete(path), post(client, GRAY), post(client, b"")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_without_swagger_ui_all_but_its_page_is_there(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "SWAGGER_PACKAGE", "no_such_package")
    with TestClient(create_app(settings_with(model_path))) as bare:
        check_problem(bare.get("/docs"), 404, "not-found")
        check_problem(bare.get("/docs/swagger-ui.css"), 404, "not-found")
        assert bare.get("/health").status_code == 200


def test_the_pages_own_files_are_served_and_no_others(client: TestClient) -> None:
    for name, start in (("start.js", b"//"), ("swagger-ui-bundle.js", b"/*!"), ("swagger-ui.css", b".swagger-ui")):
        answer = client.get(f"/docs/{name}")
        assert answer.status_code == 200
        assert answer.content.startswith(start)
        assert client.get(f"/docs/{name}", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    for name in ("index.html", "main.py", "favicon-32x32.png", "..%2Fpage%2Fapp.js"):
        check_problem(client.get(f"/docs/{name}"), 404, "not-found")


def test_openapi_describes_bodies_and_problems(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    operation = schema["paths"]["/colorize"]["post"]
    assert {"image/jpeg", "image/png", "image/tiff", "image/avif"} < set(READABLE_TYPES)
    assert set(operation["requestBody"]["content"]) == {
        *READABLE_TYPES,
        "application/octet-stream",
        "multipart/form-data",
    }
    names = {parameter["name"] for parameter in operation["parameters"]}
    colors = {
        "look",
        "mode",
        "vividness",
        "temperature",
        "saturation",
        "enlargement",
        "format",
        "hints",
        "regions",
        "reference_strength",
    }
    assert names == colors | {"size", "variants", "page", "tone", "depth", "metadata", "note"}
    assert set(operation["responses"]) == {"200", "304", "400", "401", "406", "413", "415", "422", "503", "504"}
    for status, response in operation["responses"].items():
        if int(status) >= 400:
            (content,) = response["content"].items()
            assert content[0] == "application/problem+json"
            assert content[1]["examples"]


def test_a_model_that_is_refused_stops_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(StartupError, match="cannot read"),
        TestClient(create_app(Settings(model=tmp_path / "gone.onnx"))),
    ):
        pass


# ------------------------------------------------------------------------------------------------------------- API keys

KEYS = ("the-first-of-two-keys", "the-second-of-two-keys")


@pytest.fixture(scope="module")
def locked(model_path: Path) -> Iterator[TestClient]:
    settings = settings_with(model_path, api_keys=",".join(KEYS))
    with TestClient(create_app(settings), raise_server_exceptions=False) as made:
        yield made


@pytest.mark.parametrize("key", KEYS)
def test_a_key_opens_the_door_in_either_header(locked: TestClient, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert post(locked, GRAY, Authorization=f"Bearer {key}").status_code == 200
        assert post(locked, GRAY, **{"X-API-Key": key}).status_code == 200
    assert key not in caplog.text
    assert (
        {record.facts.get("key") for record in caplog.records if hasattr(record, "facts")}
        == {  # type: ignore[attr-defined]
            hashlib.sha256(key.encode()).hexdigest()[:8]
        }
    )
    assert locked.get("/model", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong-key-wrong-key"},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": KEYS[0]},
        {"X-API-Key": KEYS[0][:-1]},
    ],
)
def test_without_a_key_nothing_is_looked_at(locked: TestClient, headers: dict[str, str]) -> None:
    for query in ("", "?vividness=x"):
        answer = post(locked, b"not a picture", query, **headers)
        check_problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == 'Bearer realm="photochrom"'
    check_problem(locked.get("/model", headers=headers), 401, "unauthorized")


def test_probes_metrics_and_the_page_need_no_key(locked: TestClient) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics", "/", "/openapi.json"):
        assert locked.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 401),
        ("vividness=2", {"x-api-key": KEYS[0]}, 422),
        ("", {"x-api-key": KEYS[0], "accept": "text/html"}, 406),
        ("", {"x-api-key": KEYS[0], "content-type": "text/plain"}, 415),
        ("", {"content-length": "999999999"}, 413),
    ],
)
def test_what_the_head_is_refused_for_is_said_before_the_body(
    model_path: Path, query: str, headers: dict[str, str], status: int
) -> None:
    app = create_app(settings_with(model_path, api_keys=KEYS[0]))
    given = {"content-type": "image/png", "content-length": "5"} | headers
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if sent:  # To let the caller of a large upload read the answer, what comes after it is dropped.
            return {"type": "http.disconnect"}
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/colorize",
        "raw_path": b"/colorize",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "app": app,
    }

    async def serve_one() -> None:
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    asyncio.run(serve_one())
    assert sent[0]["status"] == status


def test_a_key_file_that_is_not_there_stops_the_start(model_path: Path, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="API_KEYS_FILE"):
        create_app(settings_with(model_path, api_keys_file=tmp_path / "gone"))
