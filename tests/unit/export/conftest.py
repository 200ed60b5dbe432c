"""A made-up run, its network and its exported model, made once for all tests of export."""

from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.synthetic_run import make_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "made_up")


@pytest.fixture(scope="session")
def network(run_folder: Path) -> Any:
    from training.run.run_folder import open_run

    return open_run(run_folder).load_model()


@pytest.fixture(scope="session")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from export.pipeline import export_run

    return export_run(run_folder, tmp_path_factory.mktemp("models") / "made_up.onnx")


@pytest.fixture
def model(exported: Any) -> onnx.ModelProto:
    """The exported model, to be spoiled at will."""
    return onnx.load(exported.path)
