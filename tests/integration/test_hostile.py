"""The corpus of hostile files, sent to the service: each gets the answer it deserves, soon, and nobody else suffers."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tifffile
from starlette.testclient import TestClient

from service.http.app import create_app
from service.pictures import cost
from service.settings import Settings
from tests import hostile, onnx_factory
from tests.pictures import by_pillow, smooth_gray
from tests.tiffs import tiff

CORPUS = hostile.corpus()
STRIP_BYTE_COUNTS = 279


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with TestClient(create_app(Settings(model=model, device="cpu", threads=2))) as made:
        yield made


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream"])
def test_a_hostile_file_is_its_senders_problem(client: TestClient, name: str, media_type: str) -> None:
    data, problem = CORPUS[name]
    started = time.process_time()
    answer = client.post("/colorize", content=data, headers={"Content-Type": media_type})
    assert time.process_time() - started < 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:photochrom:problem:{problem}"
    assert 400 <= answer.status_code < 500
    good = client.post("/colorize", content=by_pillow(smooth_gray(9, 9), "PNG"), headers={"Content-Type": "image/png"})
    assert good.status_code == 200


@pytest.mark.parametrize("name", hostile.polyglots())
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "tiff"])
def test_what_hides_in_a_picture_does_not_come_back(client: TestClient, name: str, output_format: str) -> None:
    data = hostile.polyglots()[name]
    answer = client.post(f"/colorize?format={output_format}", content=data, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    assert b"alert(1)" not in answer.content
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("kind", hostile.commented())
@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp", "tiff"])
def test_a_comment_comes_back_in_a_picture_only(client: TestClient, kind: str, output_format: str) -> None:
    data = hostile.commented()[kind]
    for query, is_there in (("", True), ("&metadata=none", False)):
        answer = client.post(f"/colorize?format={output_format}{query}", content=data)
        assert (b"alert(1)" in answer.content) is is_there
        assert answer.headers["content-type"] == f"image/{output_format}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_command_line_lists_them_and_goes_on(tmp_path: Path) -> None:
    """The same files on disk are no problem of the next one either."""
    from typer.testing import CliRunner

    from service.commands.shared import app

    folder = tmp_path / "in"
    folder.mkdir()
    for number, (data, _) in enumerate(CORPUS.values()):
        (folder / f"{number:03}.jpg").write_bytes(data)
    (folder / "good.png").write_bytes(by_pillow(smooth_gray(9, 9), "PNG"))
    model = onnx_factory.write_model(tmp_path / "tiny.onnx")
    arguments = ["colorize", str(folder), "--out", str(tmp_path / "out"), "--model", str(model), "--device", "cpu"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == ["good.png"]
    assert "Traceback" not in result.output


def strips_over_each_other() -> bytes:
    """Write a good TIFF each of whose strips says that it reaches to the end of the file."""
    gray = smooth_gray(48, 64)
    plain = tiff(gray, planes=False, rows=1, compression="lzw")
    with tifffile.TiffFile(io.BytesIO(plain)) as file:
        counts = [len(plain) - place for place in file.pages[0].dataoffsets]
    return tiff(gray, planes=False, rows=1, compression="lzw", tags={STRIP_BYTE_COUNTS: counts})


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (tiff(smooth_gray(48, 64), planes=False, tile=128), {"SPARE_TILE_PIXELS": 100 * 100}, "tiles of 128 x 128 px"),
        (strips_over_each_other(), {"SPARE_RAW_BYTES": 0, "RAW_FACTOR": 1}, "strips lie over each other"),
        (by_pillow(smooth_gray(48, 64), "JPEG", progressive=True), {"SPARE_SCANS": 2, "MOST_SCANS": 2}, "scans"),
    ],
    ids=["large tiles", "strips over each other", "many scans"],
)
def test_what_costs_too_much_by_its_header_takes_nobody_elses_time(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, data: bytes, limits: dict[str, int], reason: str
) -> None:
    """Ordinary files of the same shape, held to limits that are scaled down as they are."""
    headers = {"Content-Type": "application/octet-stream"}
    assert client.post("/colorize", content=data, headers=headers).status_code == 200
    for name, value in limits.items():
        monkeypatch.setattr(cost, name, value)
    with ThreadPoolExecutor(9) as threads:
        costly = [threads.submit(client.post, "/colorize", content=data, headers=headers) for _ in range(8)]
        good = threads.submit(client.post, "/colorize", content=by_pillow(smooth_gray(9, 9), "PNG"), headers=headers)
        assert good.result().status_code == 200
    for answer in (each.result() for each in costly):
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:photochrom:problem:picture-too-costly"
        assert reason in answer.json()["detail"]
