"""Where a run stands, as its folder tells it to whoever looks: running, finished, stopped or failed, and why."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from training.run import run_folder
from training.whole_files import write_whole

State = Literal["running", "finished", "stopped", "failed", "unknown"]


@dataclass(frozen=True)
class Status:
    """What is known of a run.

    Attributes:
        state: `running` stays when the process is killed: look at `updated`.
        reason: why it stopped or failed, or that a finished run was too short; empty otherwise.
        step: steps done.
        steps: steps of the run.
        epoch: epoch under way, from 1.
        images_per_s: over the last steps.
        left_s: estimated time left, s.
        elapsed_s: training time so far, s.
        updated: when this was written, ISO 8601 with time zone.
        peak_memory_gib: the most memory the process has held, GiB.
        processes: how many train together.
        machine: see `training.machine`.
    """

    state: State = "unknown"
    reason: str = ""
    step: int = 0
    steps: int = 0
    epoch: int = 0
    images_per_s: float = 0.0
    left_s: float = 0.0
    elapsed_s: float = 0.0
    updated: str = ""
    peak_memory_gib: float = 0.0
    processes: int = 1
    machine: dict[str, str] = field(default_factory=dict)


def read_status(folder: Path) -> Status:
    """Return a run's status; an unknown one where there is none, or where it cannot be read.

    Args:
        folder: of the run.
    """
    try:
        return Status(**json.loads((folder / run_folder.STATUS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Status()


def write_status(folder: Path, status: Status) -> None:
    """Write a run's status.

    Raises:
        RunFolderError: the disk refuses.
    """
    write_whole(folder / run_folder.STATUS, json.dumps(asdict(status), indent=2) + "\n")
