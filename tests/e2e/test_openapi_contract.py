"""What the service says of itself is what it does: requests made up from its description, against the real process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import onnx_factory
from tests.e2e.server import PATIENCE_S, ROOT, Server

pytestmark = pytest.mark.e2e

KEY = "the-key-of-the-contract"


def test_made_up_requests_get_what_is_promised(tmp_path: Path) -> None:
    """All of schemathesis' checks: statuses, types and schemas as described, bad data and bad keys refused, no 5xx."""
    # The machine may be busy with other things: what takes long there is no breach of contract.
    server = Server(
        onnx_factory.write_model(tmp_path / "tiny.onnx"),
        tmp_path / "log",
        api_keys=KEY,
        max_megapixels=1,
        threads=1,
        deadline_s=PATIENCE_S,
    )
    (tmp_path / "schemathesis.toml").write_text(f'[auth.openapi.HTTPBearer]\nbearer = "{KEY}"\n')
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"),
        *("--checks", "all", "--max-examples", "50", "--seed", "1", "--no-color"),
        *("--generation-database", "none", "--warnings", "off"),
        *("--request-timeout", str(2 * PATIENCE_S), "--max-response-time", str(2 * PATIENCE_S)),
    ]
    try:
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        log = server.log.read_text()
    finally:
        server.stop()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No issues found" in result.stdout
    assert "Traceback" not in log
