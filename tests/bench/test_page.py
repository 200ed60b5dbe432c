"""docs/benchmarks.md: made by one command from what was measured, and nothing on it from anywhere else."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
ID = re.compile(r"\b[a-zA-Z][0-9a-f]{10}\b")
"""What Matplotlib calls its clip paths and markers, from all of their coordinates."""
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("make_benchmarks", ROOT / "tools" / "site" / "make_benchmarks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def record(name: str, result: dict[str, Any] | None, *, kept: bool | None = True) -> dict[str, Any]:
    return {
        "program": f"{name}.py",
        "arguments": [],
        "begun": "2026-01-02T03:04:05Z",
        "took_s": 1.0,
        "load_before": 0.25,
        "status": 0 if kept else 1,
        "kept": kept,
        "machine": {"cpu": "A CPU", "cores": 2, "memory_gb": 8.0, "instruction_sets": [], "system": "Linux x86_64"},
        "versions": {"python": "3.11.0"},
        "result": result,
    }


def spread(value: float) -> dict[str, Any]:
    return {"median": value, "spread": [value, value]}


def grown() -> dict[str, Any]:
    sizes = []
    for megapixels in (4.0, 50.0):
        cost = {"ms": spread(100 * megapixels), "peak_mb": 9 * megapixels}
        png = cost | {"bytes": int(1e6 * megapixels)}
        sizes.append(
            {
                "megapixels": megapixels,
                "pixels": [int(1e3 * megapixels), 1000],
                "jpeg_bytes": int(5e5 * megapixels),
                "ours": cost | {"png_bytes": int(1.5e6 * megapixels)},
                "straightforward": cost,
                "ratio": spread(1.0),
                "stages_ms": {"decode": 20, "prepare": 10, "infer": 50, "merge": 10, "encode": 10},
                "parts": {"PNG, ours": png, "PNG, OpenCV default": png, "compose": cost},
            }
        )
    return {
        "rounds": 3,
        "threads": 2,
        "idle_mb": spread(200.0),
        "limits": {"matmul_gflops": spread(123.4), "copy_gb_s": spread(10.0)},
        "sizes": sizes,
        "exponents": {"ours": spread(1.0), "straightforward": spread(1.0), "compose": spread(1.0)},
    }


def requested() -> dict[str, Any]:
    ours, before = "automatic precision", "before, float32"
    large = {"first_s": spread(1.5), "whole_s": spread(3.5), "peak_mb": spread(123.0)}
    return {
        "rounds": 2,
        "precision": "bfloat16",
        "requests": {
            "ms": {"0.25": {ours: spread(60.0), before: spread(120.0)}},
            "requests_per_s": {ours: spread(21.0), before: spread(14.0)},
            "ratio": {"0.25": {before: spread(0.5)}},
            "throughput_ratio": {before: spread(1.5)},
        },
        "large": {"pictures": {"50 MP color JPEG": {ours: large}}},
        "ready": {"seconds": {ours: spread(0.75)}, "ratio": {}},
    }


def numbers(svg: str) -> tuple[str, np.ndarray]:
    """Take the numbers out of a plot: their last digits may differ from processor to processor."""
    svg = ID.sub("id", svg)
    return NUMBER.sub("#", svg), np.array([float(hit) for hit in NUMBER.findall(svg)])


def test_the_committed_page_is_what_the_committed_results_say(maker: ModuleType) -> None:
    page, plots = maker.make(RESULTS)
    hint = "run python tools/site/make_benchmarks.py"
    assert page == (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), hint
    committed = {path.stem: path.read_text(encoding="utf-8") for path in maker.IMAGES.glob("*.svg")}
    assert plots.keys() == committed.keys(), hint
    for name, svg in plots.items():
        (shape, values), (committed_shape, committed_values) = numbers(svg), numbers(committed[name])
        assert shape == committed_shape, f"{name}: {hint}"
        np.testing.assert_allclose(values, committed_values, atol=0.5, err_msg=f"{name}: {hint}")


def test_the_same_results_give_the_same_files(maker: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "growth.json").write_text(json.dumps(record("growth", grown())))
    assert maker.make(tmp_path) == maker.make(tmp_path)


def test_numbers_come_from_the_results(maker: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "growth.json").write_text(json.dumps(record("growth", grown())))
    page, plots = maker.make(tmp_path)
    assert "| 50 | 5,000 (5,000 to 5,000) | 5,000 | 1.00 (1.00 to 1.00) | 450 | 450 |" in page
    assert "A CPU, 2 cores" in page
    assert {f"images/benchmarks/{name}.svg" for name in plots} == set(re.findall(r"\]\((images/[^)]+)\)", page))
    for svg in plots.values():
        assert "<svg" in svg
        assert "#000000" not in svg.replace(" ", ""), "black is not readable on a dark page"


def test_whole_requests_stand_beside_what_they_are_compared_with(maker: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "whole_requests.json").write_text(json.dumps(record("whole_requests", requested())))
    page, _ = maker.make(tmp_path)
    assert "automatic precision took bfloat16" in page
    assert "| 0.25 MP, ms | 60.0 | 120; **0.500 (0.500 to 0.500)** |" in page
    assert "| several callers, pictures a second | 21.0 | 14.0; **1.50" in page
    assert "| 50 MP color JPEG, automatic precision | 1.50 | 3.50 | 123 |" in page
    assert "Seconds to ready: automatic precision 0.750" in page


def test_mixed_sizes_are_a_column_and_are_told_against_the_best_peer(maker: ModuleType, tmp_path: Path) -> None:
    def loads(rate: float) -> dict[str, Any]:
        row = {"throughput_per_s": rate, "p99_ms": 500.0, "answers": 9}
        return {"clients_8": row, "mixed": row, "peak_rss_mb": 300.0}

    def against(ratio: float) -> dict[str, Any]:
        row = {"throughput_ratio": ratio, "throughput_ratio_spread": [ratio, ratio]}
        return {"clients_8": row, "mixed": row, "mixed_as_installed": row}

    result = {
        "machine": {"cores": 2},
        "megapixels": 1.0,
        "rounds": 3,
        "skipped": {},
        "contenders": {"photochrom": loads(6.0), "best": loads(3.0), "slow": loads(2.0)},
        "ours_as_a_multiple_of": {"best": against(2.0), "slow": against(3.0)},
    }
    (tmp_path / "peers.json").write_text(json.dumps(record("peers", result)))
    page, plots = maker.make(tmp_path)
    assert "|  | 8 clients | 8 clients, 0.25 to 4 megapixels | MB, largest |" in page
    row = "3.00; 0.500 s; 2.00 (2.00 to 2.00)"
    assert f"| best | {row} | {row} | 300 |" in page
    assert "as installed does as much as the best of them times 2.00 (2.00 to 2.00)." in page
    assert set(plots) == {"peers-throughput", "peers-p99"}


def test_what_was_not_measured_is_not_on_the_page(maker: ModuleType, tmp_path: Path) -> None:
    page, plots = maker.make(tmp_path)
    assert "Nothing has been measured yet." in page
    assert not plots
    assert "##" not in page
    (tmp_path / "growth.json").write_text(json.dumps(record("growth", None, kept=None)))
    skipped = record("networks", {"skipped": "no onnx here"}, kept=None)
    (tmp_path / "networks.json").write_text(json.dumps(skipped))
    (tmp_path / "restart.json").write_text(json.dumps(record("restart", {"x": 1}, kept=False)))
    page, plots = maker.make(tmp_path)
    assert "| `growth` | **failed** |" in page
    assert "| `networks` | skipped: no onnx here |" in page
    assert "| `restart` | **not kept** |" in page
    assert "##" not in page
    assert not plots
