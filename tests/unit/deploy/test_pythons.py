"""Which Pythons an environment is made with; one that does not do is refused in one line, before anything is made."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MADE = 7
"""Exit status of a stub Python that is asked for an environment: the check before it has passed."""


def make(target: str, minor: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one target of the Makefile with a Python that says it is 3.`minor` and can make no environment."""
    stub = folder / f"python3.{minor}"
    stub.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] || exit {MADE}\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = (3, {minor}, 0); exec(sys.argv[1])" "$2"\n'
    )
    stub.chmod(0o755)
    where = [f"{name}={folder}/venv-{name}" for name in ("VENV", "VENV_DEV")]
    return subprocess.run(
        ["make", target, "RUNTIME=service", f"PYTHON={stub}", *where],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("target", "minor"), [("serve", 10), ("serve", 15), ("test", 10), ("test", 14)])
def test_a_python_that_does_not_do_is_refused_by_name(target: str, minor: int, tmp_path: Path) -> None:
    done = make(target, minor, tmp_path)
    newest = {"serve": 14, "test": 13}[target]
    assert done.returncode == 2
    assert f"needs Python 3.11 to 3.{newest}, but {tmp_path}/python3.{minor} is 3.{minor}" in done.stderr
    assert f"make {target} PYTHON=python3.{newest}" in done.stderr
    assert not list(tmp_path.glob("venv*"))


@pytest.mark.parametrize(("target", "minor"), [("serve", 11), ("serve", 13), ("serve", 14), ("test", 11), ("test", 13)])
def test_a_python_that_does_is_used(target: str, minor: int, tmp_path: Path) -> None:
    done = make(target, minor, tmp_path)
    assert "needs Python" not in done.stderr
    assert f"Error {MADE}" in done.stderr, "it went on to make the environment"


def test_classifiers_and_pages_name_the_same_pythons() -> None:
    low, high = map(int, re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups())  # type: ignore[union-attr]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert named == [f"3.{minor}" for minor in range(low, high)]
    for page in ("README.md", "docs/quick-start.md"):
        assert f"Python 3.{low} to 3.{high - 1}" in (ROOT / page).read_text()
