"""What the training container runs: prepare, run, calibrate, export.

    train.py RECIPE [OPTION...]     the options are those of `photochrom-train run`

Photographs come from /photos, everything made on the way lies in /work, and the model goes to /models/model.onnx, where
the service finds it. Each step goes on where it was stopped, so the same call again loses nothing.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

TRAINING: Final = (sys.executable, "-P", "-m", "training.cli")
EXPORT: Final = (sys.executable, "-P", "-m", "export")
USAGE: Final = "train.py RECIPE [OPTION of `photochrom-train run`...]; `photochrom-train list` lists the recipes"
MISUSED: Final = 2


def steps(recipe: str, options: Sequence[str], *, photos: Path, work: Path, models: Path) -> Iterator[Sequence[str]]:
    """Yield the commands, in order.

    Args:
        recipe: name of the recipe.
        options: of `photochrom-train run`.
        photos: folder of color photographs, or of one of the data sets.
        work: folder that gets the shards and the run.
        models: folder that gets model.onnx, in one piece.
    """
    shards, run = str(work / "shards"), str(work / "runs" / recipe)
    yield *TRAINING, "prepare", str(photos), shards, "--recipe", recipe
    yield *TRAINING, "run", recipe, "--data", shards, "--run", run, *options
    yield *TRAINING, "calibrate", run, "--data", shards
    yield *EXPORT, run, "--out", str(models / "model.onnx")


class Steps:
    """Runs commands one after the other, until one fails or a signal comes."""

    def __init__(self) -> None:
        """Run nothing yet."""
        self.child: subprocess.Popen[bytes] | None = None
        self.signal = 0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Hand a signal on: a run then says on its page that it was stopped."""
        del frame
        self.signal = number
        if self.child is not None:
            self.child.send_signal(number)

    def run(self, commands: Iterator[Sequence[str]]) -> int:
        """Run the commands; return 0, or the exit status of the one that failed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        for command in commands:
            sys.stderr.write(f"$ {' '.join(command[2:])}\n")
            sys.stderr.flush()
            self.child = subprocess.Popen(command)
            if self.signal:  # It came while there was no child to hand it to.
                self.child.send_signal(self.signal)
            status = self.child.wait()
            if status or self.signal:
                return status if status > 0 else 128 + (self.signal or -status)
        return 0


def main() -> int:
    """Read the command line and run the steps."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.stderr.write(f"{USAGE}\n")
        return MISUSED
    folders = {name: Path(os.environ.get(f"PHOTOCHROM_{name.upper()}", f"/{name}")) for name in ("photos", "work")}
    models = Path(os.environ.get("PHOTOCHROM_MODELS", "/models"))
    return Steps().run(steps(sys.argv[1], sys.argv[2:], **folders, models=models))


if __name__ == "__main__":
    sys.exit(main())
