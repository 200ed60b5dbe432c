"""docker/serve.py over the real service: a new model under load, and nobody is turned away."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT
from tests.pictures import by_pillow, smooth_gray

pytestmark = pytest.mark.e2e

GRAY = by_pillow(smooth_gray(48, 64), "PNG")
CALLERS = 4


class Container:
    """What runs in the service's container, on a free port, over a folder of models."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.log, self.model = folder / "log", folder / "models" / "model.onnx"
        self.model.parent.mkdir()
        self.tiny = onnx_factory.write_model(folder / "tiny.onnx").read_bytes()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")}
        environment |= {"PHOTOCHROM_PORT": self.address.rpartition(":")[2], "PHOTOCHROM_DEVICE": "cpu"}
        environment["PHOTOCHROM_PRECISION"] = "float32"  # As in tests/conftest.py.
        environment |= {"PHOTOCHROM_MODELS": str(self.model.parent), "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "docker" / "serve.py"], cwd=folder, env=environment, stderr=stream
            )

    def put_model(self) -> None:
        """Put the tiny model there, in one piece."""
        beside = self.model.with_suffix(".new")
        beside.write_bytes(self.tiny)
        beside.replace(self.model)

    def recipe(self) -> str:
        return str(httpx2.get(f"{self.address}/model", timeout=PATIENCE_S).json()["recipe"])

    def color(self) -> int:
        """Color a picture over a connection of its own; return the status."""
        headers = {"Content-Type": "image/png"}
        return httpx2.post(f"{self.address}/colorize", content=GRAY, headers=headers, timeout=PATIENCE_S).status_code

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path)
    for _ in range(20 * PATIENCE_S):  # Until its port is open; then callers wait for the service by themselves.
        try:
            made.recipe()
            break
        except httpx2.ConnectError:
            time.sleep(0.05)
    yield made
    made.end()


def test_a_new_model_under_load_fails_no_request(container: Container) -> None:
    assert container.recipe() == "wide"
    outcomes: list[int | str] = []
    stopped = threading.Event()

    def call() -> None:
        while not stopped.is_set():
            try:
                outcomes.append(container.color())
            except httpx2.HTTPError as error:
                outcomes.append(repr(error))

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    container.put_model()
    end = time.monotonic() + PATIENCE_S
    while container.recipe() != "tiny":
        assert time.monotonic() < end, container.log.read_text()
        time.sleep(0.1)
    after = len(outcomes)
    while len(outcomes) < after + CALLERS:
        time.sleep(0.05)
    stopped.set()
    for caller in callers:
        caller.join(PATIENCE_S)
    assert set(outcomes) == {200}
    assert "is new and works: starting again with it" in container.log.read_text()


def test_once_it_is_told_to_stop_nobody_waits_for_another(container: Container) -> None:
    assert container.end() == 0
    with pytest.raises(httpx2.ConnectError):
        container.color()
    assert "Traceback" not in container.log.read_text()


def test_a_port_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "docker" / "serve.py"],
        env={**os.environ, "PHOTOCHROM_PORT": "tcp://10.0.0.1:8000", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert result.returncode == 2
    assert "PHOTOCHROM_PORT: " in result.stderr
