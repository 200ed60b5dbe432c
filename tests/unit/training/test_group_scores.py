"""Scores by kind of photograph: who belongs where, and what an answer is worth."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from chroma.bins import Q, load_centers
from chroma.framing import head_lightness
from chroma.soft_encoding import nearest_bins
from tests.synthetic_run import make_run
from tests.unit.training.pictures import encode, landscape, write_shards
from training import DataError
from training.judge import group_scores
from training.judge.group_scores import score_groups
from training.judge.scorecard import FALSE_COLORS
from training.run.run_folder import open_run

pytestmark = pytest.mark.training

SIZE = 64


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "made_up")


def sure_of(ab: tuple[float, float]) -> Any:
    """A network that answers one color everywhere, and is sure of it."""
    best = int(nearest_bins(np.array([ab]), load_centers(), k=1)[0, 0])

    def answer(_: Any, lightness: np.ndarray) -> dict[str, np.ndarray]:
        count, height, width = lightness.shape[:3]
        logits = np.zeros((count, height // 4, width // 4, Q), np.float32)
        logits[..., best] = 40
        ab, scene = np.zeros((*logits.shape[:3], 2), np.float32), np.zeros((count, 1), np.float32)
        return {"ab_logits": logits, "ab": ab, "scene_logits": scene, "lightness": head_lightness(lightness)}

    return answer


def test_each_photograph_counts_in_its_scene_its_data_set_and_in_all(run_folder: Path, tmp_path: Path) -> None:
    run = open_run(run_folder)
    data = write_shards(tmp_path / "data", train=1, val=20, broken=("val003",))
    found = score_groups(run.load_model(), run, data, size=SIZE, pictures=20)
    # Of val000, val001, ... every third has no scene and every second is of the night; val003 (night) is broken.
    assert found["pictures"] == found["all"]["pictures"] == 19
    assert {name: row["pictures"] for name, row in found["scene"].items()} == {"nature": 13}
    assert {name: row["pictures"] for name, row in found["dataset"].items()} == {"day": 10, "night": 9}
    day, night = found["dataset"]["day"], found["dataset"]["night"]
    for name in ("psnr", "psnr_gray", *FALSE_COLORS, "kl", "kl_prior"):
        assert found["all"][name] == pytest.approx((10 * day[name] + 9 * night[name]) / 19, abs=2e-3)


def test_gray_is_as_good_as_gray_and_red_is_false(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = open_run(run_folder), write_shards(tmp_path / "data", train=1, val=6)
    network: Any = keras.Model()
    monkeypatch.setattr(group_scores, "predict_heads", sure_of((0.0, 0.0)))
    gray = score_groups(network, run, data, size=SIZE)["all"]
    assert gray["psnr"] == pytest.approx(gray["psnr_gray"], abs=0.2)
    assert gray["colorfulness_ratio"] < 0.1
    assert {gray[name] for name in FALSE_COLORS} == {0}
    assert gray["kl"] > gray["kl_prior"]  # sure, and wrong
    monkeypatch.setattr(group_scores, "predict_heads", sure_of((70.0, 20.0)))
    red = score_groups(network, run, data, size=SIZE)["all"]
    assert red["psnr"] < red["psnr_gray"] == gray["psnr_gray"]
    assert red["colorfulness"] > gray["colorfulness"]
    assert min(red["false_red"], red["false_deep_red"]) > 50
    assert red["false_green"] == 0


def test_without_color_there_is_nothing_to_score(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for place in range(60):
        gray = np.repeat(landscape(place)[..., :1], 3, axis=-1)
        (tmp_path / "data" / f"{place}.png").write_bytes(encode(gray, ".png"))
    run = open_run(run_folder)
    with pytest.raises(DataError, match="no color photographs in the val split"):
        score_groups(keras.Model(), run, tmp_path / "data", size=SIZE)
