"""What a run has been through, in its folder: means over a few steps, scores of each evaluation.

Both files are JSON lines in the order of the steps. A run that goes on from a checkpoint drops what a killed process
wrote after it; a line that a kill cut off is such a line.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from training import RunFolderError
from training.run import run_folder
from training.whole_files import cannot_write, write_whole

Row = dict[str, Any]


def judged_kl(row: Row) -> float | None:
    """Return the KL, nats, by which an evaluation is the best one; None where nothing was counted.

    That of photographs of other origin where there are some: validation on one's own sources goes on improving while
    others get worse.

    Args:
        row: scores of an evaluation.
    """
    return row.get("origin_kl", row.get("kl"))


STEPS_A_ROW: Final = 10
"""How many steps a row of the steps' file sums up."""


@dataclass
class StepMeans:
    """Running sums over the steps since the last row.

    Attributes:
        steps: how many steps.
        seconds: time they took, waiting for photographs included.
        images: photographs they took.
        sums: of each loss.
    """

    steps: int = 0
    seconds: float = 0.0
    images: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, losses: dict[str, float], *, seconds: float, images: int) -> None:
        """Add a step."""
        self.steps, self.seconds, self.images = self.steps + 1, self.seconds + seconds, self.images + images
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def row(self, step: int, learning_rate: float) -> Row:
        """Return the means as a row.

        Args:
            step: steps done in the run.
            learning_rate: of the last step.
        """
        rate = self.images / max(self.seconds, 1e-9)
        means = {name: float(f"{total / self.steps:.6g}") for name, total in self.sums.items()}
        return {
            "step": step,
            "steps": self.steps,
            "learning_rate": float(f"{learning_rate:.6g}"),
            "images_per_s": round(rate, 2),
            **means,
        }


def append_row(path: Path, row: Row) -> None:
    """Add a line to a file.

    Raises:
        RunFolderError: the disk refuses.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise cannot_write(path, error) from error


def replace_rows(path: Path, row: Row) -> None:
    """Add a row to a small file in the place of all rows of its step or later ones.

    Raises:
        RunFolderError: the file is broken, or the disk refuses.
    """
    _write_rows(path, [old for old in read_rows(path) if old["step"] < row["step"]] + [row])


def read_rows(path: Path) -> list[Row]:
    """Read a file of rows; a last line that a kill cut off does not count.

    Returns:
        The rows; none if there is no file.

    Raises:
        RunFolderError: the file is broken elsewhere than at its end.
    """
    if not path.exists():
        return []
    *lines, _cut_off = path.read_bytes().split(b"\n")  # what follows the last newline was never finished
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            int(row["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{path} is broken in line {number}: remove that line, or the file (training does not need it)"
            ) from error
        rows.append(row)
    return rows


def keep_until(folder: Path, step: int) -> None:
    """Drop what a run folder tells of steps after `step`, pictures included.

    Args:
        folder: of the run.
        step: where the run goes on; 0 forgets everything.

    Raises:
        RunFolderError: a file is broken, or the disk refuses.
    """
    for path in (folder / run_folder.STEPS, folder / run_folder.METRICS):
        if path.exists():
            _write_rows(path, [row for row in read_rows(path) if row["step"] <= step])
    for picture in (folder / run_folder.PREVIEWS).glob("step*.png"):
        number = picture.stem.removeprefix("step")
        if number.isdecimal() and int(number) > step:
            picture.unlink()


def _write_rows(path: Path, rows: list[Row]) -> None:
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
