"""Evaluation and calibration of a run folder, with an untrained network and with answers that are known."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chroma import quality
from chroma.bins import load_centers, squared_distances
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from tests.unit.training.pictures import encode, landscape, write_shards
from training import CheckpointError, DataError, calibrate, cli, evaluate, run
from training.calibrate import CALM, calibrate_run
from training.data import decode_photograph
from training.evaluate import CARD_END, CARD_START, COLUMNS, evaluate_run, table_markdown, update_card
from training.model import build_model
from training.prediction import predict_picture
from training.recipes import load_recipe

pytestmark = pytest.mark.training

TEST_PICTURES = Path(__file__).parents[1] / "data"
TINY = load_recipe("tiny")
CENTERS = load_centers()
ROWS = [
    "do nothing (gray)",
    "calm (vividness 0)",
    "default (vividness 0.5)",
    "vivid (vividness 1)",
    "fused",
    "regression",
    "argmax",
    "annealed T=0.38",
    "original decode: rebalanced, argmax",
]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as training leaves it, but with random weights."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    folder.mkdir()
    (folder / run.RECIPE).write_text(TINY.to_json())
    (folder / run.PHOTOGRAPHS).write_text(json.dumps({"scenes": ["beach", "meadow"], "train": 1, "val": 1}))
    np.save(folder / run.PRIOR, np.exp(-np.square(CENTERS).sum(axis=1) / 800))
    build_model(TINY.model, scenes=2).save_weights(folder / run.BEST)
    return folder


@pytest.fixture
def folder(untrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained, tmp_path / "untrained"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The three test photographs, and three files that cannot be scored."""
    made = Path(shutil.copytree(TEST_PICTURES, tmp_path / "pictures"))
    (made / "broken.jpg").write_bytes(b"no picture")
    (made / "gray.png").write_bytes(encode(np.repeat(landscape(1)[..., :1], 3, axis=-1), ".png"))
    return made


def squashed(name: str) -> np.ndarray:
    picture = np.ascontiguousarray(decode_photograph((TEST_PICTURES / name).read_bytes()))
    return cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)


def all_knowing(
    pictures: list[np.ndarray], confidence: float = 200.0, wrong: int = -1
) -> Callable[..., dict[str, np.ndarray]]:
    """A network that recognizes a picture by its L and answers with its true colors, less surely when asked to.

    Args:
        pictures: RGB, uint8; what it knows.
        confidence: logits are -distance^2 / confidence to the true ab.
        wrong: of this picture it thinks the opposite.
    """
    known = [rgb_u8_to_lab(picture) for picture in pictures]

    def predict(_: Any, L: np.ndarray, size: int) -> dict[str, np.ndarray]:
        assert size % 32 == 0
        at = int(np.argmin([abs(float(lab[..., 0].mean() - L.mean())) for lab in known]))
        side = size // 4
        ab = cv2.resize(np.ascontiguousarray(known[at][..., 1:]), (side, side), interpolation=cv2.INTER_AREA)[None]
        ab = -ab if at == wrong else ab
        logits = (-squared_distances(ab, CENTERS) / confidence).astype(np.float32)
        return {"ab_logits": logits, "ab": ab, "scene_logits": np.zeros((1, 2), np.float32)}

    return predict


# ----------------------------------------------------------------------------------------------------------- evaluation


