"""Fixtures of the service's unit tests."""

from pathlib import Path

import pytest

from service.engine.session import Session
from service.settings import ENV_PREFIX, Settings
from tests import onnx_factory


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a file."""
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def session(model_path: Path) -> Session:
    """The tiny model, loaded."""
    return Session(model_path, device="cpu", threads=2)


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: Path) -> None:
    """Commands find the tiny model, nothing of this machine's settings, and an empty folder to work in."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    monkeypatch.setenv("PHOTOCHROM_MODEL", str(model_path))
    monkeypatch.setenv("PHOTOCHROM_DEVICE", "cpu")
    monkeypatch.setenv("PHOTOCHROM_PRECISION", "float32")
    monkeypatch.setenv("OPENCV_IO_MAX_IMAGE_PIXELS", "1000000000")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
