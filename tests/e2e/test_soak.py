"""The start of the soak test: memory does not grow with the number of requests."""

from pathlib import Path

import pytest

from tests import onnx_factory, soak

pytestmark = pytest.mark.e2e


def test_memory_does_not_grow_with_requests(tmp_path: Path) -> None:
    """`make soak` does the same for ten minutes with the shipped model."""
    model = onnx_factory.write_model(tmp_path / "tiny.onnx")
    # The allocator has its plateau after some 1,200 requests, now and then after the double; what leaks goes on.
    result = soak.run(
        model,
        seconds=480,  # Of which a busy machine may need some; by itself it takes twenty.
        requests=4800,
        warm_up=0.25,
        connections=3,
        log=tmp_path / "log",
        largest_px=300,
        flat=(1200, 2.0),
    )
    assert result["wrong"] == {}
    assert result["left"] > 0
    # So few requests are too few for a slope to mean anything.
    assert result["growth_mb"][-1] < 2, result
    assert result["open_files"] < 64