def test_a_run_is_scored_in_every_way_beside_doing_nothing(
    folder: Path, pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = evaluate_run(folder, pictures, out=tmp_path / "out", size=64)
    assert list(report["rows"]) == ROWS
    assert report["pictures"] == 3
    assert "broken.jpg is left out" in caplog.text
    assert "gray.png is left out: it has no color" in caplog.text
    for row in report["rows"].values():
        assert {name for name, _, _ in COLUMNS} <= set(row)
        assert all(math.isfinite(value) for value in row.values())
        assert row["lightness_error"] < 0.3  # composition keeps L, whatever the colors
    assert json.loads((folder / run.EVALUATION).read_text()) == report
    assert run.open_run(folder).evaluation() == report
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["astronaut.png", "chelsea.png", "coffee.png"]
    shown = cv2.imread(str(tmp_path / "out" / "coffee.png"))[..., ::-1]
    assert shown.shape == (256, 5 * 256, 3)
    assert (shown[:, -256:] == squashed("coffee.jpg")).all()
    assert np.ptp(shown[:, :256].astype(int), axis=-1).max() <= 2


def test_doing_nothing_scores_what_gray_scores(folder: Path, pictures: Path) -> None:
    row = evaluate_run(folder, pictures, size=64)["rows"]["do nothing (gray)"]
    psnr, errors = [], []
    for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg"):
        truth = squashed(name)
        lab = rgb_u8_to_lab(truth)
        gray = compose_u8(np.ascontiguousarray(lab[..., :1]), np.zeros((1, 1, 2), np.float32))
        psnr.append(10 * np.log10(255**2 / np.square(gray.astype(float) - truth).mean()))
        errors.append(np.hypot(lab[..., 1], lab[..., 2]).mean())
    assert row["psnr"] == pytest.approx(np.mean(psnr), abs=1e-3)
    assert row["ab_error"] == pytest.approx(np.mean(errors), abs=0.05)
    assert row["colorfulness_ratio"] < 0.02
    assert row["false_red"] == 0


def test_true_colors_score_near_perfect(folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = [squashed(name) for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg")]
    monkeypatch.setattr(evaluate, "predict_picture", all_knowing(known))
    report = evaluate_run(folder, pictures, size=256)
    rows = report["rows"]
    assert rows["regression"]["psnr"] > 30
    assert rows["regression"]["auc"] > 95
    assert rows["regression"]["colorfulness_ratio"] == pytest.approx(1, abs=0.08)
    assert rows["regression"]["tvq"] == pytest.approx(1, abs=0.15)
    assert rows["argmax"]["psnr"] > rows["do nothing (gray)"]["psnr"] + 4
    assert rows["regression"]["false_red"] < 0.2
    assert report["worse_than_gray"] == 0


def test_the_size_is_the_recipes_unless_asked_for_another(folder: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "one"
    pictures.mkdir()
    shutil.copy(TEST_PICTURES / "coffee.jpg", pictures)
    seen = []
    real = evaluate.predict_picture
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "predict_picture", lambda m, L, size: seen.append(size) or real(m, L, size))
        assert evaluate_run(folder, pictures)["size"] == TINY.size
        assert "network input 96 px" in evaluate_run(folder, pictures, size=96)["protocol"]
    assert seen == [TINY.size, 96]


def test_the_worst_pictures_are_named(folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is right about two pictures and makes the ginger cat blue."""
    known = [squashed(name) for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg")]
    monkeypatch.setattr(evaluate, "predict_picture", all_knowing(known, wrong=1))
    report = evaluate_run(folder, pictures, size=128)
    assert report["worst"][0]["name"] == "chelsea.png"
    assert report["worst"][0]["gain_db"] < 0
    assert report["worse_than_gray"] == pytest.approx(1 / 3, abs=1e-3)


def test_the_table_has_a_row_a_way(folder: Path, pictures: Path) -> None:
    report = evaluate_run(folder, pictures, size=64)
    lines = table_markdown(report).splitlines()
    assert lines[0].startswith("3 photographs squashed to 256x256")
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert [line.split("|")[1].strip() for line in table[2:]] == ROWS
    assert f"{report['rows']['fused']['psnr']:.2f}" in table[2 + ROWS.index("fused")]


def test_a_card_gets_the_table_between_its_marks(folder: Path, pictures: Path, tmp_path: Path) -> None:
    card = tmp_path / "CARD.md"
    card.write_text(f"before\n{CARD_START}\nold scores\n{CARD_END}\nafter\n")
    report = evaluate_run(folder, pictures, size=64)
    for _ in range(2):  # again, and nothing piles up
        update_card(card, report)
        text = card.read_text()
        assert text.startswith("before\n")
        assert text.endswith("\nafter\n")
        assert text.count(table_markdown(report)) == 1
        assert "old scores" not in text
        assert report["worst"][0]["name"] in text
    card.write_text("no marks")
    with pytest.raises(DataError, match="must be a file that holds the lines"):
        update_card(card, report)
    assert card.read_text() == "no marks"


def test_without_photographs_there_is_nothing_to_score(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        evaluate_run(folder, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no color photographs in"):
        evaluate_run(folder, tmp_path / "empty")
    assert not (folder / run.EVALUATION).exists()
    with pytest.raises(CheckpointError, match="is not a run folder"):
        evaluate_run(tmp_path / "empty", TEST_PICTURES)


# ---------------------------------------------------------------------------------------------------------- calibration


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "data", train=1, val=4, broken=("val001",))


def validation_pictures() -> list[np.ndarray]:
    """Return the validation pictures of `data` that can be read."""
    return [np.ascontiguousarray(decode_photograph(encode(landscape(1000 + place)))) for place in (0, 2, 3)]


def squash(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def judged(
    folder: Path, pictures: list[np.ndarray], predict: Callable[..., dict[str, np.ndarray]], knobs: Knobs | None
) -> tuple[float, float]:
    """PSNR and colorfulness ratio of an answer, computed again; None for gray."""
    decoder = run.open_run(folder).decoder()
    psnr, answers, truths = [], [], []
    for picture in pictures:
        L = np.ascontiguousarray(rgb_u8_to_lab(squash(picture, TINY.size))[..., :1])
        truth = squash(picture, 96)
        ab = np.zeros((1, 1, 2), np.float32)
        if knobs is not None:
            ab = decoder.ab(predict(None, L, TINY.size), "annealed", knobs)[0]
        answers.append(compose_u8(np.ascontiguousarray(rgb_u8_to_lab(truth)[..., :1]), ab))
        truths.append(truth)
        psnr.append(quality.psnr(answers[-1], truth))
    return float(np.mean(psnr)), quality.colorfulness_ratio(answers, truths)


@pytest.mark.parametrize("network", ["half sure", "untrained"])
def test_the_curve_is_chosen_within_its_limits(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    """A network that is half sure, or knows nothing: the limits hold on a computation of our own."""
    pictures = validation_pictures()
    predict = all_knowing([squash(picture, TINY.size) for picture in pictures], confidence=900.0)
    if network == "untrained":
        model = run.open_run(folder).load_model()
        predict = lambda _, L, size: predict_picture(model, L, size)  # noqa: E731
    monkeypatch.setattr(calibrate, "predict_picture", predict)
    lines = list(calibrate_run(folder, data))
    assert lines[0] == "val001 is left out: not a picture"
    assert [line.split(":")[0] for line in lines[1:]] == ["gray", "calm", "default", "vivid"]
    curve = run.open_run(folder).curve
    assert [at for at, _ in curve.points] == [0, 0.5, 1]
    calm, default, vivid = (knobs for _, knobs in curve.points)
    assert replace(calm, cap=CALM.cap) == CALM
    assert calm.cap == default.cap
    (gray_psnr, _), (calm_psnr, calm_color) = (judged(folder, pictures, predict, k) for k in (None, calm))
    (default_psnr, default_color), (vivid_psnr, vivid_color) = (
        judged(folder, pictures, predict, k) for k in (default, vivid)
    )
    assert default_psnr >= calm_psnr - 0.5
    assert vivid_psnr >= min(gray_psnr + 0.1, calm_psnr - 0.5)
    assert vivid_color >= default_color >= calm_color
    if network == "half sure":
        assert default_color > calm_color + 0.05  # vividness buys color where there is a choice
    stored = json.loads((folder / run.CURVE_FILE).read_text())
    assert (stored["pictures"], stored["points"]) == (3, curve.to_rows())


def test_where_no_decode_is_within_the_limits_the_curve_stays_calm(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "DEFAULT_FALSE_RED", -1.0)
    monkeypatch.setattr(calibrate, "VIVID_FALSE_RED", -1.0)
    list(calibrate_run(folder, data, pictures=8))
    assert {knobs for _, knobs in run.open_run(folder).curve.points} == {CALM}


def test_without_readable_color_in_validation_calibration_is_an_error(folder: Path, tmp_path: Path) -> None:
    broken = write_shards(tmp_path / "broken", train=1, val=2, broken=("val000", "val001"))
    with pytest.raises(DataError, match="can be read and has color"):
        list(calibrate_run(folder, broken))
    assert not (folder / run.CURVE_FILE).exists()


# --------------------------------------------------------------------------------------------------------- command line


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["photochrom-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_commands_print_what_was_found(
    folder: Path, data: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "calibrate", str(folder), "--data", str(data), "--pictures", "8") == 0
    assert "default: T " in capsys.readouterr().err
    assert run_command(monkeypatch, "evaluate", str(folder), "--pictures", str(pictures), "--size", "64") == 0
    assert "| do nothing (gray) |" in capsys.readouterr().out
    assert run_command(monkeypatch, "evaluate", str(folder), "--pictures", str(folder / "nowhere")) == 1
    assert capsys.readouterr().err.splitlines() == [f"DataError: no such folder: {folder / 'nowhere'}"]
