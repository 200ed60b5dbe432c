"""The page on capacity says what was measured, and its sizing is arithmetic on it."""

import importlib.util
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tools" / "site" / "make_capacity.py"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_capacity", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "capacity.json").read_text())["result"]
    return found


def test_the_page_is_what_the_program_makes_of_the_measurements(tmp_path: Path) -> None:
    page = tmp_path / "capacity.md"
    subprocess.run([sys.executable, str(PROGRAM), "--out", str(page)], cwd=tmp_path, check=True)
    assert page.read_text() == (ROOT / "docs" / "capacity.md").read_text()


def test_the_measurements_are_whole(measured: dict[str, Any]) -> None:
    """Of the whole program, not of a short run, on a machine that had nothing else to do."""
    assert {(row["megapixels"], row["format"]) for row in measured["cost"]} == {
        (size, answer) for size in (0.25, 1, 4, 12) for answer in ("png", "jpeg")
    }
    assert {(row["processes"], row["cores_each"], row["callers"]) for row in measured["growth"]} == {
        (*layout, callers) for layout in ((1, 1), (1, 2), (2, 1)) for callers in (1, 2, 4, 8)
    }
    assert measured["kept"] == {"growth": True}
    others = [row["other_cores_used"] for row in (*measured["cost"], *measured["growth"])]
    assert statistics.median(others) < 0.1
    assert all(row["pictures"] >= 3 for row in measured["cost"])


def test_a_core_does_what_its_seconds_allow(maker: ModuleType) -> None:
    """864,000 pictures a day are 10 a second: at three times that, half a second each, it takes 15 busy cores."""
    cores = maker.cores_needed(0.5, 1.0, 864_000)
    assert cores == pytest.approx(10 * maker.PEAK * 0.5 / maker.BUSY)
    assert maker.cores_needed(0.5, 0.5, 864_000) == pytest.approx(2 * cores)
    assert maker.cores_needed(1.0, 1.0, 864_000) == pytest.approx(2 * cores)


@pytest.mark.parametrize(
    ("cores", "replicas"),
    [
        (0.1, 2),
        (2.8, 2),  # of 2 cores each; 1.96 are enough at the peak
        (2.9, 3),  # 2.03 are not
        (15 / 0.7, 11),  # 15 at the peak, which ten replicas bear
    ],
)
def test_a_replica_may_be_lost_at_the_peak(maker: ModuleType, cores: float, replicas: int) -> None:
    assert maker.replicas_needed(cores) == replicas


def test_the_sizing_follows_the_measurements(maker: ModuleType, measured: dict[str, Any]) -> None:
    rows = [line.split(" | ") for line in maker.sizing_table(measured).splitlines()[2:]]
    assert len(rows) == len(measured["cost"])
    for cells, row in zip(rows, measured["cost"], strict=True):
        cores = float(cells[2])
        # No more pictures than the cores' seconds, in the busiest hour, with the headroom.
        demand = 1e6 / 86_400 * maker.PEAK * row["cpu_s"] / maker.reached(measured)
        assert demand / maker.BUSY <= cores + 0.05  # which is rounded
        assert int(cells[3]) * maker.REPLICA_CORES >= cores - 0.05
        assert (int(cells[3]) - 1) * maker.REPLICA_CORES >= demand - 0.05
        if (row["megapixels"], row["format"]) == (measured["growth_megapixels"], "png"):
            # Measured, not computed: the others together really did as many pictures a second.
            done = max(r["pictures_per_s"] for r in measured["growth"] if (r["processes"], r["cores_each"]) == (1, 2))
            assert (int(cells[3]) - 1) * done >= 1e6 / 86_400 * maker.PEAK
    twice = json.loads(json.dumps(measured))
    for row in twice["cost"]:
        row["cpu_s"] *= 2
    assert maker.sizing_table(twice) != maker.sizing_table(measured)


def test_what_is_reached_is_a_share(maker: ModuleType) -> None:
    cost = [{"megapixels": 1, "format": answer, "cpu_s": cpu_s} for answer, cpu_s in (("png", 0.1), ("jpeg", 0.05))]
    row = {"processes": 1, "cores_each": 2}
    growth = [row | {"pictures_per_s": 10.0}, row | {"pictures_per_s": 16.0}]
    growth += [{"processes": 1, "cores_each": 1, "pictures_per_s": 99.0}]
    measured = {"cost": cost, "growth": growth, "growth_megapixels": 1}
    assert maker.reached(measured) == pytest.approx(0.8)
    assert maker.reached(measured | {"growth": [row | {"pictures_per_s": 21.0}]}) == 1.0


def test_replicas_are_those_of_the_manifests(maker: ModuleType) -> None:
    base = ROOT / "docker" / "kubernetes" / "base"
    pod = yaml.safe_load((base / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["cpu"] == str(maker.REPLICA_CORES)
    scale = yaml.safe_load((base / "autoscaler.yaml").read_text())["spec"]
    assert scale["minReplicas"] == maker.replicas_needed(0.1) == 2
    [processors] = [metric["resource"] for metric in scale["metrics"] if metric["type"] == "Resource"]
    assert processors["target"]["averageUtilization"] == pytest.approx(100 * maker.BUSY)


def test_without_measurements_it_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--measured", str(tmp_path / "none.json"), "--out", str(tmp_path / "page")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert re.fullmatch(r"cannot read .*none\.json: .* First: make bench BENCH=capacity\n", result.stderr)
    assert not (tmp_path / "page").exists()
