import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.test_whole_files import files_up_to
from training import RunFolderError
from training.run.tensorboard_log import TensorBoardLog

pytestmark = pytest.mark.training


def read(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, list[int]]]:
    """Return scalars and the steps of pictures by tag, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return scalars, {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path / "events", 0) as log:
        for step in (1, 2):
            log.scalars(step, {"loss/ab": step / 4, "validation/kl": None})
        log.picture(2, "preview", np.zeros((8, 16, 3), np.uint8))
    assert read(tmp_path / "events") == ({"loss/ab": [(1, 0.25), (2, 0.5)]}, {"preview": [2]})


def test_a_start_after_a_kill_takes_the_place_of_what_came_after_its_step(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path, 0) as log:
        for step in range(1, 9):
            log.scalars(step, {"loss/ab": step})
    with TensorBoardLog(tmp_path, 5) as log:
        log.scalars(6, {"loss/ab": 60})
    assert read(tmp_path)[0] == {"loss/ab": [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 60)]}


def test_a_record_that_a_kill_cut_off_hides_nothing_else(tmp_path: Path) -> None:
    with TensorBoardLog(tmp_path, 0) as log:
        for step in (1, 2):
            log.scalars(step, {"loss/ab": step})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert read(tmp_path)[0] == {"loss/ab": [(1, 1)]}


def test_nothing_is_made_before_the_first_event(tmp_path: Path) -> None:
    TensorBoardLog(tmp_path / "events", 0).close()
    assert not (tmp_path / "events").exists()


def test_a_full_disk_is_a_typed_error(tmp_path: Path) -> None:
    with files_up_to(10), pytest.raises(RunFolderError, match="cannot write"), TensorBoardLog(tmp_path, 0) as log:
        log.scalars(1, {"loss/ab": 1.0})


def test_writing_needs_no_tensorflow(tmp_path: Path) -> None:
    probe = (
        "import sys, pathlib, numpy as np\n"
        "from training.run.tensorboard_log import TensorBoardLog\n"
        f"with TensorBoardLog(pathlib.Path({str(tmp_path)!r}), 0) as log:\n"
        "    log.scalars(1, {'a': 1.0})\n"
        "    log.picture(1, 'b', np.zeros((4, 4, 3), np.uint8))\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert read(tmp_path) == ({"a": [(1, 1.0)]}, {"b": [1]})
