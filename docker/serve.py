"""What the service's container runs: `photochrom serve`, and again when a new model has come.

The model is that of PHOTOCHROM_MODEL; without one, /models/model.onnx, where training puts what it exports, and without
that the one in the package. When the file in /models changes, the new one is tried first, in a process of its own; only
if it works does the service finish what it is doing, stop, and start with it. The port stays open meanwhile: who comes
then waits for the next service, and nobody is turned away. Nobody needs Docker's socket for that, and the service has
no route that could change its model.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

PYTHON: Final = (sys.executable, "-P")  # -P: nothing is imported from the folder that this happens to run in
BROKEN: Final = 3
"""Exit status of a trial that has shown the model to be broken; any other but 0 says nothing of the model."""
TRY: Final = (
    *PYTHON,
    "-c",
    f"""
import sys
from pathlib import Path
from service.errors import ModelError
from service.engine.session import Session
from service.settings import Settings
settings = Settings()
try:
    Session(Path(sys.argv[1]), device=settings.device, threads=settings.threads).warm_up()
except ModelError as error:
    print(error, file=sys.stderr)
    sys.exit({BROKEN})
""",
)
"""Loads the model that is named behind it, as the service would, and runs it once."""
SERVE: Final = (*PYTHON, "-m", "service", "serve")
WATCH_S: Final = 2.0
"""How often to look at the model's file, seconds; one that changes that soon again is still being written."""
RETRY_S: Final = 60.0
"""When to try a model again whose trial came to nothing, for want of memory say, seconds."""
TRY_S: Final = 600.0
"""How long a trial may take, seconds; CUDA compiles for some minutes on a GPU that it does not know."""
END_S: Final = 60.0
"""How long an ending service may take beyond what its settings allow, seconds; then it hangs, and is killed."""
BACKLOG: Final = 2048
"""How many callers may wait for the next service; as uvicorn's own."""

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


def open_socket() -> socket.socket | None:
    """Return a socket that one service after the other can listen on, where PHOTOCHROM_HOST and PHOTOCHROM_PORT say.

    Returns:
        None where that cannot be had: the service opens its own then, and says better what is wrong.
    """
    host, port = os.environ.get("PHOTOCHROM_HOST") or "127.0.0.1", os.environ.get("PHOTOCHROM_PORT") or "8000"
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, ValueError):
        return None


def most_end_s() -> float:
    """Return how long a service may take to end, seconds."""
    total = END_S
    for name in ("PHOTOCHROM_DRAIN_NOTICE_S", "PHOTOCHROM_DRAIN_S"):
        with suppress(ValueError):  # The service does not start with it, and says so.
            total += float(os.environ.get(name) or 0)
    return total


