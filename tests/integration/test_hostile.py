"""The corpus of hostile files, sent to the service: each gets the answer it deserves, soon, and nobody else suffers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.http.app import create_app
from service.settings import Settings
from tests import hostile, onnx_factory
from tests.pictures import by_pillow, smooth_gray

CORPUS = hostile.corpus()


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
