"""A model card's sections: each says what the report says, and nothing outside its marks changes."""

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.synthetic_run import make_run
from training import DataError
from training.judge.model_card import MARKS, Shots, name_color, read_report, run_facts, update_card
from training.judge.scorecard import CARD_COLUMNS
from training.run.run_folder import METRICS, open_run

pytestmark = pytest.mark.training

POSTERIOR = {"kl": 1.4, "top1": 0.34, "within20": 0.83, "rmse_mean": 16.0, "ece_labels": 0.009}
FALSE = {"false_red": 0.1, "false_deep_red": 0.05, "false_green": 1.25, "false_yellow": 2.0, "false_blue": 3.0}
ROW = {"pictures": 2, "psnr": 23.456, "psnr_gray": 21.0, "colorfulness_ratio": 0.7, "kl": 1.5, **FALSE}
REPORT: dict[str, Any] = {
    "run": "made_up",
    "recipe": "tiny",
    "protocol": "2 photographs squashed",
    "date": "2026-11-23",
    "size": 64,
    "rows": {"do nothing (gray)": dict.fromkeys(CARD_COLUMNS, 1.0)},
    "worse_than_gray": 0.5,
    "worst": [{"name": "free_1.jpg", "gain_db": -3.21}, {"name": "closed_2.jpg", "gain_db": 1.0}],
    "details": {
        "run": {
            "encoder": "unet",
            "decoder_channels": [8, 4],
            "parameters": 1234567,
            "batch_size": 4,
            "crop_px": [48, 64],
            "photographs": {"train": 100, "val": 10},
            "machine": {"processor": "a chip", "memory": "1 GiB", "devices": "CPU:0", "engine": "Keras"},
            "evaluations": [
                {"epoch": 1, "step": 25, "images": 100, "minutes": 1.0, "kl": 1.4, "scene_top1": 0.6},
                {"epoch": 2, "step": 50, "images": 200, "minutes": 2.0, "kl": None, "scene_top1": None},
                {"epoch": 3, "step": 75, "images": 300, "minutes": 3.0, "kl": 1.6, "scene_top1": 0.5},
            ],
        },
        "posterior": {
            "validation": {
                "pictures": 10,
                "rows": {"network": POSTERIOR, "majority": {"kl": 1.9}, "do nothing": {"within20": 0.72}},
            }
        },
        "groups": {
            "pictures": 3,
            "all": ROW | {"pictures": 3, "kl_prior": 1.9},
            "scene": {"desert_rock": ROW | {"kl_prior": 1.8}},
            "dataset": {},
        },
        "per_picture": [
            {
                "name": name,
                "scores": {"gray": {"psnr": 20.0}, "default": {"psnr": 16.8, **FALSE, "false_red": 4.0}},
                "mean_ab": {"truth": [40.0, 10.0], "default": [-2.0, -12.0]},
                "tiles": {what: f"evaluation/{what}.jpg" for what in ("gray", "default", "truth")},
            }
            for name in ("free_1.jpg", "closed_2.jpg")
        ],
    },
}


def write_card(folder: Path, names: tuple[str, ...] = tuple(name for name, *_ in MARKS)) -> Path:
    card = folder / "CARD.md"
    sections = [f"by hand: {name}\n{start}\nold {name}\n{end}\n" for name, start, end in MARKS if name in names]
    card.write_text("# Card\n" + "".join(sections) + "the end\n")
    return card


def section(card: Path, name: str) -> str:
    start, end = next((start, end) for known, start, end in MARKS if known == name)
    return card.read_text().split(start)[1].split(end)[0]


