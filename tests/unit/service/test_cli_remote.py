"""photochrom colorize --remote on a made-up service: how long it is waited for, and which picture ends it."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from service.archive.there import MAX_SENT
from service.client import AsyncClient
from service.client.requests import LONGEST_PAUSE_S
from service.commands.places import MAX_WAIT_THERE_S
from service.commands.shared import app
from tests.pictures import by_pillow, smooth_gray

ANSWER = by_pillow(smooth_gray(4, 5), "PNG")
really_sleep = asyncio.sleep


class Service:
    """A service that some pictures end, and everything under way at that moment with it; others start it again.

    Attributes:
        sent: how often each picture came.
        away: how many connections are refused until it is there again.
        busy: whether it answers every picture with 503.
        precisions: of the network, one an answer; the last one goes on.
    """

    def __init__(self, deadly: set[bytes], away: int = 0, *, busy: bool = False) -> None:
        self.sent: dict[bytes, int] = {}
        self.away, self.busy = away, busy
        self.precisions = ["float32"]
        self._deadly, self._away_each, self._refused, self._lives = deadly, away, 0, 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request, or break its connection."""
        if self._refused:
            self._refused -= 1
            raise httpx2.ConnectError("refused")
        if request.url.path == "/model":
            return httpx2.Response(200, json={"run_id": "made up"})
        if self.busy:
            return httpx2.Response(503)
        data, life = request.content, self._lives
        self.sent[data] = self.sent.get(data, 0) + 1
        for _ in range(3):
            await really_sleep(0)
            if self._lives != life:
                raise httpx2.ReadError("")
        if data in self._deadly:
            self._lives += 1
            self._refused = self._away_each
            raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
        precision = self.precisions.pop(0) if len(self.precisions) > 1 else self.precisions[0]
        told = {"X-Photochrom-Model": "made%20up", "X-Photochrom-Precision": precision}
        return httpx2.Response(200, content=ANSWER, headers={"Content-Type": "image/png"} | told)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps; how long one would have."""
    slept: list[float] = []

    async def doze(seconds: float) -> None:
        slept.append(seconds)
        await really_sleep(0)

    monkeypatch.setattr("asyncio.sleep", doze)
    return slept


def colorize(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[int, Any, Any]:
    """Color files that hold their names; return exit code, lines by name, and the summary."""
    transport = httpx2.MockTransport(service)
    monkeypatch.setattr("service.client.AsyncClient", partial(AsyncClient, transport=transport))
    (tmp_path / "in").mkdir(parents=True)
    for name in names:
        (tmp_path / "in" / f"{name}.png").write_bytes(name.encode())
    arguments = ["colorize", tmp_path / "in", "--out", tmp_path / "out", "--remote", "http://host:1", "--json"]
    called = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--quiet")])
    *lines, last = (json.loads(line) for line in called.stdout.splitlines())
    return called.exit_code, {Path(line["source"]).stem: line for line in lines}, last["summary"]


def test_a_busy_service_is_waited_for_as_long_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    code, lines, _ = colorize(Service(set(), busy=True), tmp_path, monkeypatch, "a")
    assert (code, lines["a"]["problem"]) == (1, "no-answer")
    assert MAX_WAIT_THERE_S - 1.25 * LONGEST_PAUSE_S < sum(pauses) <= MAX_WAIT_THERE_S == 5 * 60


def test_answers_that_are_not_computed_alike_are_remarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(set())
    assert "remarks" not in colorize(service, tmp_path / "alike", monkeypatch, "a", "b")[2]
    service.precisions = ["float32", "bfloat16"]
    code, lines, summary = colorize(service, tmp_path / "changed", monkeypatch, "a", "b", "c")
    assert (code, {line["status"] for line in lines.values()}) == (0, {"colored"})
    assert summary["remarks"] == [
        "not all photographs were computed alike: 2 by made up in bfloat16, 1 by made up in float32; "
        "--overwrite colors them again"
    ]


def test_pictures_that_end_the_service_end_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    names = [f"{number:02}" for number in range(24)]
    deadly = {"02", "04", "05", "06", "07", "19", "23"}
    service = Service({name.encode() for name in deadly}, away=5)
    code, lines, summary = colorize(service, tmp_path, monkeypatch, *names)
    assert (code, summary) == (1, {"colored": 17, "skipped": 0, "failed": 7, "left": 0})
    assert {name: line["problem"] for name, line in lines.items() if "problem" in line} == dict.fromkeys(
        deadly, "connection-lost"
    )
    assert {name: service.sent[name.encode()] for name in deadly} == dict.fromkeys(deadly, MAX_SENT)
    assert pauses, "it was away for a while each time"


def test_a_service_that_does_not_come_back_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    service = Service({b"b"}, away=1_000_000)
    code, lines, summary = colorize(service, tmp_path, monkeypatch, "a", "b", "c", "d", "e", "f")
    assert (code, summary["failed"]) == (1, 0)
    assert summary["stopped"].startswith("no connection to http://host:1")
    assert summary["left"] == 6 - len(lines)
    assert MAX_WAIT_THERE_S - 1.25 * LONGEST_PAUSE_S < sum(pauses) <= 4 * MAX_WAIT_THERE_S
