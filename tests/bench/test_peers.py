"""The comparison with peers: what it asks, how it counts, whom it believes, and which promises it finds kept."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.peer_servers.caller import BrokenAnswer, Order, closed_loop, open_loop, post_once, request
from benchmarks.peers import (
    AS_INSTALLED,
    CONTENDERS,
    MIXED,
    MIXED_MEGAPIXELS,
    OURS,
    NotServing,
    answer,
    compare,
    descendants,
    judge,
    mixed_photographs,
    photographs,
    processor_s,
    quantile_ms,
    report,
    resident_bytes,
    summary,
)

PNG = cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()


class Stub(BaseHTTPRequestHandler):
    """Answers with a PNG: in one piece, in chunks, cut off, or not at all, as the path says."""

    protocol_version = "HTTP/1.1"
    uploads: list[bytes]

    def do_POST(self) -> None:
        type(self).uploads.append(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/busy":
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (PNG[:7], PNG[7:]):
                self.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        if self.path == "/cut":
            self.wfile.write(PNG[:7])
            self.close_connection = True
        else:
            self.wfile.write(PNG)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stub() -> Iterator[int]:
    Stub.uploads = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def order(port: int, path: str = "/colorize", **rest: Any) -> Order:
    return Order(port, path, [], **{"seconds": 0.2} | rest)


@pytest.mark.parametrize("path", ["/colorize", "/chunks"])
def test_an_answer_is_read_however_it_is_sent(stub: int, path: str) -> None:
    assert asyncio.run(post_once(request(b"picture", order(stub, path)), order(stub, path))) == (200, PNG)
    assert b"\r\n\r\npicture\r\n--" in Stub.uploads[0]


def test_an_answer_that_is_cut_off_is_none(stub: int) -> None:
    with pytest.raises(BrokenAnswer):
        asyncio.run(post_once(request(b"picture", order(stub, "/cut")), order(stub, "/cut")))


def test_a_closed_loop_never_has_more_requests_than_clients(stub: int) -> None:
    wanted = order(stub, clients=3)
    found = asyncio.run(closed_loop([request(b"a", wanted), request(b"b", wanted)], wanted))
    assert found.outcomes == {"200": len(found.took_s)}
    assert len(Stub.uploads) == len(found.took_s) >= 3
    assert found.bytes == len(PNG) * len(found.took_s)
    assert sum(found.took_s) <= 3 * found.seconds


def test_refusals_are_no_throughput(stub: int) -> None:
    wanted = order(stub, "/busy", clients=2)
    found = asyncio.run(closed_loop([request(b"a", wanted)], wanted))
    assert found.took_s == []
    assert set(found.outcomes) == {"503"}
    assert found.outcomes["503"] <= 2 * 6  # a client waits 0.05 s


def test_an_open_loop_asks_as_often_as_it_should(stub: int) -> None:
    wanted = order(stub, rate=50.0)
    found = asyncio.run(open_loop([request(b"a", wanted)], wanted))
    assert len(Stub.uploads) == 10
    assert found.outcomes["200"] == 10
    assert found.seconds >= 9 / 50


def test_a_server_that_is_gone_is_an_error_and_not_the_end() -> None:
    wanted = Order(1, "/", [], seconds=0.1, clients=1)
    found = asyncio.run(closed_loop([request(b"a", wanted)], wanted))
    assert list(found.outcomes) == ["ConnectionRefusedError"]


def test_the_program_that_asks_says_what_it_found(stub: int, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    server: Any = SimpleNamespace(port=stub, processor_s=lambda: 0.0)
    found = peers.load(server, [tmp_path / "a.jpg"], 0.1, clients=1)
    assert found["outcomes"] == {"200": len(found["took_s"])}


def test_an_answer_must_have_the_size_of_the_question(stub: int, tmp_path: Path) -> None:
    server: Any = SimpleNamespace(port=stub)
    for name, shape in (("right.png", (20, 30, 3)), ("wrong.png", (30, 20, 3))):
        cv2.imwrite(str(tmp_path / name), np.zeros(shape, np.uint8))
    assert answer(server, tmp_path / "right.png").mean() == 90
    with pytest.raises(NotServing, match="not of"):
        answer(server, tmp_path / "wrong.png")


@pytest.mark.parametrize("gray", [False, True])
def test_photographs_have_the_size_asked_for(tmp_path: Path, gray: bool) -> None:
    for path in photographs(0.05, tmp_path, gray=gray):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert pixels.shape[0] * pixels.shape[1] == pytest.approx(50_000, rel=0.02)
        assert pixels.ndim == (2 if gray else 3)


def test_mixed_sizes_follow_one_another(tmp_path: Path) -> None:
    shapes = [cv2.imread(str(path)).shape for path in mixed_photographs(tmp_path, gray=False)]
    sizes = [height * width / 1e6 for height, width, _ in shapes]
    assert sizes == pytest.approx([*MIXED_MEGAPIXELS] * len(peers.PHOTOGRAPHS), rel=0.02)


def test_the_memory_of_what_a_process_started_counts() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        for _ in range(1000):
            if len(found := descendants(process.pid)) == 2:
                break
            threading.Event().wait(0.01)
        assert found[0] == process.pid
        assert resident_bytes(found) > resident_bytes(found[:1]) > 0
        assert processor_s(found) >= processor_s(found[:1]) >= 0
        process.communicate(b"\n")


def row(rate: float, slow_s: float = 1.0, *, seconds: float = 10.0, refused: int = 0) -> dict[str, Any]:
    took_s = [0.1] * (round(rate * seconds) - 1) + [slow_s]
    outcomes = {"200": len(took_s)} | ({"503": refused} if refused else {})
    return {"took_s": took_s, "seconds": seconds, "outcomes": outcomes, "bytes": 7 * len(took_s), "processor_s": 2.0}


def test_a_summary_counts_answers_and_errors() -> None:
    found = summary([row(2), row(4, refused=3), row(3)])
    assert found["throughput_per_s"] == 3
    assert found["throughput_spread"] == [2, 4]
    assert (found["answers"], found["errors"], found["bytes_per_answer"]) == (90, 3, 7)
    assert found["processor_ms_per_answer"] == pytest.approx(1000 * 6 / 90, abs=0.1)
    assert found["p50_ms"] == 100
    assert found["p99_ms"] == 1000
    json.dumps(found)


def test_ratios_are_ours_over_theirs() -> None:
    found = compare([row(4, 0.5), row(6, 0.5)], [row(2, 1.0), row(2, 1.0)])
    assert found["throughput_ratio"] == 2.5
    assert found["throughput_ratio_spread"] == [2, 3]
    assert found["p99_ratio"] == 0.5
    assert found["processor_ratio"] == pytest.approx(4 / 100 / (4 / 40))
    assert compare([row(4)], [row(0.1) | {"took_s": []}]) == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "kept"),
    [(row(4, 0.5), row(2, 1.0), (True, True)), (row(4, 2.0), row(5, 1.0), (False, False))],
)
def test_a_promise_is_kept_against_every_peer(ours: Any, theirs: Any, kept: tuple[bool, bool]) -> None:
    against = {
        "slow": {"clients_8": compare([row(9, 0.1)], [row(1)])},
        "peer": {"clients_8": compare([ours], [theirs])},
    }
    assert judge(against, [8]) == {"throughput_8": kept[0], "p99_8": kept[1]}


@pytest.mark.parametrize(("installed", "kept"), [(row(3.8), True), (row(3.4), False)])
def test_with_mixed_sizes_what_is_installed_is_judged_against_the_best_peer(installed: Any, kept: bool) -> None:
    rest = {"idle_together_bytes": 1, "together_bytes": 1, "peak_bytes": 1, "start_s": 1.0, "open_loop": row(1)}
    rounds = {OURS: row(3), AS_INSTALLED: installed, "slow": row(1), "best": row(2)}
    found = report({name: [{MIXED: one, **rest}] for name, one in rounds.items()}, [])
    against = found["ours_as_a_multiple_of"]
    assert list(against) == ["slow", "best"]
    assert against["best"][MIXED]["throughput_ratio"] == 1.5
    assert "throughput_ratio" not in against["best"]["open_loop"]
    assert judge(against, []) == {"throughput_mixed": kept}


def test_a_peer_that_answers_nothing_proves_nothing() -> None:
    against = {"peer": {"clients_8": {}}}
    assert judge(against, [8]) == {"throughput_8": False, "p99_8": False}


def test_quantiles() -> None:
    assert quantile_ms([], 0.5) is None
    assert quantile_ms([0.003, 0.001, 0.002], 0.5) == 2
    assert quantile_ms([0.001] * 99 + [1.0], 0.99) == 1000


def test_whoever_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    field = peers.Field([each.name for each in CONTENDERS], peers.MODEL, [], [], tmp_path)
    assert field.names[:3] == [OURS, AS_INSTALLED, "fastapi"]
    assert "bentoml is not installed in .venv-peers-bentoml" in field.skipped["bentoml"]


def test_the_peers_answer_is_close_to_ours() -> None:
    """The program that all peers host, without a server: the network is the same, and so are its inputs."""
    code = (
        "import sys, cv2; from straightforward import Network, decode, encode;"
        "sys.stdout.buffer.write(encode(Network(1).colorize(decode(sys.stdin.buffer.read()))))"
    )
    data = (peers.ROOT / "tests" / "data" / "coffee.jpg").read_bytes()
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=peers.SERVERS, input=data, stdout=subprocess.PIPE, check=True)
    theirs = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR_RGB)
    from service.engine.colorizer import colorize
    from service.engine.options import Options
    from service.engine.session import Session
    from service.pictures.decode import decode
    from service.pictures.probe import probe

    picture = decode(data, probe(data, max_megapixels=50))
    ours = colorize(picture, Options(), Session(peers.MODEL, device="cpu", threads=1)).rgb
    assert theirs.shape == ours.shape
    assert np.abs(theirs.astype(int) - ours).mean() < peers.MOST_DIFFERENCE
