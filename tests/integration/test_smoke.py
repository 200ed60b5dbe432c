"""The whole road once, by the commands that users type: photographs -> run -> ONNX file -> a color PNG over HTTP."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from chroma.compose import compose_u8
from chroma.lab import gray_to_lightness, rgb_u8_to_lightness
from chroma.modes import MODES
from tests.starter import Starter
from tests.unit.training.pictures import encode, landscape, write_shards
from training.run.prediction import predict_picture
from training.run.run_folder import open_run

pytestmark = [pytest.mark.training, pytest.mark.smoke]


FLAT = ("--set", "model.unet_channels=[4,8,16,16]", "--set", "model.decoder_channels=[16,16]")
"""Four levels instead of six, which take as long again to trace and to export."""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, starter: Callable[[str], Starter]) -> Path:
    """A trained run of recipe `tiny` with its exported model.onnx."""
    folder = tmp_path_factory.mktemp("smoke")
    data = write_shards(folder / "data", train=24, val=4)
    started = starter("tensorflow")
    started.module("training.cli", "run", "tiny", "--data", data, "--run", folder / "run", *FLAT).finish()
    export = started.module("export", folder / "run")
    export.finish()
    assert "ab_decoded" in export.stdout
    return folder / "run"


@pytest.fixture(scope="module")
def client(run_folder: Path) -> Iterator[TestClient]:
    from service.http.app import create_app
    from service.settings import Settings

    with TestClient(create_app(Settings(model=run_folder / "model.onnx", device="cpu", threads=2))) as made:
        yield made


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    """A gray picture, (90, 131), uint8: no side fits the network."""
    return np.asarray(cv2.cvtColor(landscape(99, 90, 131), cv2.COLOR_RGB2GRAY))


@pytest.fixture(scope="module")
def heads(run_folder: Path, gray: np.ndarray) -> dict[str, np.ndarray]:
    """What the network answers to the gray picture under Keras."""
    run = open_run(run_folder)
    return predict_picture(run.load_model(), gray_to_lightness(gray), run.recipe.size)


def answer_to(client: TestClient, gray: np.ndarray, **query: Any) -> np.ndarray:
    """Post a gray PNG; return the answered picture, RGB."""
    answer = client.post("/colorize", params=query, files={"image": ("old.png", encode(gray[..., None], ".png"))})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    bgr = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgr.shape == (*gray.shape, 3)
    return np.ascontiguousarray(bgr[..., ::-1])


@pytest.mark.parametrize("mode", MODES)
def test_a_gray_png_comes_back_in_color_with_its_lightness(client: TestClient, gray: np.ndarray, mode: str) -> None:
    rgb = answer_to(client, gray, mode=mode, vividness=1)
    assert np.ptp(rgb.astype(int), axis=-1).mean() > 1
    error = np.abs(rgb_u8_to_lightness(rgb) - gray_to_lightness(gray))
    assert error.mean() <= 0.3
    assert np.percentile(error, 99) <= 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vividness", [0.0, 0.5])
def test_the_service_gives_what_training_would_show(
    client: TestClient, run_folder: Path, gray: np.ndarray, heads: dict[str, np.ndarray], mode: Any, vividness: float
) -> None:
    """Keras and the exported graph, decode in NumPy and decode in the graph: one picture."""
    run = open_run(run_folder)
    knobs = run.curve.at(vividness)
    ab = run.decoder().ab(heads, mode, knobs, run.curve.relative_gain(knobs.gain))[0]
    served = answer_to(client, gray, mode=mode, vividness=vividness, tone="off")
    assert np.abs(served.astype(int) - compose_u8(gray_to_lightness(gray), ab)).max() <= 1


def test_the_service_names_the_run(client: TestClient, run_folder: Path) -> None:
    stamp = client.get("/model").json()
    assert run_folder.name in str(stamp)
    assert "tiny" in str(stamp)
