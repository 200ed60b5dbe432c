"""The promises of speed: each program in benchmarks/ judges itself by a ratio within one run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted((ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_promise_of_speed_is_kept(program: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [sys.executable, str(program), "--rounds", "7", "--output", str(output)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(output.read_text()) == json.loads(result.stdout)


def test_every_benchmark_is_in_the_readme() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text()
    assert PROGRAMS
    assert [path.name for path in PROGRAMS if f"`{path.name}`" not in listed] == []
