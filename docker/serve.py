"""What the service's container runs: `photochrom serve`, and again when a new model has come.

The model is that of PHOTOCHROM_MODEL; without one, /models/model.onnx, where training puts what it exports, and without
that the one in the package. When the file in /models changes, the new one is tried first, in a process of its own; only
if it works does the service finish what it is doing, stop, and start with it. Nobody needs Docker's socket for that,
and the service has no route that could change its model.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

PYTHON: Final = (sys.executable, "-P")  # -P: nothing is imported from the folder that this happens to run in
TRY: Final = (
    *PYTHON,
    "-c",
    "import sys; from pathlib import Path; from service.errors import ModelError; from service.session import Session\n"
    "try: Session(Path(sys.argv[1])).warm_up()\n"
    "except ModelError as error: sys.exit(str(error))",
)
"""Loads the model that is named behind it and runs it once."""
SERVE: Final = (*PYTHON, "-m", "service", "serve")
WATCH_S: Final = 2.0
"""How often to look at the model's file, seconds; one that changes that soon again is still being written."""

Mark = tuple[int, int, int]


def mark_of(path: Path) -> Mark | None:
    """Return what changes when a file is replaced, or None when there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Keeper:
    """Keeps one service running, with the newest model that works."""

    def __init__(
        self,
        watched: Path | None,
        *,
        serve: Sequence[str] = SERVE,
        attempt: Sequence[str] = TRY,
        watch_s: float = WATCH_S,
    ) -> None:
        """Start nothing yet.

        Args:
            watched: the model's file, which need not be there; None serves what PHOTOCHROM_MODEL says.
            serve: command that serves PHOTOCHROM_MODEL until SIGTERM.
            attempt: command that ends with 0 when the model named behind it works.
            watch_s: how often to look at the file, seconds.
        """
        self.watched = watched
        self.serve = serve
        self.attempt = attempt
        self.watch_s = watch_s
        self.judged: tuple[Mark, bool] | None = None
        self.stopped = threading.Event()
        self.child: subprocess.Popen[bytes] | None = None

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Hand a signal on; the service drains and ends, and so does this."""
        del frame
        self.stopped.set()
        if self.child is not None:
            self.child.send_signal(number)

    def run(self) -> int:
        """Serve until told to stop, or until the service ends by itself; return an exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        while not self.stopped.is_set():
            self.child = subprocess.Popen(self.serve, env=self.environment())
            if self.stopped.is_set():  # The signal came while there was no child to hand it to.
                self.child.terminate()
            status = self.wait()
            if status is not None and not self.stopped.is_set():
                return status if status >= 0 else 128 - status
        return 0

    def environment(self) -> dict[str, str]:
        """Return the service's environment, with the watched model in it when there is one that works."""
        environment = dict(os.environ)
        if self.watched is not None and (mark := mark_of(self.watched)) is not None:
            if self.works(self.watched, mark):
                environment["PHOTOCHROM_MODEL"] = str(self.watched)
            else:
                say(f"{self.watched} does not work: the model in the package is served instead")
        return environment

    def wait(self) -> int | None:
        """Wait until the service ends; return its exit status, or None when it was ended for a new model."""
        assert self.child is not None
        while True:
            try:
                return self.child.wait(self.watch_s)
            except subprocess.TimeoutExpired:
                pass
            if self.watched is None or self.stopped.is_set() or not self.has_news(self.watched):
                continue
            say(f"{self.watched} is new and works: starting again with it")
            self.child.terminate()
            self.child.wait()
            return None

    def has_news(self, model: Path) -> bool:
        """Return whether there is another model than the last one looked at, and it works."""
        mark = mark_of(model)
        if mark is None or (self.judged is not None and mark == self.judged[0]):
            return False
        if self.stopped.wait(self.watch_s) or mark_of(model) != mark:  # It is still being written.
            return False
        if self.works(model, mark):
            return True
        say(f"{model} is new but does not work: the one before is served on")
        return False

    def works(self, model: Path, mark: Mark) -> bool:
        """Return whether the model loads and runs; why not is on stderr. A file is tried once."""
        if self.judged is None or self.judged[0] != mark:
            self.judged = mark, subprocess.run([*self.attempt, str(model)], check=False).returncode == 0
        return self.judged[1]


if __name__ == "__main__":
    chosen = os.environ.get("PHOTOCHROM_MODEL")
    models = Path(os.environ.get("PHOTOCHROM_MODELS", "/models"))
    sys.exit(Keeper(None if chosen else models / "model.onnx", serve=(*SERVE, *sys.argv[1:])).run())
