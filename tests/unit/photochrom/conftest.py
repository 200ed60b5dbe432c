"""Fixtures of the package's unit tests."""

from pathlib import Path

import pytest

from tests import onnx_factory


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a file."""
    return onnx_factory.write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