class Supervisor:
    """Keeps one service running, with the newest model that works."""

    def __init__(
        self,
        watched: Path | None,
        *,
        serve: Sequence[str] = SERVE,
        attempt: Sequence[str] = TRY,
        listening: socket.socket | None = None,
        watch_s: float = WATCH_S,
        retry_s: float = RETRY_S,
        try_s: float = TRY_S,
        end_s: float = END_S,
    ) -> None:
        """Start nothing yet.

        Args:
            watched: the model's file, which need not be there; None serves what PHOTOCHROM_MODEL says.
            serve: command that serves PHOTOCHROM_MODEL until SIGTERM.
            attempt: command that ends with 0 when the model named behind it works, with BROKEN when it does not.
            listening: what the services listen on in turn; None lets each open its own.
            watch_s: how often to look at the file, seconds.
            retry_s: when to try a model again whose trial has ended in another way, seconds.
            try_s: how long a trial may take, seconds.
            end_s: how long a service may take to end for a new model, seconds.
        """
        self.watched = watched
        self.serve = serve
        self.attempt = attempt
        self.listening = listening
        self.watch_s = watch_s
        self.retry_s = retry_s
        self.try_s = try_s
        self.end_s = end_s
        self.judged: tuple[Mark, bool] | None = None
        self.try_again_at = 0.0
        self.stopped = threading.Event()
        self.child: subprocess.Popen[bytes] | None = None
        self.trial: subprocess.Popen[bytes] | None = None

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Hand a signal on; the service drains and ends, and so does this."""
        del frame
        self.stopped.set()
        for process in (self.child, self.trial):
            if process is not None:
                process.send_signal(number)
        if self.listening is not None:  # Nobody comes after this service, so nobody shall wait for one.
            self.listening.close()

    def forward(self, number: int, frame: FrameType | None) -> None:
        """Hand a signal on that stops nothing: SIGHUP has the service read its keys and its model again."""
        del frame
        if self.child is not None:
            self.child.send_signal(number)

    def run(self) -> int:
        """Serve until told to stop, or until the service ends by itself; return an exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        signal.signal(signal.SIGHUP, self.forward)
        while not self.stopped.is_set():
            self.child = self.start()
            if self.stopped.is_set():  # The signal came while there was no child to hand it to.
                self.child.terminate()
            status = self.wait(self.child)
            self.child = None
            if status is not None and not self.stopped.is_set():
                return status if status >= 0 else 128 - status
        return 0

    def start(self) -> "subprocess.Popen[bytes]":
        """Start a service."""
        environment = self.environment()  # Which may take a while: a signal closes the socket.
        place = -1 if self.listening is None else self.listening.fileno()
        more = () if place < 0 else ("--fd", str(place))
        return subprocess.Popen(
            [*self.serve, *more],
            env=environment,
            pass_fds=() if place < 0 else (place,),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # Until it knows what it means.
        )

    def environment(self) -> dict[str, str]:
        """Return the service's environment, with the watched model in it when there is one that works."""
        environment = dict(os.environ)
        if self.watched is not None and (mark := mark_of(self.watched)) is not None:
            if self.works(self.watched, mark):
                environment["PHOTOCHROM_MODEL"] = str(self.watched)
            elif not self.stopped.is_set():
                say(f"{self.watched} is not served: the model in the package is")
        return environment

    def wait(self, child: "subprocess.Popen[bytes]") -> int | None:
        """Wait until the service ends; return its exit status, or None when it was ended for a new model."""
        while True:
            try:
                return child.wait(self.watch_s)
            except subprocess.TimeoutExpired:
                pass
            if self.watched is None or self.stopped.is_set() or not self.has_new_model(self.watched):
                continue
            say(f"{self.watched} is new and works: starting again with it")
            child.terminate()
            try:
                child.wait(self.end_s)
            except subprocess.TimeoutExpired:
                say(f"the service has not ended within {self.end_s:.0f} s: it hangs, and is killed")
                child.kill()
                child.wait()
            return None

    def has_new_model(self, model: Path) -> bool:
        """Return whether there is another model than the last one looked at, and it works."""
        mark = mark_of(model)
        if mark is None or (self.judged is not None and mark == self.judged[0]) or time.monotonic() < self.try_again_at:
            return False
        if self.stopped.wait(self.watch_s) or mark_of(model) != mark:  # It is still being written.
            return False
        works = self.works(model, mark)
        if works is False:
            say(f"{model} is new but does not work: the one before is served on")
        return bool(works)

    def works(self, model: Path, mark: Mark) -> bool | None:
        """Return whether the model loads and runs; why not is on stderr.

        A file is tried once, unless its trial did not get so far as to tell: then None, and it is tried again later.
        """
        if self.judged is None or self.judged[0] != mark:
            status = self.try_out(model)
            if status not in (0, BROKEN):
                self.try_again_at = time.monotonic() + self.retry_s
                if not self.stopped.is_set():
                    say(f"the trial of {model} ended with {status}: it is tried again in {self.retry_s:.0f} s")
                return None
            self.judged = mark, status == 0
        return self.judged[1]

    def try_out(self, model: Path) -> int:
        """Try a model; return the trial's exit status, also when it took too long, or the service ended meanwhile."""
        end = time.monotonic() + self.try_s
        self.trial = subprocess.Popen([*self.attempt, str(model)])
        if self.stopped.is_set():
            self.trial.terminate()
        while True:
            try:
                return self.trial.wait(self.watch_s)
            except subprocess.TimeoutExpired:
                if time.monotonic() > end or (self.child is not None and self.child.poll() is not None):
                    self.trial.kill()
                    return self.trial.wait()


if __name__ == "__main__":
    chosen = os.environ.get("PHOTOCHROM_MODEL")
    models = Path(os.environ.get("PHOTOCHROM_MODELS", "/models"))
    supervisor = Supervisor(
        None if chosen else models / "model.onnx",
        serve=(*SERVE, *sys.argv[1:]),
        # Options win over the variables that the socket is opened from.
        listening=None if any(word.startswith(("--host", "--port")) for word in sys.argv[1:]) else open_socket(),
        end_s=most_end_s(),
    )
    sys.exit(supervisor.run())