def tables(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_every_section_is_written_and_what_stands_outside_stays(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    for _ in range(2):  # again, and nothing piles up
        update_card(card, REPORT)
        text = card.read_text()
        assert "old" not in text
        outside = [line for line in text.splitlines() if line.startswith("by hand") or line == "the end"]
        assert outside == [*(f"by hand: {name}" for name, *_ in MARKS), "the end"]
    for name, *_ in MARKS:
        rows = tables(section(card, name))
        assert len({len(row) for row in rows}) == 1


def test_the_run_is_told_from_its_best_and_last_evaluation(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    update_card(card, REPORT)
    said = {row[0]: row[1] for row in tables(section(card, "run"))[2:]}
    assert said["training"] == "75 steps of 4, 300 samples (3.0 for each), 3 minutes"
    assert said["weights"].endswith("epoch 1, the lowest KL on validation: 1.400")
    assert "1,234,567 parameters" in said["network"]
    assert said["photographs"] == "100 to train on, 10 for validation, in crops of 48, 64 px"
    assert said["machine"].startswith("a chip, 1 GiB")


def test_validation_stands_beside_what_learns_nothing(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    update_card(card, REPORT)
    header, _, network, majority, gray = tables(section(card, "validation"))
    assert dict(zip(header, network, strict=True))["KL, nats"] == "1.400"
    assert dict(zip(header, network, strict=True))["scene"] == "0.600"  # of the epoch whose weights these are
    assert dict(zip(header, majority, strict=True))["KL, nats"] == "1.900"
    assert dict(zip(header, gray, strict=True))["within 20"] == "0.720"


def test_kinds_have_a_row_each_and_one_for_all(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    update_card(card, REPORT)
    rows = tables(section(card, "kinds"))
    shown = ["0.10", "0.05", "1.25", "2.00", "3.00"]
    assert rows[2] == ["desert rock", "2", "23.46", "21.00", "0.70", *shown, "1.500", "1.800"]
    assert rows[0][5:10] == ["FRF %", "FRF 340-35 %", "false green %", "false yellow %", "false blue %"]
    assert [row[0] for row in rows] == ["coarse scene", "---", "desert rock", "all"]  # no table of unknown data sets


def test_failures_are_described_and_only_the_free_ones_shown(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    for place, what in enumerate(("gray", "default", "truth")):
        cv2.imwrite(str(tmp_path / "evaluation" / f"{what}.jpg"), np.full((8, 10, 3), 100 * place, np.uint8))
    card = write_card(tmp_path)
    update_card(card, REPORT, Shots(tmp_path, "free_*", tmp_path / "docs" / "shots"))
    text = section(card, "failures")
    shown = ["4.0", "0.1", "1.2", "2.0", "3.0"]
    assert tables(text)[2] == ["`free_1`", "-3.2", "20.0", "16.8", *shown, "strong red", "pale blue"]
    assert text.count("![") == 1
    assert "(docs/shots/free_1.jpg)" in text
    shot = cv2.imread(str(tmp_path / "docs" / "shots" / "free_1.jpg"))
    assert shot.shape == (8, 30, 3)
    assert [round(float(shot[:, at : at + 8].mean()), -1) for at in (1, 11, 21)] == [0, 100, 200]
    assert [path.name for path in (tmp_path / "docs" / "shots").iterdir()] == ["free_1.jpg"]


def test_pictures_of_former_failures_go_and_others_stay(tmp_path: Path) -> None:
    test_failures_are_described_and_only_the_free_ones_shown(tmp_path)
    card, folder = tmp_path / "CARD.md", tmp_path / "docs" / "shots"
    (folder / "mine.jpg").write_bytes(b"mine")
    update_card(card, REPORT, Shots(tmp_path, "closed_*", folder))
    assert sorted(path.name for path in folder.iterdir()) == ["closed_2.jpg", "mine.jpg"]
    update_card(card, REPORT, Shots(tmp_path, "closed_*", folder))
    assert sorted(path.name for path in folder.iterdir()) == ["closed_2.jpg", "mine.jpg"]


def test_a_missing_picture_says_what_to_do(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    before = card.read_text()
    with pytest.raises(DataError, match="evaluate the run again"):
        update_card(card, REPORT, Shots(tmp_path, "free_*", tmp_path / "shots"))
    assert card.read_text() == before


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    report = copy.deepcopy(REPORT)
    report["details"]["groups"] = report["details"]["posterior"]["validation"] = None
    card = write_card(tmp_path)
    update_card(card, report)
    for name in ("validation", "kinds"):
        assert section(card, name).strip() == "Not measured: the evaluation was made without `--data`."


def test_scores_alone_name_the_worst_themselves(tmp_path: Path) -> None:
    card = write_card(tmp_path, ("scores",))
    update_card(card, REPORT)
    assert "The 2 worst, against doing nothing: free_1.jpg (-3.2 dB), closed_2.jpg (+1.0 dB)." in card.read_text()
    card = write_card(tmp_path)
    update_card(card, REPORT)
    assert "free_1.jpg" not in section(card, "scores")


def test_a_report_from_before_a_score_was_known_leaves_its_cell_empty(tmp_path: Path) -> None:
    report = copy.deepcopy(REPORT)
    for row in (*report["rows"].values(), report["details"]["groups"]["all"]):
        del row["false_green"]
    card = write_card(tmp_path)
    update_card(card, report)
    for name in ("scores", "kinds"):
        header, *_, last = tables(section(card, name))
        assert dict(zip(header, last, strict=True))["false green %"] == ""


@pytest.mark.parametrize("name", [name for name, *_ in MARKS])
def test_half_a_pair_of_marks_is_refused(name: str, tmp_path: Path) -> None:
    card = write_card(tmp_path)
    end = next(end for known, _, end in MARKS if known == name)
    card.write_text(card.read_text().replace(end, ""))
    before = card.read_text()
    with pytest.raises(DataError, match="must be a file that holds the lines"):
        update_card(card, REPORT)
    assert card.read_text() == before


def test_a_card_and_a_report_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        update_card(tmp_path / "none.md", REPORT)
    with pytest.raises(DataError, match="run `photochrom-train evaluate` first"):
        read_report(tmp_path)


def test_a_run_tells_its_facts(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "made_up")
    (folder / METRICS).write_text(json.dumps({"epoch": 1, "step": 5, "images": 20, "minutes": 0.1, "kl": 1.5}) + "\n")
    facts = run_facts(open_run(folder), 42)
    assert facts["parameters"] == 42
    assert facts["crop_px"] == [64]
    assert facts["evaluations"][0]["kl"] == 1.5
    assert facts["evaluations"][0]["scene_top1"] is None
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize(
    ("ab", "words"),
    [
        ((0, 0), "gray"),
        ((3, 2), "gray"),
        ((10, 0), "pale red"),
        ((10, 10), "pale red"),
        ((5, 20), "yellow"),
        ((-40, 20), "strong green"),
        ((0, -20), "blue"),
        ((20, -17), "magenta"),
    ],
)
def test_colors_have_names(ab: tuple[float, float], words: str) -> None:
    assert name_color(ab) == words


def with_run(**facts: Any) -> dict[str, Any]:
    details = REPORT["details"]
    return REPORT | {"details": details | {"run": details["run"] | facts}}


def test_photographs_of_other_origin_say_which_weights_are_the_best(tmp_path: Path) -> None:
    evaluations = [
        row | {"kl": 1.4 - 0.1 * place, "origin_kl": 1.5 + 0.1 * place}
        for place, row in enumerate(REPORT["details"]["run"]["evaluations"])
    ]
    card = write_card(tmp_path)
    update_card(card, with_run(evaluations=evaluations))
    said = {row[0]: row[1] for row in tables(section(card, "run"))[2:]}
    assert said["weights"].endswith("epoch 1, the lowest KL on validation: 1.500")


def test_an_averaged_run_says_of_what_and_claims_no_score_of_a_part(tmp_path: Path) -> None:
    card = write_card(tmp_path)
    update_card(card, with_run(start={"run": "a", "share": 0.25, "other": "b"}))
    said = {row[0]: row[1] for row in tables(section(card, "run"))[2:]}
    assert said["weights"] == "0.25 of the last of `a`, 0.75 of those of `b`"
    heading, _, network, *_ = tables(section(card, "validation"))
    assert network[heading.index("scene")] == ""
