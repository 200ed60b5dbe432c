"""The benchmarks run: each measures contenders in one run, writes JSON, and says by its status whether it is kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORT = {
    "capacity": ("--seconds", "0", "--megapixels", "0.25", "--cores", "1"),
    "fast_path": ("--rounds", "1", "--megapixels", "1"),
    "film_flicker": ("--seconds", "0.25"),
    "film_speed": ("--rounds", "1", "--seconds", "0.5", "--sizes", "480"),
    "growth": ("--rounds", "1", "--megapixels", "0.25"),
    "hostile_callers": ("--rounds", "2", "--scenes", "dribble"),
    "large_answers": ("--rounds", "1", "--scale", "0.12"),
    "networks": ("--rounds", "1", "--size", "32", "--networks", "eccv16"),
    "overload": ("--rounds", "3"),
    "peers": (
        *("--rounds", "1", "--seconds", "0.1", "--megapixels", "0.05"),
        *("--contenders", "photochrom", "--clients", "1"),
    ),
    "startup": ("--rounds", "1"),
    "whole_requests": ("--rounds", "1", "--only", "requests", "ready", "--sizes", "0.25", "--clients", "1"),
    "training_step": ("--rounds", "1", "--recipe", "tiny", "--photographs", "48"),
}
"""How to make a program quick; the others take a round."""
PROGRAMS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "common")  # runs the others


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_benchmark_measures_and_judges_itself(program: Path, tmp_path: Path) -> None:
    """Whether a promise of speed is kept is for `make bench` to say, on a machine with nothing else to do."""
    output = tmp_path / "result.json"
    short = SHORT.get(program.stem, ("--rounds", "1"))
    command = [sys.executable, str(program), *short, "--output", str(output)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode in (0, 1), result.stderr
    assert output.exists(), result.stderr
    measured = json.loads(output.read_text())
    assert measured == json.loads(result.stdout)
    # What does not depend on the machine's other work is promised here, too.
    assert measured.get("bit_equal", True)
    assert measured.get("ratio_memory", 30) >= 30
    assert measured.get("kept", {}).get("memory", True)


def test_every_benchmark_is_in_the_readme() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text()
    assert PROGRAMS
    assert [path.name for path in PROGRAMS if f"`{path.name}`" not in listed] == []
