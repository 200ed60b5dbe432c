"""Tells a run to whoever watches: rows, plots, page, status and TensorBoard, all in the run folder."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from training import TrainingError
from training.machine import describe_machine, peak_memory_gib
from training.run import run_folder
from training.run.history import STEPS_A_ROW, Row, StepMeans, append_row, keep_until, replace_rows
from training.run.plots import draw_history
from training.run.preview import write_png
from training.run.run_page import write_page
from training.run.status import State, read_status, write_status
from training.run.tensorboard_log import TensorBoardLog

log = logging.getLogger(__name__)

_COUNTERS = ("epoch", "step", "images", "minutes")

FEW_STEPS = 50
"""A run of fewer steps has learned next to nothing."""

PAGE_EVERY_S = 15.0

PLOTS_EVERY_S = 120.0

PLOTS_AT_MOST_EVERY_S = 10.0
"""Drawing takes about a second; evaluations may follow each other faster than that is worth."""


@dataclass(frozen=True)
class Progress:
    """What is told after each step.

    Attributes:
        step: steps done.
        steps: steps of the run.
        epoch: epoch under way, from 1.
        images_per_s: over the last steps.
        left_s: estimated time left, s.
        losses: of each head, and their weighted sum.
        learning_rate: of this step.
        elapsed_s: training time so far, s.
    """

    step: int
    steps: int
    epoch: int
    images_per_s: float
    left_s: float
    losses: dict[str, float]
    learning_rate: float = 0.0
    elapsed_s: float = 0.0


Watcher = Callable[[Progress], None]


class Journal:
    """Writes down what a run goes through.

    Disk errors stop the run as typed errors, but for the last words of a run that ends badly: nothing may hide why.
    """

    def __init__(self, folder: Path, *, start: int, processes: int = 1, tensorboard: bool = True) -> None:
        """Drop what a killed process told of later steps, and begin.

        Args:
            folder: of the run.
            start: step at which the run starts, or goes on.
            processes: how many train together.
            tensorboard: write events for TensorBoard too.

        Raises:
            RunFolderError: a file of rows is broken, or the disk refuses.
        """
        keep_until(folder, start)
        (folder / run_folder.PREVIEWS).mkdir(exist_ok=True)
        self._folder = folder
        self._events = TensorBoardLog(folder / run_folder.TENSORBOARD, start) if tensorboard else None
        self._means = StepMeans()
        self._status = replace(read_status(folder), state="running", reason="", step=start, processes=processes)
        self._status = replace(self._status, machine=describe_machine())
        self._progress: Progress | None = None
        self._paged_at = self._drawn_at = time.monotonic()
        self._is_drawn = False
        self._tell()

    def step(self, progress: Progress, *, seconds: float, images: int) -> None:
        """Note a step.

        Args:
            progress: what the watcher is told.
            seconds: what the step took, s.
            images: photographs in its batch.

        Raises:
            RunFolderError: the disk refuses.
        """
        self._progress = progress
        self._means.add(progress.losses, seconds=seconds, images=images)
        if progress.step % STEPS_A_ROW == 0:
            self.flush()
        now = time.monotonic()
        if now - self._drawn_at > PLOTS_EVERY_S:
            self._draw()
        if now - self._paged_at > PAGE_EVERY_S:
            self._tell()

    def flush(self) -> None:
        """Write the steps not yet in a row; before each checkpoint, so that none is missing after a kill.

        Raises:
            RunFolderError: the disk refuses.
        """
        if not self._means.steps or self._progress is None:
            return
        step = self._progress.step
        row = self._means.row(step, self._progress.learning_rate)
        append_row(self._folder / run_folder.STEPS, row)
        if self._events is not None:
            self._events.scalars(step, {_tag(name): row[name] for name in row if name not in ("step", "steps")})
        self._means = StepMeans()
        self._is_drawn = False

    def evaluated(self, row: Row, preview: np.ndarray) -> None:
        """Note an evaluation; a row of the same step is replaced.

        Args:
            row: its scores.
            preview: RGB, uint8, (H, W, 3).

        Raises:
            RunFolderError: a file of rows is broken, or the disk refuses.
        """
        self.flush()
        step = row["step"]
        write_png(self._folder / run_folder.PREVIEWS / f"step{step:07d}.png", preview)
        replace_rows(self._folder / run_folder.METRICS, row)
        if self._events is not None:
            told = {f"validation/{name}": value for name, value in row.items() if name not in _COUNTERS}
            self._events.scalars(step, told)
            self._events.picture(step, "preview", preview)
        self._is_drawn = False
        if time.monotonic() - self._drawn_at > PLOTS_AT_MOST_EVERY_S:
            self._draw()
        self._tell()

    def too_short(self, minutes: float | None) -> str:
        """Return in words that a run by the clock took too few steps to have learned anything; empty where not.

        Args:
            minutes: that the run was given; None for one that goes by its steps.
        """
        progress = self._progress
        if minutes is None or progress is None or progress.step >= min(FEW_STEPS, progress.steps):
            return ""
        steps = "1 step" if progress.step == 1 else f"{progress.step} steps"
        each_s = progress.elapsed_s / progress.step
        return (
            f"Only {steps} of {progress.steps} fit into {minutes:g} min, {each_s:.1f} s each: the network has learned "
            "next to nothing. Give the same command with more --minutes, or begin with a smaller recipe."
        )

    def end(self, state: State, reason: str = "") -> None:
        """Note the end; a disk that refuses is logged only.

        Args:
            state: how it ended.
            reason: why, where it ended badly, or what is to be known of one that ended well.
        """
        try:
            if state != "failed":
                self.flush()
                if not self._is_drawn:
                    self._draw()
            self._tell(state, reason)
        except TrainingError as error:
            log.warning("the run page is not up to date: %s", error)
        finally:
            if self._events is not None:
                self._events.close()

    def _draw(self) -> None:
        draw_history(self._folder)
        self._drawn_at, self._is_drawn = time.monotonic(), True

    def _tell(self, state: State = "running", reason: str = "") -> None:
        status = replace(self._status, state=state, reason=reason, peak_memory_gib=round(peak_memory_gib(), 2))
        status = replace(status, updated=datetime.now(UTC).isoformat(timespec="seconds"))
        if (progress := self._progress) is not None:
            status = replace(status, step=progress.step, steps=progress.steps, epoch=progress.epoch)
            status = replace(status, images_per_s=round(progress.images_per_s, 2), left_s=round(progress.left_s, 1))
            status = replace(status, elapsed_s=round(progress.elapsed_s, 1))
        self._status = status
        write_status(self._folder, status)
        write_page(self._folder)
        self._paged_at = time.monotonic()


def _tag(name: str) -> str:
    """Group the losses in TensorBoard: `ab_loss` -> `loss/ab`, their sum -> `loss/sum`."""
    if name == "loss":
        return "loss/sum"
    return f"loss/{name.removesuffix('_loss')}" if name.endswith("_loss") else name
