import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training import RunFolderError
from training.run.locking import LOCK, only_process

HOLD = """
import sys
from pathlib import Path
from training.run.locking import only_process

with only_process(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone_even_by_kill(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdin is not None
    assert first.stdout is not None
    with first, first.stdin, first.stdout:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match="in use by another process"), only_process(folder):
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with only_process(folder):
        assert (folder / LOCK).read_bytes() == b""


def test_the_same_process_cannot_hold_it_twice_but_again(tmp_path: Path) -> None:
    with only_process(tmp_path), pytest.raises(RunFolderError, match="in use"), only_process(tmp_path):
        pass
    with only_process(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot write to"), only_process(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_a_disk_without_locks_is_a_warning_and_a_broken_one_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(fcntl, "flock", refuse)
    if number == errno.EIO:
        with pytest.raises(RunFolderError, match="cannot lock"), only_process(tmp_path):
            pass
        return
    with only_process(tmp_path):
        assert "without locks" in caplog.text
