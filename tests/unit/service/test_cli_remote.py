"""photochrom colorize --remote on a made-up service: how long it is waited for."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from service import client as client_module
from service.cli import PATIENCE_THERE_S, app
from service.client import LONGEST_PAUSE_S

really_sleep = asyncio.sleep


class Service:
    """A service that answers every picture with 503."""

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        return (
            httpx2.Response(200, json={"run_id": "made up"}) if request.url.path == "/model" else httpx2.Response(503)
        )


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody sleeps; how long one would have."""
    slept: list[float] = []

    async def doze(seconds: float) -> None:
        slept.append(seconds)
        await really_sleep(0)

    monkeypatch.setattr(client_module.asyncio, "sleep", doze)
    return slept


def colorize(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> tuple[int, Any, Any]:
    """Color files that hold their names; return exit code, lines by name, and the summary."""
    transport = httpx2.MockTransport(service)
    monkeypatch.setattr(client_module, "AsyncClient", partial(client_module.AsyncClient, transport=transport))
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / f"{name}.png").write_bytes(name.encode())
    arguments = ["colorize", tmp_path / "in", "--out", tmp_path / "out", "--remote", "http://host:1", "--json"]
    called = CliRunner().invoke(app, [str(argument) for argument in (*arguments, "--quiet")])
    *lines, last = (json.loads(line) for line in called.stdout.splitlines())
    return called.exit_code, {Path(line["source"]).stem: line for line in lines}, last["summary"]


def test_a_busy_service_is_waited_for_as_long_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    code, lines, _ = colorize(Service(), tmp_path, monkeypatch, "a")
    assert (code, lines["a"]["problem"]) == (1, "no-answer")
    assert PATIENCE_THERE_S - 1.25 * LONGEST_PAUSE_S < sum(pauses) <= PATIENCE_THERE_S == 5 * 60
