"""Evaluation and calibration of a run folder, with an untrained network and with answers that are known."""

import errno
import io
import itertools
import json
import logging
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from chroma import quality, signature
from chroma.bins import load_centers, squared_distances
from chroma.compose import compose_u8
from chroma.decoding import Knobs
from chroma.lab import rgb_u8_to_lab
from tests.unit.training.pictures import encode, landscape, write_plates, write_shards
from tests.unit.training.test_feature_networks import mean_levels
from training import CheckpointError, DataError, RunFolderError, cli
from training.data.batches import BatchMaker
from training.data.photographs import open_photographs
from training.data.pictures import decode_photograph
from training.judge import bench, calibrate, evaluate, evaluation_page
from training.judge.calibrate import CALM_GAINS, calibrate_run
from training.judge.decoder_search import CALM, CALM_GAIN_NEAR_DB, CALM_NEAR_DB
from training.judge.evaluate import evaluate_run, score
from training.judge.model_card import CARD_END, CARD_START, MARKS, update_card
from training.judge.protocols import PROTOCOLS
from training.judge.scorecard import FALSE_COLORS, PLATE_COLUMNS, SCORES, table_markdown
from training.judge.ways import ways_to_decode
from training.network.model import build_model
from training.recipes import load_recipe
from training.run import run_folder
from training.run.prediction import predict_heads, predict_picture

pytestmark = pytest.mark.training

