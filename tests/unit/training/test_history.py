import json
from pathlib import Path

import pytest

from tests.unit.training.test_whole_files import files_up_to
from training import RunFolderError
from training.run.history import StepMeans, append_row, keep_until, read_rows, replace_rows

pytestmark = pytest.mark.training


def test_means_are_over_the_steps_and_the_rate_over_their_time() -> None:
    means = StepMeans()
    for loss in (1.0, 2.0, 6.0):
        means.add({"loss": loss, "ab_loss": loss / 10}, seconds=0.5, images=8)
    row = means.row(30, 1.5e-3)
    assert row == {"step": 30, "steps": 3, "learning_rate": 1.5e-3, "images_per_s": 16.0, "loss": 3.0, "ab_loss": 0.3}


def test_rows_come_back_in_order_without_a_line_that_a_kill_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "steps.jsonl"
    assert read_rows(path) == []
    for step in (10, 20):
        append_row(path, {"step": step})
    with path.open("a") as file:
        file.write('{"step": 30, "lo')
    assert read_rows(path) == [{"step": 10}, {"step": 20}]


@pytest.mark.parametrize("line", ['{"step": 1', "[]", "{}", '{"step": "x"}', ""])
def test_a_file_broken_in_the_middle_is_an_error_that_says_what_to_do(tmp_path: Path, line: str) -> None:
    path = tmp_path / "steps.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(RunFolderError, match=r"broken in line 2: remove that line"):
        read_rows(path)


def test_a_row_takes_the_place_of_its_step_and_of_later_ones(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (10, 20, 30):
        replace_rows(path, {"step": step, "try": 1})
    replace_rows(path, {"step": 20, "try": 2})
    assert read_rows(path) == [{"step": 10, "try": 1}, {"step": 20, "try": 2}]


def test_a_run_that_goes_on_forgets_what_came_after(tmp_path: Path) -> None:
    (tmp_path / "previews").mkdir()
    for step in (10, 20, 30):
        (tmp_path / "previews" / f"step{step:07d}.png").write_bytes(b"x")
        for name in ("steps.jsonl", "metrics.jsonl"):
            append_row(tmp_path / name, {"step": step})
    (tmp_path / "previews" / "epoch0001.png").write_bytes(b"of an older version")
    with (tmp_path / "steps.jsonl").open("a") as file:
        file.write("{")
    keep_until(tmp_path, 20)
    for name in ("steps.jsonl", "metrics.jsonl"):
        assert [json.loads(line)["step"] for line in (tmp_path / name).read_text().splitlines()] == [10, 20]
    kept = ["epoch0001.png", "step0000010.png", "step0000020.png"]
    assert sorted(path.name for path in (tmp_path / "previews").iterdir()) == kept
    keep_until(tmp_path, 0)
    assert read_rows(tmp_path / "metrics.jsonl") == []


def test_a_full_disk_is_a_typed_error(tmp_path: Path) -> None:
    with files_up_to(0), pytest.raises(RunFolderError, match=r"cannot write .*steps\.jsonl"):
        append_row(tmp_path / "steps.jsonl", {"step": 1})
