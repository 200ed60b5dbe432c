"""Programs in children of one process that has imported a backend's frameworks already.

A start from nothing takes several seconds of importing, which is longer than what most tests then train. A child is a
process of its own all the same: it can be killed, and it has its own environment.
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FRAMEWORKS = (
    "tensorflow",  # which Keras asks for here and there, whatever its backend
    "jinja2",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
    "typer._adapters",  # which comes with pydantic when the first command is read
)
MORE_FRAMEWORKS = {"torch": ("torch", "torch._dynamo")}
"""By the backend of Keras."""


class Child:
    """A program that was started.

    Attributes:
        pid: of its process.
    """

    def __init__(self, starter: "Starter", pid: int, output: Path) -> None:
        self.pid = pid
        self._starter, self._output = starter, output
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while it runs."""
        return self._ask("poll")

    def wait(self) -> int:
        """Wait for the end; return the exit status, negative for a signal."""
        code = self._ask("wait")
        assert code is not None
        return code

    def finish(self) -> str:
        """Wait for the end, which must be a good one; return what it told on stderr."""
        assert self.wait() == 0, self.stderr
        return self.stderr

    def kill(self) -> None:
        """Kill it as `kill -9` does, and wait."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    @property
    def stdout(self) -> str:
        """What it has written to stdout."""
        return self._output.with_suffix(".out").read_text()

    @property
    def stderr(self) -> str:
        """What it has written to stderr."""
        return self._output.with_suffix(".err").read_text()

    def _ask(self, what: str) -> int | None:
        # A process can be waited for once only.
        if self._code is None:
            self._code = self._starter.ask({what: self.pid})
        return self._code


class Starter:
    """A process that starts programs.

    Args:
        backend: of Keras.
        scratch: folder for what the programs write; JAX keeps there what it has compiled, for the programs after.
    """

    def __init__(self, backend: str, scratch: Path) -> None:
        # JAX reads these when it is imported.
        cache = {"JAX_COMPILATION_CACHE_DIR": str(scratch / "jax"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        self._scratch, self._started = scratch, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.starter"],
            cwd=ROOT,
            env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"} | cache,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def module(self, name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Child:
        """Start a module as `python -m` does, with more environment."""
        return self._start(
            {"module": name, "arguments": [*map(str, arguments)], "environment": dict(environment or {})}
        )

    def code(self, text: str, *arguments: object) -> Child:
        """Start code as `python -c` does."""
        return self._start({"code": text, "arguments": [*map(str, arguments)], "environment": {}})

    def ask(self, order: dict[str, Any]) -> int | None:
        """Give an order; return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            assert line, "the starter is gone"
        except BaseException:  # A test that ran out of time: the answer would be taken for that to the next order.
            self.close()
            raise
        answer: int | None = json.loads(line)
        return answer

    @property
    def is_running(self) -> bool:
        """Whether it takes orders."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _start(self, order: dict[str, Any]) -> Child:
        self._started += 1
        output = self._scratch / f"{self._started:03}"
        pid = self.ask(order | {"output": str(output)})
        assert pid is not None
        return Child(self, pid, output)


def _import_frameworks() -> None:
    """Import what a run imports, and make its table of labels; no device is touched: children may choose theirs."""
    for name in (
        *FRAMEWORKS,
        *MORE_FRAMEWORKS.get(os.environ["KERAS_BACKEND"], ()),
        "training.run.train",
        "training.cli",
    ):
        importlib.import_module(name)
    from training.config import LossConfig
    from training.network.losses import label_table

    label_table(LossConfig())


def _serve() -> dict[str, Any] | None:
    """Follow orders; return that of the child in the child, None in the end."""
    for line in sys.stdin:
        order = json.loads(line)
        if "poll" in order or "wait" in order:
            pid, status = os.waitpid(order.get("poll", order.get("wait")), os.WNOHANG if "poll" in order else 0)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif (answer := os.fork()) == 0:
            return dict(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def _become(order: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, suffix in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{order['output']}.{suffix}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    os.environ.update(order["environment"])
    sys.argv = [order.get("module", "-c"), *order["arguments"]]
    code = 0
    try:
        if "module" in order:
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        else:
            exec(compile(order["code"], "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    # TensorFlow's library waits in its destructors for a thread that stayed behind in the parent.
    os._exit(code)


if __name__ == "__main__":
    _import_frameworks()
    if (mine := _serve()) is not None:
        _become(mine)
