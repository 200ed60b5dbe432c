"""Fixtures of the service's unit tests."""

from pathlib import Path

import pytest

from service.engine.session import Session
from tests import onnx_factory


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a file."""
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def session(model_path: Path) -> Session:
    """The tiny model, loaded."""
    return Session(model_path, device="cpu", threads=2)
