"""One run of `photochrom colorize` computes in one precision, and only long ones look for what is faster."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.archive import cluster
from service.commands import places
from service.commands.shared import app
from service.engine import precision
from service.engine.precision import Choice
from service.engine.session import Session
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.usefixtures("command_line")


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The sessions for which something faster was looked for; from two photographs on."""
    sessions: list[Session] = []

    def find(session: Session) -> Choice:
        sessions.append(session)
        return Choice(session, "")

    monkeypatch.setattr(precision, "find_faster", find)
    monkeypatch.setattr(places, "LONG_FROM", 2)
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "auto")
    return sessions


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(by_pillow(smooth_gray(30, 40), "PNG"))
    return folder


def test_a_short_run_does_not_look(tmp_path: Path, looked: list[Session]) -> None:
    assert run("colorize", put(tmp_path / "in", "a.png")).exit_code == 0
    assert not looked


def test_a_long_run_looks_once_and_goes_on_alike(tmp_path: Path, looked: list[Session]) -> None:
    folder = put(tmp_path / "in", "a.png", "b.png")
    assert run("colorize", folder).exit_code == 0
    assert len(looked) == 1
    put(folder, "c.png")  # Of three photographs one is left.
    assert run("colorize", folder).exit_code == 0
    assert len(looked) == 2


def test_what_is_asked_for_is_not_looked_for(
    tmp_path: Path, looked: list[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "float32")
    assert run("colorize", put(tmp_path / "in", "a.png", "b.png")).exit_code == 0
    assert not looked


def test_a_precision_that_does_not_work_ends_the_run_before_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "int8")
    result = run("colorize", put(tmp_path / "in", "a.png"))
    assert result.exit_code == 1
    assert "PHOTOCHROM_PRECISION=int8, but" in result.stderr
    assert "photochrom-export --precision int8" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_cluster_is_told_the_int8_file_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[cluster.Instructions] = []
    monkeypatch.setattr(cluster, "color_on_cluster", lambda _, order, *__, **___: orders.append(order))
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "int8")
    model = tmp_path / "mine.int8.onnx"
    run("colorize", put(tmp_path / "in", "a.png"), "--cluster", "auto", "--model", model)
    assert [order.model for order in orders] == [model]


@pytest.mark.parametrize(("chosen", "told"), [("", "auto"), ("bfloat16", "bfloat16"), ("int8", "int8")])
def test_a_cluster_is_told_one_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, told: str
) -> None:
    orders: list[cluster.Instructions] = []
    monkeypatch.setattr(cluster, "color_on_cluster", lambda _, order, *__, **___: orders.append(order))
    monkeypatch.setenv("PHOTOCHROM_PRECISION", chosen)
    run("colorize", put(tmp_path / "in", "a.png"), "--cluster", "auto")
    assert [order.precision for order in orders] == [told]
    assert [order.model.suffixes for order in orders] == [[".int8", ".onnx"] if told == "int8" else [".onnx"]]
