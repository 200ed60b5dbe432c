"""`make bench`: each program's result is kept with machine and versions, whatever becomes of the others."""

import importlib.util
import json
import os
import platform
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
WRITES = """
import json, sys
from pathlib import Path
Path(sys.argv[sys.argv.index("--output") + 1]).write_text(json.dumps({result}))
sys.exit({status})
"""


@pytest.fixture(scope="module")
def common() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bench_common", ROOT / "benchmarks" / "common.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def program(folder: Path, name: str, result: dict[str, object] | None, status: int) -> Path:
    path = folder / f"{name}.py"
    path.write_text(f"import sys; sys.exit({status})" if result is None else WRITES.format(**locals()))
    return path


def test_every_outcome_is_kept_and_a_failure_does_not_stop_the_others(
    common: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {
        "broken": program(tmp_path, "broken", None, 1),
        "killed": program(tmp_path, "killed", {"x": 1}, 7),
        "kept": program(tmp_path, "kept", {"x": 1.5}, 0),
        "missed": program(tmp_path, "missed", {"x": 2}, 1),
        "partly": program(tmp_path, "partly", {"skipped": {"a peer": "not installed"}, "kept": {}}, 0),
        "skipped": program(tmp_path, "skipped", {"skipped": "no torch here"}, 0),
    }
    monkeypatch.setattr(common, "programs", lambda: made)
    assert common.main(["--results", str(tmp_path / "results")]) == 1
    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "results").iterdir()}
    assert {name: (record["status"], record["kept"], record["result"]) for name, record in records.items()} == {
        "broken": (1, None, None),
        "killed": (7, None, None),
        "kept": (0, True, {"x": 1.5}),
        "missed": (1, False, {"x": 2}),
        "partly": (0, None, {"skipped": {"a peer": "not installed"}, "kept": {}}),
        "skipped": (0, None, {"skipped": "no torch here"}),
    }
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == list(made)
    assert "no torch here" in said[-1]
    assert common.main(["kept", "partly", "skipped", "--results", str(tmp_path / "results")]) == 0


def test_rounds_reach_those_programs_that_take_them(
    common: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_rounds = program(tmp_path, "with_rounds", {}, 0)
    with_rounds.write_text('assert "--rounds" in __import__("sys").argv\n' + with_rounds.read_text())
    without = program(tmp_path, "without", {}, 0)
    monkeypatch.setattr(common, "programs", lambda: {"with_rounds": with_rounds, "without": without})
    assert common.main(["--rounds", "3", "--results", str(tmp_path / "results")]) == 0
    arguments = {path.stem: json.loads(path.read_text())["arguments"] for path in (tmp_path / "results").iterdir()}
    assert arguments == {"with_rounds": ["--rounds", "3"], "without": []}


def test_an_unknown_name_is_refused(common: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        common.main(["no_such_thing"])
    assert refused.value.code == 2
    assert "there is no benchmark no_such_thing" in capsys.readouterr().err


def test_every_program_is_run(common: ModuleType) -> None:
    assert "fast_path" in common.programs()
    assert {f"{name}.py" for name in common.programs()} == {
        path.name for path in (ROOT / "benchmarks").glob("*.py") if path.name != "common.py"
    }


def test_machine_and_versions_are_told_but_nothing_that_names_the_machine(common: ModuleType) -> None:
    machine, versions = common.machine_facts(), common.version_facts()
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert machine["memory_gb"] > 0
    assert machine["cpu"]
    assert versions["python"] == platform.python_version()
    assert {"numpy", "onnxruntime", "isal", "opencv-python-headless"} <= versions.keys()
    assert socket.gethostname() not in json.dumps([machine, versions])


def test_committed_results_are_whole_and_name_no_machine() -> None:
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        text = path.read_text()
        record = json.loads(text)
        assert record["program"] == f"{path.stem}.py"
        assert record["machine"]["cpu"], path.name
        assert record["versions"]["python"], path.name
        # A folder of somebody's machine.
        assert not re.search(r'"/|[ =]/(home|root|tmp|usr|opt|var)/', text), path.name
