"""The judge of the running service: what it posts, how it scores, which promises it finds kept."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import served_quality
from benchmarks.served_quality import BARS, CALM, DEFAULT, GRAY, QUERIES, Bar, judge, measure, squash, table, to_gray
from chroma.lab import gray_to_lightness, rgb_u8_to_lab
from tests.unit.training.pictures import encode, landscape


class Echo(BaseHTTPRequestHandler):
    """Answers `vividness=0.5` with a reddened picture, and all else with the question itself."""

    asked: list[str]

    def do_POST(self) -> None:
        type(self).asked.append(self.path)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert gray.ndim == 2
        red = 60 if self.path.endswith("vividness=0.5") else 0
        bgr = np.stack([gray, gray, np.minimum(gray.astype(int) + red, 255).astype(np.uint8)], axis=-1)
        body = cv2.imencode(".png", bgr)[1].tobytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Photochrom-Model", "echo")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    Echo.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in range(3):
        (tmp_path / f"{place}.png").write_bytes(encode(landscape(place), ".png"))
    (tmp_path / "gray.png").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1), ".png"))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_the_question_is_the_gray_of_the_same_lightness() -> None:
    rgb_u8 = squash(landscape(1))
    gray = to_gray(rgb_u8)
    assert (gray.shape, gray.dtype) == ((256, 256), np.uint8)
    # Half a step of 8 bits in the darkest shadows, where a step is 0.27 of L.
    assert np.abs(gray_to_lightness(gray)[..., 0] - rgb_u8_to_lab(rgb_u8)[..., 0]).max() < 0.25


def test_every_color_photograph_is_asked_in_every_way(echo: str, folder: Path) -> None:
    result = measure(echo, folder, 2, "cpu")
    assert Echo.asked == [f"/colorize?{query}" for _ in range(3) for query in QUERIES.values() for _ in range(2)]
    assert (result["model"], result["pictures"], result["judged"]) == ("echo", 3, False)
    assert result["kept"] == {"the same answer each time": True}


def test_an_echo_is_as_good_as_gray_and_red_is_noise(echo: str, folder: Path) -> None:
    rows = measure(echo, folder, 1, "cpu")["rows"]
    assert rows[CALM] | {"worst": ""} == rows[GRAY] | {"worst": ""}
    assert rows[GRAY]["colorfulness_ratio"] == rows[GRAY]["below_gray"] == 0
    assert rows[DEFAULT]["psnr"] < rows[GRAY]["psnr"]
    assert rows[DEFAULT]["below_gray"] == 100
    assert rows[DEFAULT]["false_red"] > 20
    assert rows[DEFAULT]["worst_gain_db"] < 0


def test_enough_photographs_are_judged(echo: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_quality, "LEAST_PICTURES", 3)
    result = measure(echo, folder, 1, "cpu")
    assert result["judged"]
    assert not result["kept"]["default: psnr above gray"]
    assert not result["kept"]["calm: psnr above gray"]  # as good is not above
    assert result["kept"]["calm: below_gray <= 20"]
    assert "BROKEN  default: psnr above gray" in table(result)


@pytest.mark.parametrize("trained_on", BARS)
def test_a_bar_is_kept_up_to_its_limit(trained_on: str) -> None:
    rows: dict[str, dict[str, Any]] = {name: {"psnr": 99.0} for name in QUERIES} | {GRAY: {"psnr": 21.2}}
    for bar in BARS[trained_on]:
        rows[bar.row][bar.score] = bar.least if np.isfinite(bar.least) else bar.most
    assert all(judge(rows, trained_on).values())
    for bar in BARS[trained_on]:
        at = rows[bar.row][bar.score]
        rows[bar.row][bar.score] = at - 0.001 if np.isfinite(bar.least) else at + 0.001
        assert [name for name, kept in judge(rows, trained_on).items() if not kept] == [bar.name]
        rows[bar.row][bar.score] = at


def test_a_bar_says_what_it_wants() -> None:
    assert Bar(DEFAULT, "tvq", least=0.6, most=0.9).name == "default: tvq >= 0.6 and <= 0.9"
    assert Bar(CALM, "psnr", least=23.0).name == "calm: psnr >= 23"


def test_a_folder_without_photographs_is_refused(echo: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no color photographs"):
        measure(echo, tmp_path, 1, "cpu")


@pytest.mark.training
def test_pictures_are_squashed_as_an_evaluation_squashes_them() -> None:
    from training import protocols

    assert served_quality.SIDE_PX == protocols.SIDE_PX
    assert (squash(landscape(2)) == protocols.squash(landscape(2), protocols.SIDE_PX)).all()
