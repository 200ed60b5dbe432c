"""service.telemetry: stages add up, every family is there from the start."""

import re
import time
from pathlib import Path

import pytest

from service.telemetry import STAGES, Metrics, Stages


def test_stages_are_timed_also_when_they_fail() -> None:
    stages = Stages()
    with stages.measure("read"):
        time.sleep(0.01)
    with pytest.raises(ValueError, match="x"), stages.measure("decode"):
        raise ValueError("x")
    assert list(stages.seconds) == ["read", "decode"]
    assert stages.seconds["read"] >= 0.01
    assert stages.current == "decode"
    stages.seconds["decode"] = 0.00155
    stages.seconds["read"] = 0.25
    assert stages.server_timing() == "read;dur=250.0, decode;dur=1.6"


def test_stages_side_by_side_count_as_the_time_that_passed() -> None:
    stages = Stages()
    stages.seconds["merge"] = 1.0
    started = time.perf_counter()
    with stages.overlapping("merge", "encode"):
        with stages.measure("merge"), stages.measure("encode"):
            time.sleep(0.02)
        stages.seconds["merge"] += 30.0
        stages.seconds["encode"] += 10.0
    passed = time.perf_counter() - started
    merged, encoded = stages.seconds["merge"] - 1.0, stages.seconds["encode"]
    assert 0.02 <= merged + encoded <= passed
    assert merged == pytest.approx(3 * encoded, rel=0.01)
    with stages.overlapping("decode"):
        pass
    assert "decode" not in stages.seconds
    with stages.overlapping("read"), stages.measure("read"):
        time.sleep(0.01)
    assert stages.seconds["read"] >= 0.01


def test_every_family_is_there_from_the_first_scrape_on() -> None:
    text = Metrics().exposition().decode()
    for family in (
        "requests_total", "request_duration_seconds", "stage_duration_seconds", "batch_size", "queue_depth",
        "waiting_requests", "inflight_megapixels", "held_bytes", "rejected_total", "cancelled_total",
        "input_megapixels", "output_bytes", "model_info", "ready", "kept_pictures", "kept_bytes", "kept_hits_total",
        "kept_misses_total", "kept_evictions_total",
    ):  # fmt: skip
        assert f"# TYPE photochrom_{family}" in text
    assert all(f'photochrom_cancelled_total{{where="{stage}"}} 0.0' in text for stage in STAGES)
    assert "process_resident_memory_bytes" in text


def test_two_applications_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.ready.set(1)
    assert "photochrom_ready 1.0" in first.exposition().decode()
    assert "photochrom_ready 0.0" in second.exposition().decode()


def families() -> set[str]:
    """Names as Prometheus has them."""
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
        if family.name.startswith("photochrom_")
    }


def test_the_document_lists_every_family_and_alerts_on_no_other() -> None:
    document = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
    table = document[document.index("## Metrics") : document.index("## Alerts")]
    assert set(re.findall(r"`(photochrom_\w+)`", table)) == families()
    alerts = document[document.index("## Alerts") : document.index("## Logs")]
    used = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"photochrom_\w+", alerts)}
    assert used
    assert used <= families()
