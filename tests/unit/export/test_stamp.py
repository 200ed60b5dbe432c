import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from chroma.signature import OUTPUT_NAMES, STAMP_KEY, SignatureError, Stamp
from export.stamp import LICENSE, make_stamp, read_stamp, write_stamp
from export.tolerances import TOLERANCES, tolerances_for
from tests.synthetic_run import make_prior
from training.config import ModelConfig, Recipe
from training.run.prediction import CURVE
from training.run.run_folder import EVALUATION, Run, open_run

pytestmark = pytest.mark.training

DAY = date(2026, 11, 23)


def metadata(model: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


def run_of(folder: Path, *, pretrained: bool = False) -> Run:
    recipe = Recipe("scratch", model=ModelConfig(pretrained=pretrained), size=96)
    return Run(folder / "run_7", recipe, ("sea", "Café"), make_prior(), CURVE)


def test_the_stamp_says_what_the_run_says(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    stamp = make_stamp(run, parameters=12, created=DAY)
    assert stamp.run_id == "run_7"
    assert stamp.recipe == "scratch"
    assert stamp.created == "2026-11-23"
    assert stamp.scenes == ("sea", "Café")
    assert stamp.size == 96
    assert stamp.parameters == 12
    assert stamp.scores == {}
    assert stamp.vividness_curve == CURVE
    assert stamp.tolerances == TOLERANCES
    assert np.array_equal(stamp.prior, make_prior())


def test_the_stamp_holds_the_scores_of_the_evaluation(run_folder: Path) -> None:
    scores = {"psnr": 22.5, "table": [{"vividness": 0.5, "colorfulness": 0.6}]}
    path = run_folder / EVALUATION
    path.write_text(json.dumps(scores), encoding="utf-8")
    try:
        assert make_stamp(open_run(run_folder), parameters=1, created=DAY).scores == scores
    finally:
        path.unlink()


def test_the_license_names_the_pretrained_encoder_only_where_there_is_one(tmp_path: Path) -> None:
    scratch = make_stamp(run_of(tmp_path), parameters=1, created=DAY).license
    pretrained = make_stamp(run_of(tmp_path, pretrained=True), parameters=1, created=DAY).license
    own = make_stamp(run_of(tmp_path), parameters=1, created=DAY, license_note="ask me").license
    assert scratch == LICENSE
    assert pretrained.startswith(LICENSE)
    assert "ImageNet" in pretrained
    assert "ImageNet" not in scratch
    assert own == "ask me"


def test_a_stamp_survives_the_file_bit_for_bit(tmp_path: Path) -> None:
    stamp = make_stamp(run_of(tmp_path), parameters=1, created=DAY)
    model = ModelProto()
    write_stamp(model, stamp)
    assert read_stamp(metadata(ModelProto.FromString(model.SerializeToString()))) == stamp


def test_a_new_stamp_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    model = ModelProto()
    model.metadata_props.add(key="note", value="keep me")
    first = make_stamp(run_of(tmp_path), parameters=1, created=DAY)
    second = replace(first, parameters=2)
    write_stamp(model, first)
    write_stamp(model, second)
    assert len(model.metadata_props) == 2
    assert metadata(model)["note"] == "keep me"
    assert read_stamp(metadata(model)) == second


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"run_id": "x"}'])
def test_a_missing_or_broken_stamp_is_refused(text: str | None) -> None:
    with pytest.raises(SignatureError):
        read_stamp({} if text is None else {STAMP_KEY: text})


def test_a_run_that_cannot_be_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="prior"):
        make_stamp(replace(run_of(tmp_path), prior=make_prior() * 2), parameters=1, created=DAY)


def test_every_output_has_a_tolerance_that_nobody_sees() -> None:
    assert set(TOLERANCES) == set(OUTPUT_NAMES)
    assert max(TOLERANCES.values()) <= 0.01
    assert tolerances_for(7_000_000) == TOLERANCES


def test_a_wide_network_may_be_further_off_and_its_stamp_says_so(tmp_path: Path) -> None:
    wide = make_stamp(run_of(tmp_path), parameters=32_000_000, created=DAY).tolerances
    assert wide == tolerances_for(32_000_000)
    assert {name for name in OUTPUT_NAMES if wide[name] > TOLERANCES[name]} == {"ab", "ab_logits"}
    assert max(wide.values()) < 0.3 / 5


def test_the_exported_stamp_is_the_runs(exported: object, run_folder: Path) -> None:
    stamp: Stamp = exported.stamp  # type: ignore[attr-defined]
    assert stamp.run_id == run_folder.name
    assert stamp.recipe == "tiny"
    assert stamp.scenes == ("indoor", "outdoor", "portrait")
    assert date.fromisoformat(stamp.created) <= date.today()
