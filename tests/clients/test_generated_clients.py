"""Clients that others generate from the service's description color a photograph by the real service."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT, Server
from tests.pictures import by_pillow, smooth_gray

HERE = Path(__file__).parent
ENVIRONMENT = Path(os.environ.get("PHOTOCHROM_TEST_CLIENTS", ROOT / ".venv-clients"))
"""Where the generators are; `make test` makes it."""
GRAY = by_pillow(smooth_gray(48, 64), "PNG")
WRONG = "hint 2 of 2: x is '2', not a number from 0 to 1"

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clients")
    running = Server(onnx_factory.write_model(folder / "tiny.onnx"), folder / "log")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def description(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("description") / "openapi.json"
    path.write_bytes(server.client.get("/openapi.json").content)
    return path


def done(*command: str | Path, cwd: Path) -> str:
    """Run a program and return what it prints."""
    path = f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}"  # The generator formats with the ruff beside it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": path}
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=8 * PATIENCE_S
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def expected(server: Server) -> bytes:
    """What anybody gets who asks for the same."""
    answer = server.post(GRAY, "?vividness=0.8&hints=0.5,0.5,c03020")
    assert answer.status_code == 200
    return bytes(answer.content)


@pytest.mark.skipif(
    not (ENVIRONMENT / "bin" / "openapi-python-client").exists(), reason="no .venv-clients (see `make test`)"
)
def test_openapi_python_client(server: Server, description: Path, tmp_path: Path) -> None:
    told = done(
        *(ENVIRONMENT / "bin" / "openapi-python-client", "generate", "--path", description),
        *("--output-path", tmp_path / "generated", "--meta", "none"),
        cwd=tmp_path,
    )
    assert "Cannot parse" not in told
    shutil.copy(HERE / "color.py", tmp_path)
    address = f"http://127.0.0.1:{server.port}"
    (tmp_path / "gray.png").write_bytes(GRAY)
    told = done(ENVIRONMENT / "bin" / "python", "color.py", address, "gray.png", "color.png", cwd=tmp_path)
    said = json.loads(told)
    assert said["problem"] == "urn:photochrom:problem:invalid-option"
    assert WRONG in said["detail"]
    assert said["status"] == "ok"
    assert [bytes.fromhex(said[name]) for name in ("form", "again")] == [b"\x89PNG", b"\x89PNG"]
    made = (tmp_path / "color.png").read_bytes()
    assert made == expected(server)
    pixels = np.asarray(Image.open(io.BytesIO(made)))
    assert pixels.shape == (48, 64, 3)


@pytest.mark.skipif(
    not ((ENVIRONMENT / "node_modules").is_dir() and shutil.which("node")),
    reason="no node, or no .venv-clients/node_modules (see `make test`)",
)
def test_openapi_typescript_and_openapi_fetch(server: Server, description: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ENVIRONMENT / "node_modules")
    for name in ("package.json", "color.ts"):
        shutil.copy(HERE / name, tmp_path)
    programs = tmp_path / "node_modules" / ".bin"
    done(programs / "openapi-typescript", description, "--output", "api.d.ts", cwd=tmp_path)
    strict = ("--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom", "--types", "node")
    done(programs / "tsc", *strict, "color.ts", cwd=tmp_path)
    (tmp_path / "gray.png").write_bytes(GRAY)
    told = done("node", "color.js", f"http://127.0.0.1:{server.port}", "gray.png", "color.png", cwd=tmp_path)
    said = json.loads(told)
    assert said["problem"] == "urn:photochrom:problem:invalid-option"
    assert WRONG in said["detail"]
    assert said["status"] == "ok"
    assert (tmp_path / "color.png").read_bytes() == expected(server)