TEST_PICTURES = Path(__file__).parents[1] / "data"
TINY = load_recipe("tiny")
CENTERS = load_centers()
ROWS = [
    "do nothing (gray)",
    "majority color",
    "ceiling: true color on the network's grid",
    "calm (vividness 0)",
    "default (vividness 0.5)",
    "default, ortho plate",
    "default, blue plate",
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
    (folder / run_folder.RECIPE).write_text(TINY.to_json())
    (folder / run_folder.PHOTOGRAPHS).write_text(json.dumps({"scenes": ["beach", "meadow"], "train": 1, "val": 1}))
    np.save(folder / run_folder.PRIOR, np.exp(-np.square(CENTERS).sum(axis=1) / 800))
    build_model(TINY.model, scenes=2).save_weights(folder / run_folder.BEST)
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


class PageReader(HTMLParser):
    """Collects what a page claims: its numbers and their places, all other text, its pictures, its links."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[dict[str, str]] = []
        self.loose: list[str] = []
        self.images: list[dict[str, str]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if "id" in facts:
            self.ids.append(facts["id"])
        if tag == "data":
            self.numbers.append(facts | {"text": ""})
        if tag == "img":
            self.images.append(facts)
        if tag == "a":
            self.links.append(facts["href"])
        if tag not in ("img", "meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "data" in self._open:
            self.numbers[-1]["text"] += data
        elif self._open and not {"svg", "style", "dl", "h4", "th"} & set(self._open):
            self.loose.append(data)


def look_up(report: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        report = report[int(key)] if isinstance(report, list) else report[key]
    return report


def read_page(path: Path) -> PageReader:
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@dataclass(frozen=True)
class Evaluated:
    """An evaluation with everything in it: folder of the run, exported pictures, report, page."""

    folder: Path
    out: Path
    report: dict[str, Any]
    page: PageReader
    log: str


@pytest.fixture(scope="module")
def evaluated(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Three photographs under four names, one that is gray and one that is broken; labels and networks."""
    made = tmp_path_factory.mktemp("evaluated")
    folder, pictures = made / "untrained", made / "pictures"
    shutil.copytree(untrained, folder)
    shutil.copytree(TEST_PICTURES, pictures, ignore=shutil.ignore_patterns("*.md"))
    shutil.copy(pictures / "coffee.jpg", pictures / "<b>&.jpg")
    shutil.copy(pictures / "coffee.jpg", pictures / "chelsea.jpg")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    (pictures / "gray<i>.png").write_bytes(encode(np.full((30, 30, 3), 90, np.uint8), ".png"))
    (made / "labels.csv").write_text("file,scene,label\ncoffee.jpg,things,0\nchelsea.png,cats~/1,0\n<b>&.jpg,things,\n")
    network = str(mean_levels(made / "levels.onnx"))
    networks = evaluate.Networks(fid=network, classifier=f"{network}@unit")
    steps = io.StringIO()
    handler = logging.StreamHandler(steps)
    bench.log.addHandler(handler)
    evaluate_run(folder, pictures, out=made / "out", size=64, labels=made / "labels.csv", networks=networks)
    bench.log.removeHandler(handler)
    report = json.loads((folder / run_folder.EVALUATION).read_text())
    return Evaluated(folder, made / "out", report, read_page(folder / evaluate.PAGE), steps.getvalue())


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small photographs, for tests that do not look at the plots: drawing them takes longest."""
    monkeypatch.setattr(evaluation_page, "draw_plots", lambda _: {})
    folder = tmp_path / "small"
    folder.mkdir()
    for seed in (1, 2):
        (folder / f"{seed}.png").write_bytes(encode(landscape(seed, 40, 56), ".png"))
    return folder


def squashed(name: str) -> np.ndarray:
    picture = np.ascontiguousarray(decode_photograph((TEST_PICTURES / name).read_bytes()))
    return cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module", autouse=True)
def models_are_built_once() -> Iterator[None]:
    """Loading one takes longer than most tests here."""
    load = run_folder.Run.load_model
    known: dict[tuple[Any, ...], Any] = {}

    def cached(opened: run_folder.Run, weights: str = run_folder.BEST) -> Any:
        key = (opened.scenes, (opened.folder / weights).stat().st_size)
        if key not in known:
            known[key] = load(opened, weights)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder.Run, "load_model", cached)
        yield


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
        small = cv2.resize(known[at][..., :1].copy(), (side, side), interpolation=cv2.INTER_AREA)[None, ..., None]
        return {"ab_logits": logits, "ab": ab, "scene_logits": np.zeros((1, 2), np.float32), "lightness": small}

    return predict


# ----------------------------------------------------------------------------------------------------------- evaluation


def test_a_run_is_scored_in_every_way_beside_doing_nothing(evaluated: Evaluated) -> None:
    report = evaluated.report
    assert list(report["rows"]) == ROWS
    assert (report["schema"], report["pictures"], report["run"]) == (2, 5, "untrained")
    assert report["protocol"] == "5 photographs squashed to 256x256, true L, network input 64 px"
    for row in report["rows"].values():
        assert set(row) == set(SCORES) - {"kept_skin"}  # nobody drew boxes
        assert all(math.isfinite(value) for value in row.values())
        assert row["lightness_error"] < 0.3  # composition keeps L, whatever the colors
    # What goes into the model's stamp is without the page's details.
    headline = {name: report[name] for name in report if name != "details"}
    assert run_folder.open_run(evaluated.folder).evaluation() == headline


def test_what_cannot_be_scored_is_listed_with_the_reason(evaluated: Evaluated) -> None:
    left_out = {item["name"]: item["reason"] for item in evaluated.report["details"]["left_out"]}
    assert left_out == {"broken.jpg": "not a picture", "gray<i>.png": "it has no color to score against"}
    assert "broken.jpg is left out" in evaluated.log


def test_pictures_are_exported_and_equal_stems_kept_apart(evaluated: Evaluated) -> None:
    names = sorted(path.name for path in evaluated.out.iterdir())
    assert names == ["<b>&.png", "astronaut.png", "chelsea.jpg.png", "chelsea.png.png", "coffee.png"]
    shown = cv2.imread(str(evaluated.out / "coffee.png"))[..., ::-1]
    assert shown.shape == (256, 5 * 256, 3)
    assert (shown[:, -256:] == squashed("coffee.jpg")).all()
    assert np.ptp(shown[:, :256].astype(int), axis=-1).max() <= 2
    assert (cv2.imread(str(evaluated.out / "chelsea.jpg.png"))[:, -256:, ::-1] == squashed("coffee.jpg")).all()


def test_doing_nothing_scores_what_gray_scores(evaluated: Evaluated) -> None:
    row = evaluated.report["rows"]["do nothing (gray)"]
    psnr, errors = [], []
    for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg", "coffee.jpg", "coffee.jpg"):
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
    monkeypatch.setattr(bench, "predict_picture", all_knowing(known))
    report = evaluate_run(folder, pictures, size=256, protocol="eccv16")
    rows = report["rows"]
    assert rows["regression"]["psnr"] > 30
    assert rows["regression"]["auc"] > 95
    assert rows["regression"]["colorfulness_ratio"] == pytest.approx(1, abs=0.08)
    assert rows["regression"]["tvq"] == pytest.approx(1, abs=0.15)
    assert rows["argmax"]["psnr"] > rows["do nothing (gray)"]["psnr"] + 4
    assert rows["regression"]["false_red"] < 0.2
    assert rows["regression"]["psnr"] == pytest.approx(rows["ceiling: true color on the network's grid"]["psnr"])
    assert report["worse_than_gray"] == 0
    network = report["details"]["posterior"]["photographs"]["rows"]["network"]
    assert network["rmse_regression"] == pytest.approx(0, abs=1e-4)
    assert network["top1"] > 0.95
    assert network["within10"] > 0.95


def test_the_size_is_the_recipes_unless_asked_for_another(folder: Path, small: Path) -> None:
    seen = []
    real = bench.predict_picture
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "predict_picture", lambda m, L, size: seen.append(size) or real(m, L, size))
        assert evaluate_run(folder, small, protocol="div2k")["size"] == TINY.size
        assert "network input 96 px" in evaluate_run(folder, small, protocol="div2k", size=96)["protocol"]
    assert seen == [TINY.size, TINY.size, 96, 96]


def test_the_worst_pictures_are_named(folder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is right about two pictures and makes the ginger cat blue."""
    known = [squashed(name) for name in ("astronaut.jpg", "chelsea.png", "coffee.jpg")]
    monkeypatch.setattr(bench, "predict_picture", all_knowing(known, wrong=1))
    report = evaluate_run(folder, pictures, size=128, protocol="eccv16")
    assert report["worst"][0]["name"] == "chelsea.png"
    assert report["worst"][0]["gain_db"] < 0
    assert report["worse_than_gray"] == pytest.approx(1 / 3, abs=1e-3)
    assert report["details"]["best"][-1] == report["worst"][0]


def test_the_table_has_a_row_a_way(evaluated: Evaluated) -> None:
    report = evaluated.report
    lines = table_markdown(report).splitlines()
    assert lines[0].startswith("5 photographs squashed to 256x256")
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert [line.split("|")[1].strip() for line in table[2:]] == ROWS
    assert f"{report['rows']['fused']['psnr']:.2f}" in table[2 + ROWS.index("fused")]
    for name in FALSE_COLORS:
        assert f" {SCORES[name].heading} |" in table[0]


def test_a_card_gets_the_table_between_its_marks(evaluated: Evaluated, tmp_path: Path) -> None:
    card = tmp_path / "CARD.md"
    card.write_text(f"before\n{CARD_START}\nold scores\n{CARD_END}\nafter\n")
    report = evaluated.report
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


def test_the_report_alone_fills_a_card(evaluated: Evaluated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card, shots = tmp_path / "CARD.md", tmp_path / "shots"
    card.write_text("".join(f"{start}\n{end}\n" for _, start, end in MARKS))
    command = ["photochrom-train", "card", str(evaluated.folder), "--card", str(card)]
    monkeypatch.setattr(sys, "argv", [*command, "--show", "chelsea.png", "--shots", str(shots)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 0
    text = card.read_text()
    assert table_markdown(evaluated.report) in text
    assert text.count("Not measured") == 2  # validation and kinds need --data
    assert "![chelsea: gray, default, truth](shots/chelsea.jpg)" in text
    shot = cv2.imread(str(shots / "chelsea.jpg"))
    assert shot.shape == (256, 3 * 256, 3)
    truth = squashed("chelsea.png")[..., ::-1].astype(int)
    assert np.abs(shot[:, -256:] - truth).mean() < 6
    facts = evaluated.report["details"]["run"]
    assert facts["parameters"] == build_model(TINY.model, scenes=2).count_params()
    mean_ab = {picture["name"]: picture["mean_ab"] for picture in evaluated.report["details"]["per_picture"]}
    assert mean_ab["coffee.jpg"]["truth"] == pytest.approx(
        rgb_u8_to_lab(squashed("coffee.jpg"))[..., 1:].mean(axis=(0, 1)), abs=0.06
    )


def test_without_photographs_there_is_nothing_to_score(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        evaluate_run(folder, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no color photographs in"):
        evaluate_run(folder, tmp_path / "empty")
    assert not (folder / run_folder.EVALUATION).exists()
    with pytest.raises(CheckpointError, match="is not a run folder"):
        evaluate_run(tmp_path / "empty", TEST_PICTURES)


def test_given_ways_are_scored_and_nothing_is_written(folder: Path, small: Path) -> None:
    opened = run_folder.open_run(folder)
    some = [way for way in ways_to_decode(opened) if way.name in ("argmax", "fused")]
    before = set(folder.iterdir())
    report = score(opened.load_model(), opened, small, size=64, ways=some)
    assert set(folder.iterdir()) == before
    assert list(report["rows"]) == [*ROWS[:3], "fused", "argmax"]
    every = evaluate_run(folder, small, size=64, protocol="eccv16")
    assert set(folder.iterdir()) > before
    assert report["rows"]["argmax"] == every["rows"]["argmax"]
    assert report["posterior"] == every["details"]["posterior"]["photographs"]["rows"]


def test_every_decoder_and_the_vividness_curve_are_scored(evaluated: Evaluated) -> None:
    details = evaluated.report["details"]
    decoders = details["decoders"]
    assert set(ROWS) <= set(decoders)
    assert {"annealed T=1", "prior correction tau=0.5, no cap", "prior correction tau=1, cap 5, guard"} < set(decoders)
    assert decoders["prior correction tau=1, no cap"]["settings"] == {
        "mode": "annealed",
        "temperature": 0.38,
        "tau": 1.0,
        "cap": 1e6,
        "gain": 1.0,
        "guard": False,
        "plate": "pan",
    }
    assert [step["vividness"] for step in details["vividness"]] == pytest.approx(np.linspace(0, 1, 11))
    named = {step["vividness"]: step for step in details["vividness"]}
    for vividness, name in (
        (0.0, "calm (vividness 0)"),
        (0.5, "default (vividness 0.5)"),
        (1.0, "vivid (vividness 1)"),
    ):
        assert named[vividness]["psnr"] == decoders[name]["psnr"]
        assert named[vividness]["settings"] == decoders[name]["settings"]


def test_the_validation_split_scores_as_in_training(folder: Path, small: Path, data: Path) -> None:
    facts = json.loads((folder / run_folder.PHOTOGRAPHS).read_text())
    (folder / run_folder.PHOTOGRAPHS).write_text(json.dumps(facts | {"scenes": ["nature"]}))
    build_model(TINY.model, scenes=1).save_weights(folder / run_folder.BEST)
    opened = run_folder.open_run(folder)
    details = evaluate_run(folder, small, size=64, protocol="div2k", data=data)["details"]
    report, groups = details["posterior"]["validation"], details["groups"]
    assert groups["size"] == 64
    assert groups["all"]["pictures"] == report["pictures"]
    assert sum(row["pictures"] for row in groups["dataset"].values()) == report["pictures"]
    photographs = open_photographs(data)
    maker = BatchMaker(photographs, photographs.split("val"), TINY.data, batch_size=2, seed=None)
    tally, model = bench.color_scores(opened), opened.load_model()
    for step in range(maker.steps_per_epoch):
        batch = maker.batch(step)
        tally.add(predict_heads(model, batch.lightness), batch.ab, batch.scene)
    assert report["pictures"] == 3  # one of four is broken
    assert report["rows"]["network"]["kl"] == pytest.approx(tally.result()["kl"], abs=1e-4)
    (folder / run_folder.PHOTOGRAPHS).write_text(json.dumps(facts))
    with pytest.raises(DataError, match="the scenes differ"):
        evaluate.score_validation(model, run_folder.open_run(folder), data, workers=1)


def test_labels_group_pictures_by_scene(evaluated: Evaluated) -> None:
    details = evaluated.report["details"]
    assert {scene: row["pictures"] for scene, row in details["scenes"].items()} == {"cats~/1": 1, "things": 2}
    things = [one["scores"]["default"]["psnr"] for one in details["per_picture"] if one["scene"] == "things"]
    assert details["scenes"]["things"]["psnr"] == pytest.approx(np.mean(things), abs=2e-3)


# ------------------------------------------------------------------------------------------------------------ protocols


def test_the_terms_of_eccv16(folder: Path, small: Path, tmp_path: Path) -> None:
    """Squashed to 256, AuC raw and rebalanced over the pixels of all pictures, with any prior; other reports stay."""
    (folder / run_folder.EVALUATION).write_text("{}")
    uniform = tmp_path / "prior.npy"
    np.save(uniform, np.ones(313))
    report = evaluate_run(folder, small, size=64, protocol="eccv16", prior=uniform)
    assert (folder / run_folder.EVALUATION).read_text() == "{}"
    assert json.loads((folder / "evaluation-eccv16.json").read_text()) == report
    assert (folder / "evaluation-eccv16.html").exists()
    assert set(PROTOCOLS["eccv16"].ways or ()) <= set(report["rows"])
    assert report["details"]["vividness"] == []
    # With all bins equally frequent (but for what smoothing does at the gamut's edge) rebalancing changes little.
    for row in report["rows"].values():
        assert row["auc_rebalanced"] == pytest.approx(row["auc"], abs=1.5)
    assert "not computed: no weights given" in (folder / "evaluation-eccv16.html").read_text()


def test_the_terms_of_the_div2k_table(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A miniature of its tree: large pictures stay as they are, and are composed at full size."""
    pictures = tmp_path / "DIV2K_valid_HR"
    pictures.mkdir()
    truths = [landscape(seed, 90 + 20 * seed, 130) for seed in (1, 2)]
    for number, truth in enumerate(truths, 801):
        (pictures / f"{number:04}.png").write_bytes(encode(truth, ".png"))
    monkeypatch.setattr(bench, "predict_picture", all_knowing(truths))
    report = evaluate_run(folder, pictures, size=64, protocol="div2k", out=tmp_path / "out")
    assert report["protocol"] == "2 photographs at full size, true L, network input 64 px"
    assert list(report["rows"])[3:] == ["regression", "annealed T=0.38", "argmax", "default (vividness 0.5)"]
    expected = []
    for truth in truths:
        lab = rgb_u8_to_lab(truth)
        ab = cv2.resize(np.ascontiguousarray(lab[..., 1:]), (16, 16), interpolation=cv2.INTER_AREA)
        expected.append(quality.psnr(compose_u8(np.ascontiguousarray(lab[..., :1]), ab), truth))
    assert report["rows"]["regression"]["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert 0 < report["rows"]["annealed T=0.38"]["ssim"] <= report["rows"]["regression"]["ssim"] <= 1
    assert cv2.imread(str(tmp_path / "out" / "0801.png")).shape[0] == 110


def sees_one_color(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Let the network be sure of one color, another for every mean L; returns what it will have seen.

    Random weights hardly look at L: their answers to two plates may agree in every digit that a report shows.
    """
    seen: list[np.ndarray] = []
    real = bench.predict_picture

    def predict(model: Any, L: np.ndarray, size: int) -> dict[str, np.ndarray]:
        seen.append(L)
        heads = real(model, L, size)
        sure = np.zeros_like(heads[signature.AB_LOGITS])
        sure[..., round(L.mean() * 7) % len(CENTERS)] = 20
        return heads | {signature.AB_LOGITS: sure}

    monkeypatch.setattr(bench, "predict_picture", predict)
    return seen


def test_the_terms_of_plates(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three plates in three ways; the network sees the plate, the truth's L is put back."""
    pictures = write_plates(tmp_path / "plates", 2)
    seen = sees_one_color(monkeypatch)
    report = evaluate_run(folder, pictures, size=64, protocol="plates")
    assert list(report["rows"])[:3] == ROWS[:3]
    assert tuple(report["rows"])[3:] == PROTOCOLS["plates"].ways
    assert len(seen) == 2 * 3  # each plate once a scene, for all ways
    table = [line for line in table_markdown(report).splitlines() if line.startswith("|")]
    assert table[0] == "| | " + " | ".join(SCORES[name].heading for name in PLATE_COLUMNS) + " |"
    for row in report["rows"].values():
        assert set(PLATE_COLUMNS) < set(row)
        assert row["lightness_error"] < 0.3
    assert report["rows"]["default, blue plate"]["ab_error"] != report["rows"]["default (vividness 0.5)"]["ab_error"]
    assert {"ortho", "blue"} < set(report["details"]["per_picture"][0]["tiles"])
    page = read_page(folder / "evaluation-plates.html")
    assert "/rows/default, blue plate/kept_skin" in {number["data-json"] for number in page.numbers}


def test_the_rows_of_plates_see_the_mean_mix(
    evaluated: Evaluated, folder: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = sees_one_color(monkeypatch)
    rows = evaluate_run(folder, small, size=64)["rows"]
    assert len(seen) == 2 * 3
    assert len({rows[name]["ab_error"] for name in ROWS[4:7]}) == 3
    assert not [one for one in evaluated.report["details"]["per_picture"] if "ortho" in one["tiles"]]


def test_networks_are_asked_about_every_first_row(evaluated: Evaluated) -> None:
    networks = evaluated.report["details"]["networks"]
    assert list(networks["fid"]["rows"]) == ROWS
    assert networks["fid"]["rows"][ROWS[2]] < networks["fid"]["rows"][ROWS[0]]
    assert list(networks["classifier"]["rows"]) == ["true colors", *ROWS]
    assert networks["classifier"]["pictures"] == 2  # those with a label
    assert networks["classifier"]["rows"]["true colors"]["top1"] == 100  # a ginger cat and a red table: mostly red
    assert networks["lpips"] == {"status": "not computed: no weights given"}
    assert "levels.onnx" in (evaluated.folder / evaluate.PAGE).read_text()


def test_wrong_options_are_refused_before_anything_is_computed(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder.Run, "load_model", lambda *_: pytest.fail("too late"))
    with pytest.raises(DataError, match="no protocol 'coco'; there are photographs, eccv16, div2k"):
        evaluate_run(folder, pictures, protocol="coco")
    with pytest.raises(DataError, match="must not be the folder of the photographs"):
        evaluate_run(folder, pictures, out=pictures)
    with pytest.raises(DataError, match="must hold 313 shares"):
        evaluate_run(folder, pictures, prior=tmp_path / "none.npy")
    np.save(tmp_path / "short.npy", np.ones(7))
    with pytest.raises(DataError, match="must hold 313 shares"):
        evaluate_run(folder, pictures, prior=tmp_path / "short.npy")
    with pytest.raises(DataError, match=r"cannot be read"):
        evaluate_run(folder, pictures, networks=evaluate.Networks(fid=str(tmp_path / "none.onnx")))


# ----------------------------------------------------------------------------------------------------------- robustness


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_stopped_evaluation_leaves_the_former_report_whole(folder: Path, small: Path) -> None:
    evaluate_run(folder, small, size=64, protocol="div2k")
    former = files_of(folder)
    told = []

    def stop(*step: Any) -> None:
        told.append(step)
        if step[0] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_run(folder, small, size=96, protocol="div2k", watch=stop)
    assert told == [(0, 2, "1.png"), (1, 2, "2.png")]
    assert files_of(folder) == former


@pytest.mark.parametrize("at", [".jpg", ".json", ".html"])
def test_a_full_disk_is_one_line_and_leaves_what_was_written_whole(
    folder: Path, small: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    evaluate_run(folder, small, size=64, protocol="div2k")
    former = files_of(folder)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == at:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunFolderError, match="No space left on device"):
        evaluate_run(folder, small, size=96, protocol="div2k")
    left = files_of(folder)
    assert not [path for path in left if "partial" in path.name]
    kept = [path for path in former if left.get(path) == former[path]]
    replaced = {folder / "evaluation-div2k.json"} if at == ".html" else set()
    assert set(former) - set(kept) == replaced
    for path in replaced:
        assert json.loads(left[path])["size"] == 96


def test_a_new_report_leaves_no_pictures_of_the_former(folder: Path, small: Path) -> None:
    evaluate_run(folder, small, size=64, protocol="div2k")
    (small / "2.png").unlink()
    report = evaluate_run(folder, small, size=96, protocol="div2k")
    files = {path.relative_to(folder).as_posix() for path in (folder / "evaluation-div2k").iterdir()}
    assert files == {tile for one in report["details"]["per_picture"] for tile in one["tiles"].values()}


# ------------------------------------------------------------------------------------------------------------- the page


def test_every_number_on_the_page_is_in_the_report(evaluated: Evaluated) -> None:
    report, page = evaluated.report, evaluated.page
    assert len(page.numbers) > 500
    for number in page.numbers:
        value = look_up(report, number["data-json"])
        assert json.loads(number["value"]) == value
        assert number["text"] == format(value, number["data-form"])


def test_no_number_of_the_page_stands_outside_the_report(evaluated: Evaluated) -> None:
    """Text that is no number of the report holds no decimal, but for the constants that define the scores."""
    report, page = evaluated.report, evaluated.page
    text = " ".join(page.loose).replace(report["protocol"], "").replace(report["date"], "")
    assert re.findall(r"\d+\.\d+", text) == []
    constants = {"1", "5", "256", "15", "20", "25", "30", "90", "140", "280", "313", "2"}
    assert set(re.findall(r"\d+", text.replace("2000", ""))) <= constants


def test_the_headline_table_has_all_rows_and_columns(evaluated: Evaluated) -> None:
    report, page = evaluated.report, evaluated.page
    places = {number["data-json"] for number in page.numbers}
    for way in report["rows"]:
        for column in PROTOCOLS["photographs"].columns:
            assert f"/rows/{way}/{column}" in places
    for way in report["details"]["decoders"]:
        assert f"/details/decoders/{way}/psnr" in places
    for who, row in report["details"]["posterior"]["photographs"]["rows"].items():
        assert f"/details/posterior/photographs/rows/{who}/{next(iter(row))}" in places


def test_the_page_needs_nothing_from_elsewhere(evaluated: Evaluated) -> None:
    folder, report, page = evaluated.folder, evaluated.report, evaluated.page
    html = (folder / evaluate.PAGE).read_text()
    assert "<script" not in html
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", html)
    assert "@import" not in html
    assert set(page.links) <= {f"#{name}" for name in page.ids}
    assert len(page.ids) == len(set(page.ids))
    assert page.images
    for image in page.images:
        assert (folder / image["src"]).is_file()
        assert image["alt"]
    shown = {tile for one in report["details"]["per_picture"] for tile in one["tiles"].values()}
    assert {image["src"] for image in page.images} == shown


def test_the_page_is_structured_for_everyone(evaluated: Evaluated) -> None:
    folder, page = evaluated.folder, evaluated.page
    html = (folder / evaluate.PAGE).read_text()
    assert html.lstrip().startswith("<!doctype html>")
    assert '<html lang="en">' in html
    assert page.tags.count("h1") == 1
    assert html.count("<table") == html.count("<caption>") == html.count("<thead>")
    assert 'name="viewport"' in html
    assert "prefers-color-scheme: dark" in html
    assert html.count('role="img" aria-label="') == html.count("<svg ") == 8
    ranks = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(ranks))


def test_names_of_files_cannot_break_the_page(evaluated: Evaluated) -> None:
    folder, page = evaluated.folder, evaluated.page
    html = (folder / evaluate.PAGE).read_text()
    assert "&lt;b&gt;&amp;.jpg" in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "gray&lt;i&gt;.png" in html
    assert any(image["alt"].startswith("<b>&.jpg: ") for image in page.images)


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
    decoder = run_folder.open_run(folder).decoder()
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
        model = run_folder.open_run(folder).load_model()
        predict = lambda _, L, size: predict_picture(model, L, size)  # noqa: E731
    monkeypatch.setattr(calibrate, "predict_picture", predict)
    lines = list(calibrate_run(folder, data))
    assert lines[0] == "val001 is left out: not a picture"
    assert lines[1] == "3 validation photographs (day 2, night 1)"
    named = ["gray", "calm", "vividness 0.25", "default", "vividness 0.75", "vivid"]
    assert [line.split(":")[0] for line in lines[2:8]] == named
    curve = run_folder.open_run(folder).curve
    assert [at for at, _ in curve.points] == [0, 0.25, 0.5, 0.75, 1]
    calm, lower, default, upper, vivid = (knobs for _, knobs in curve.points)
    assert replace(calm, cap=1.0) in {sharpness.knobs(calm.gain) for sharpness in CALM}
    assert calm.cap == default.cap
    (gray_psnr, _), (calm_psnr, calm_color) = (judged(folder, pictures, predict, k) for k in (None, calm))
    (default_psnr, default_color), (vivid_psnr, vivid_color) = (
        judged(folder, pictures, predict, k) for k in (default, vivid)
    )
    tried = {
        sharpness.temperature: {
            gain: judged(folder, pictures, predict, sharpness.knobs(gain))[0] for gain in CALM_GAINS
        }
        for sharpness in CALM
    }
    highest = max(max(by_gain.values()) for by_gain in tried.values())
    warmest = max(t for t, by_gain in tried.items() if max(by_gain.values()) >= highest - CALM_NEAR_DB)
    others = tried[warmest]
    assert calm.temperature == warmest
    assert calm.gain == min(g for g, psnr in others.items() if psnr >= max(others.values()) - CALM_GAIN_NEAR_DB)
    assert calm_psnr == pytest.approx(others[calm.gain])
    slack = 0.02  # knobs are interpolated between those that were tried
    assert default_psnr >= calm_psnr - 0.8 - slack
    assert vivid_psnr >= min(gray_psnr + 0.1, calm_psnr - 0.8) - slack
    assert vivid_color >= default_color - slack >= calm_color - 2 * slack
    between = [judged(folder, pictures, predict, knobs)[1] for knobs in (lower, upper)]
    assert between == pytest.approx([(calm_color + default_color) / 2, (default_color + vivid_color) / 2], abs=0.05)
    stored = json.loads((folder / run_folder.CURVE_FILE).read_text())
    assert (stored["pictures"], stored["points"]) == (3, curve.to_rows())
    assert [row["psnr"] for row in stored["scores"]][::4] == pytest.approx([calm_psnr, vivid_psnr], abs=1e-3)
    assert run_folder.open_run(folder).confidence_temperature == stored["confidence"]["rows"]["fitted"]["temperature"]


def test_where_no_decode_is_within_the_limits_the_curve_stays_calm(
    folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "DEFAULT_FALSE_RED", -1.0)
    monkeypatch.setattr(calibrate, "VIVID_FALSE_RED", -1.0)
    list(calibrate_run(folder, data, pictures=8))
    (calm,) = {knobs for _, knobs in run_folder.open_run(folder).curve.points}
    assert calm in {sharpness.knobs(calm.gain) for sharpness in CALM}


def test_without_readable_color_in_validation_calibration_is_an_error(folder: Path, tmp_path: Path) -> None:
    broken = write_shards(tmp_path / "broken", train=1, val=2, broken=("val000", "val001"))
    with pytest.raises(DataError, match="can be read and has color"):
        list(calibrate_run(folder, broken))
    assert not (folder / run_folder.CURVE_FILE).exists()


# --------------------------------------------------------------------------------------------------------- command line


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["photochrom-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_commands_print_what_was_found(
    folder: Path, data: Path, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(monkeypatch, "calibrate", str(folder), "--data", str(data), "--pictures", "8") == 0
    assert "default: T " in capsys.readouterr().err
    card = folder / "CARD.md"
    card.write_text(f"{CARD_START}\n{CARD_END}\n")
    options = ("--pictures", str(small), "--size", "64", "--protocol", "div2k", "--card", str(card))
    assert run_command(monkeypatch, "evaluate", str(folder), *options) == 0
    assert "| do nothing (gray) |" in capsys.readouterr().out
    assert "at full size" in card.read_text()
    assert (folder / "evaluation-div2k.html").exists()
    assert run_command(monkeypatch, "evaluate", str(folder), "--pictures", str(folder / "nowhere")) == 1
    assert capsys.readouterr().err.splitlines() == [f"DataError: no such folder: {folder / 'nowhere'}"]
