"""Processes that make samples, for whoever has more than one core: threads would wait for one interpreter lock.

A worker gets tasks on its standard input and gives samples on its standard output, pickled. It holds no list of
photographs, however many there are: a task brings those of one batch. It ends when its input does, so that none
outlives the process that started it, however that ended.
"""

import atexit
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

from training import DataError

START: Final = "import sys; sys.path[:] = {path!r}; from training.data.sample_workers import serve; serve()"

ONE_THREAD: Final = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
"""A worker is one thread: those of the linear algebra would get into the other workers' way."""

PIPE_BYTES: Final = 1 << 20
"""A batch is a few megabytes; the usual 64 kB would wake both sides many times. More is not everyone's to ask for."""


class SampleWorkers:
    """Worker processes; any number of threads may give them tasks, each waits for its own."""

    def __init__(self) -> None:
        self._free: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._all: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def grow(self, count: int) -> None:
        """Start workers until there are so many."""
        with self._lock:
            while len(self._all) < count:
                worker = _start()
                self._all.add(worker)
                self._free.put(worker)

    def make(self, task: Any) -> Any:
        """Have a worker do a task, a `training.data.samples.SampleTask`; return its `training.data.samples.Samples`.

        Raises:
            DataError: the worker died.
        """
        worker = self._free.get()
        try:
            made = _ask(worker, task)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._replace(worker)
            raise DataError("a process that reads photographs died, perhaps for want of memory") from error
        except BaseException:
            # Half of its answer may still be on the way: nobody could ask it anything again.
            self._replace(worker)
            raise
        self._free.put(worker)
        if isinstance(made, BaseException):
            raise made
        return made

    def _replace(self, worker: "subprocess.Popen[bytes]") -> None:
        """Other threads may be waiting for a worker."""
        with self._lock:
            self._all.discard(worker)
        _stop(worker)
        self.grow(len(self._all) + 1)

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            workers, self._all = self._all, set()
        for worker in workers:
            _stop(worker)


def _ask(worker: "subprocess.Popen[bytes]", task: Any) -> Any:
    assert worker.stdin
    assert worker.stdout
    pickle.dump(task, worker.stdin, protocol=5)
    worker.stdin.flush()
    return pickle.load(worker.stdout)


def _start() -> "subprocess.Popen[bytes]":
    # Not multiprocessing: it would run the program's main module again, which may do anything.
    return subprocess.Popen(
        [sys.executable, "-c", START.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pipesize=PIPE_BYTES,
        env=os.environ | ONE_THREAD,
    )


def _stop(worker: "subprocess.Popen[bytes]") -> None:
    worker.kill()
    for pipe in (worker.stdin, worker.stdout):
        assert pipe
        # What was still to be written has nobody to read it.
        with contextlib.suppress(OSError):
            pipe.close()
    worker.wait()


_shared: list[SampleWorkers] = []

_lock = threading.Lock()


def shared_workers(count: int) -> SampleWorkers:
    """Return the workers of this process, at least `count`; they end with it."""
    with _lock:
        if not _shared:
            _shared.append(SampleWorkers())
            atexit.register(_shared[0].close)
    _shared[0].grow(count)
    return _shared[0]


def are_running() -> bool:
    """Whether this process has started workers."""
    return bool(_shared)


def serve() -> None:
    """Do tasks until the input ends; what a worker process runs."""
    # Whatever a library prints must not get among the samples.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C reaches every process of a terminal; the first one ends this one by its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    from training.data.photographs import PhotographSet
    from training.data.samples import make_samples

    cv2.setNumThreads(1)
    readers: dict[Path | None, PhotographSet] = {}
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        made: Any
        try:
            reader = readers.setdefault(task.folder, PhotographSet((), folder=task.folder))
            made = make_samples(task, reader)
        except Exception as error:  # It is raised where the task came from.
            made = error
        try:
            pickle.dump(made, answers, protocol=5)
            answers.flush()
        except BrokenPipeError:
            return
