"""A Docker engine and a Compose project on it, for tests: started under a name of its own, and gone afterwards."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parents[2]
TAG = "test"
"""Of the images that the tests build. They stay, so that the next call is quick; docs/containers.md removes them."""
PATIENCE_S = 300
"""The machine may be busy with other things."""


def docker(*words: object, check: bool = True) -> str:
    """Run the docker command; return what it prints."""
    result = subprocess.run(["docker", *map(str, words)], capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result.stdout.strip()


def why_no_engine() -> str:
    """Return why no engine can be used, or nothing."""
    if shutil.which("docker") is None:
        return "there is no docker command here"
    result = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    return "" if result.returncode == 0 else (result.stderr.strip().splitlines() or ["docker version fails"])[-1]


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"it never came: {what}"
        time.sleep(0.2)


class Project:
    """The project's compose file under another name, on a free port."""

    def __init__(self, **variables: object) -> None:
        self.name = f"photochrom-test-{uuid.uuid4().hex[:8]}"
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PHOTOCHROM_", "COMPOSE_"))}
        # How a build reaches the packages is the machine's business.
        network = os.environ.get("PHOTOCHROM_BUILD_NETWORK", "default")
        own |= {"PHOTOCHROM_TAG": TAG, "PHOTOCHROM_PORT": "0", "PHOTOCHROM_BUILD_NETWORK": network}
        self.environment = own | {f"PHOTOCHROM_{name.upper()}": str(value) for name, value in variables.items()}
        self.extra: list[str] = []

    def compose(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker-compose in the project's folder."""
        program = Path(sys.executable).with_name("docker-compose")
        result = subprocess.run(
            [str(program), "-p", self.name, *self.extra, *map(str, words)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
        return result

    def up(self, profile: str = "cpu") -> None:
        """Start a profile and wait until it is healthy."""
        self.compose("--profile", profile, "up", "--detach", "--wait", "--wait-timeout", PATIENCE_S)

    def container(self, service: str = "cpu") -> str:
        """Return the id of a service's container."""
        return self.compose("--profile", "*", "ps", "--all", "--quiet", service).stdout.strip()

    def inspect(self, service: str = "cpu") -> dict[str, Any]:
        """Return what Docker knows of a service's container."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.container(service)))
        return found[0]

    def run(self, *words: object, check: bool = True) -> str:
        """Run a command inside the service's container; return what it prints."""
        return docker("exec", self.container(), *words, check=check)

    def log(self, service: str = "cpu") -> str:
        """Return what a service has said."""
        result = subprocess.run(["docker", "logs", self.container(service)], capture_output=True, text=True, check=True)
        return result.stdout + result.stderr

    def client(self, service: str = "cpu", **headers: str) -> httpx2.Client:
        """Return a client of the published port."""
        address = self.compose("--profile", "*", "port", service, 8000).stdout.strip()
        return httpx2.Client(base_url=f"http://{address}", timeout=PATIENCE_S, headers=headers)

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", 60)

    def left(self) -> str:
        """Return what there still is of the project."""
        label = f"label=com.docker.compose.project={self.name}"
        return "".join(
            docker(kind, "ls", *("--all",) * (kind == "container"), "--quiet", "--filter", label)
            for kind in ("container", "network", "volume")
        )
