"""Ray nodes on this machine, each a `ray start` in a session of its own, from the environment of `make test-ray`.

The tests themselves run in the development environment and see everything from outside: processes, HTTP, files. Nothing
here goes by the name of a process alone: a node's processes are those of its session.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = Path(os.environ.get("PHOTOCHROM_TEST_CLUSTER", ROOT / ".venv-cluster")) / "bin"
"""Of the environment that is tested."""
PATIENCE_S = 300
"""Ray takes long to start, and longer on a machine that has other things to do."""
STORE_BYTES = 100_000_000
STARTED = "This command will now block forever"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(done: Callable[[], object], what: str, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < ends, f"{what}: not within {patience_s} s"
        time.sleep(0.05)


class Node:
    """One node of a cluster: all processes of one session."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [COMMANDS / "ray", "start", "--block", *arguments],
                env=environment,
                cwd=ROOT,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def await_start(self) -> None:
        until(lambda: STARTED in self.log.read_text() or self.process.poll() is not None, "ray start")
        assert self.process.poll() is None, self.log.read_text()

    def processes(self, title: str = "") -> list[int]:
        """Return the ids of the node's processes whose command line begins with a title."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                is_here = int(fields[3]) == self.process.pid and fields[0] != "Z"
                if is_here and (folder / "cmdline").read_bytes().startswith(title.encode()):
                    found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """End everything at once, as when the power goes."""
        while here := self.processes():
            for process in here:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)


class Nodes:
    """A cluster on this machine that takes only those who have its token.

    Attributes:
        address: for drivers.
        environment: with the token.
        nodes: in the order in which they were added; the first one is the head.
    """

    def __init__(self, folder: Path) -> None:
        token = folder / "token"
        token.write_text(os.urandom(32).hex())
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PHOTOCHROM_")} | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.http.ray_serve:middlewares",
        }
        self.nodes: list[Node] = []
        self._folder = folder
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"

    def add(self, *, cpus: int) -> Node:
        """Start one more node with so many processors for work."""
        if self.nodes:
            arguments = [f"--address={self.address}"]
        else:
            arguments = ["--head", f"--port={self._port}", f"--ray-client-server-port={free_port()}"]
            arguments += ["--include-dashboard=false", f"--temp-dir={self._folder}"]
        arguments += [f"--num-cpus={cpus}", f"--object-store-memory={STORE_BYTES}", "--disable-usage-stats"]
        arguments += [f"--dashboard-agent-listen-port={free_port()}"]
        node = Node(arguments, self.environment, self._folder / f"node{len(self.nodes)}.log")
        self.nodes.append(node)
        node.await_start()
        return node

    def stop(self) -> None:
        """End all nodes."""
        for node in reversed(self.nodes):
            node.kill()


@contextmanager
def running() -> Iterator[Nodes]:
    """Run a cluster, still without nodes, while inside."""
    assert (COMMANDS / "ray").exists(), f"there is no Ray in {COMMANDS}: run `make test-ray`"
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # Ray makes sockets in it: its path must be short.
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(folder, ignore_errors=True)
