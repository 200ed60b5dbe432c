"""service.commands.examination: each complaint comes with its cure, and a healthy machine gets none."""

import re
import socket
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.commands import examination
from service.commands.examination import examine
from service.engine.onnx_runtime import CUDA
from service.engine.precision import Choice
from service.machine import available_memory_bytes
from service.settings import Settings


@pytest.fixture(autouse=True)
def _a_healthy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PHOTOCHROM_{name.upper()}", raising=False)
    monkeypatch.setattr(examination, "available_memory_bytes", lambda: 64 * 10**9)
    monkeypatch.setattr(examination, "usable_cores", lambda: 8)
    monkeypatch.setattr(examination, "NVIDIA_DRIVER", Path("/nowhere"))


@pytest.fixture
def settings(model_path: Path) -> Settings:
    return Settings(model=model_path, device="cpu", port=0, precision="float32")


class Usage(NamedTuple):
    free: int


def said(settings: Settings, variables: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    return [(found.level, found.what, found.fix) for found in examine(settings, variables or {}).findings]


def only(settings: Settings, variables: dict[str, str] | None = None) -> tuple[str, str, str]:
    found = said(settings, variables)
    assert len(found) == 1, found
    return found[0]


def but(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{**settings.model_dump(), **changes})


def test_a_healthy_machine_gets_no_complaint(settings: Settings) -> None:
    seen = examine(settings, {"PHOTOCHROM_MODEL": "x", "PHOTOCHROM_API_KEY": "k", "PATH": "y"})
    assert seen.findings == []
    assert seen.is_well
    assert seen.facts["provider in use"] == "CPUExecutionProvider"
    assert seen.to_dict()["ok"] is True


def test_no_model_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    gone = but(settings, model=tmp_path / "gone.onnx")
    level, what, _ = only(gone)
    assert (level, "gone.onnx" in what) == ("problem", True)
    assert not examine(gone, {}).is_well


def test_keys_that_cannot_be_read_are_a_problem(settings: Settings, tmp_path: Path) -> None:
    level, what, _ = only(but(settings, api_keys_file=tmp_path / "gone"))
    assert (level, "gone" in what) == ("problem", True)


def test_keys_stay_secret(settings: Settings) -> None:
    seen = examine(but(settings, api_keys="do-not-tell-1234567890"), {})
    assert seen.facts["API keys"] == 1
    assert "do-not-tell" not in str(seen.to_dict())


@pytest.mark.parametrize(
    ("host", "open_to_all"), [("0.0.0.0", True), ("::", True), ("localhost", False), ("::1", False)]
)
def test_an_open_port_without_keys_is_said(settings: Settings, host: str, open_to_all: bool) -> None:
    assert bool(said(but(settings, host=host))) is open_to_all
    if open_to_all:
        assert "no API key" in only(but(settings, host=host))[1]
        assert said(but(settings, host=host, api_keys="0123456789abcdef")) == []


def test_a_misspelled_setting_is_found(settings: Settings) -> None:
    assert only(settings, {"PHOTOCHROM_MAX_MEGAPIXEL": "9"}) == (
        "problem",
        "PHOTOCHROM_MAX_MEGAPIXEL is no setting and has no effect",
        "did you mean PHOTOCHROM_MAX_MEGAPIXELS?",
    )
    assert only(settings, {"PHOTOCHROM_ZZZ": "9"})[2] == ""


def test_too_many_threads_are_said(settings: Settings) -> None:
    assert said(but(settings, threads=8)) == []
    assert "9 threads share 8 usable cores" in only(but(settings, threads=9))[1]


def test_too_little_memory_is_said_with_what_fits(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "available_memory_bytes", lambda: 10**9)
    level, what, fix = only(settings)
    assert (level, "1.0 GB are free" in what, fix) == ("warning", True, "PHOTOCHROM_MAX_INFLIGHT_MEGAPIXELS=75")
    assert said(but(settings, max_inflight_megapixels=75)) == []
    monkeypatch.setattr(examination, "available_memory_bytes", lambda: None)
    assert said(settings) == []


def test_a_second_runtime_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "available_memory_bytes", lambda: 1_500_000_000)
    assert said(settings) == []
    monkeypatch.setattr(examination, "may_change_over", lambda _: True)
    assert only(settings)[2] == "PHOTOCHROM_MAX_INFLIGHT_MEGAPIXELS=100"


def test_what_computes_the_network_is_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    told = examine(settings, {}).facts["computed in"]
    assert re.fullmatch(r"float32 by onnxruntime [\d.]+: as asked for", str(told))
    monkeypatch.setattr(examination, "find_faster", lambda session: Choice(session, "it is an abacus"))
    told = examine(but(settings, precision="auto"), {}).facts["computed in"]
    assert str(told).endswith(": it is an abacus")


def test_limits_that_contradict_each_other_are_said(settings: Settings) -> None:
    in_memory = but(settings, max_upload_bytes=20_000_000, max_spooled_bytes=0, kept_bytes=0)
    assert said(in_memory) == said(but(in_memory, max_held_bytes=1_000_000, max_spooled_bytes=1)) == []
    _, what, fix = only(but(in_memory, max_held_bytes=1_000_000))
    assert "larger than all uploads" in what
    assert "may now be 20000000 bytes" in what, "as service.http.guard has it"
    assert fix == "PHOTOCHROM_MAX_HELD_BYTES=80000000 or more"
    assert said(settings, {"OPENCV_IO_MAX_IMAGE_PIXELS": "100000000"}) == []
    assert "refuses pictures" in only(settings, {"OPENCV_IO_MAX_IMAGE_PIXELS": "99999999"})[1]


def test_both_limits_and_the_place_for_large_uploads_are_shown(settings: Settings, tmp_path: Path) -> None:
    facts = examine(but(settings, spool_dir=tmp_path, max_megapixels=7), {}).facts
    assert facts["largest picture"] == "7 megapixels and 640 MB"
    assert str(facts["large uploads"]).startswith(f"in {tmp_path}, where ")
    assert examine(but(settings, max_spooled_bytes=0, max_upload_bytes=9), {}).facts["large uploads"] == "in memory"


@pytest.mark.parametrize(("installed", "shown"), [(True, "pi-heif "), (False, "requirements/heic.txt")])
def test_whether_heic_is_read_is_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, installed: bool, shown: str
) -> None:
    monkeypatch.setattr(examination, "has_heic", lambda: installed)
    assert shown in str(examine(settings, {}).facts["HEIC"])


def test_a_place_that_takes_no_large_uploads_is_said(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    level, what, _ = only(but(settings, spool_dir=tmp_path / "gone"))
    assert (level, "takes no uploads" in what) == ("problem", True)
    monkeypatch.setattr(examination.shutil, "disk_usage", lambda _: Usage(10**9))
    level, what, fix = only(but(settings, spool_dir=tmp_path))
    assert (level, "uploads may take 4.3 GB" in what, "1.0 GB are free" in what) == ("warning", True, True)
    assert fix.startswith("PHOTOCHROM_MAX_SPOOLED_BYTES=500000000")
    assert said(but(settings, spool_dir=tmp_path, max_upload_bytes=10**9, max_spooled_bytes=10**9)) == []
    monkeypatch.setattr(examination, "is_in_memory", lambda _: True)
    level, what, fix = only(but(settings, spool_dir=tmp_path))
    assert (level, "is in memory itself" in what) == ("warning", True)
    assert "PHOTOCHROM_SPOOL_DIR" in fix


def test_too_little_room_for_kept_pictures_is_said(settings: Settings) -> None:
    level, what, fix = only(but(settings, max_upload_bytes=4_000_000, kept_bytes=5_999_999))
    assert (level, "no room among the kept pictures" in what) == ("warning", True)
    assert fix.startswith("PHOTOCHROM_KEPT_BYTES=6000000 or more")
    for enough in (6_000_000, 0):
        assert said(but(settings, max_upload_bytes=4_000_000, kept_bytes=enough)) == []


def test_a_taken_port_is_said(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} is taken" in only(but(settings, port=port))[1]
    assert said(but(settings, port=port)) == []


def test_an_address_of_another_machine_is_a_problem(settings: Settings) -> None:
    found = said(but(settings, host="203.0.113.7", api_keys="0123456789abcdef"))
    assert [level for level, _, _ in found] == ["problem"]
    assert "nothing can listen on 203.0.113.7:0" in found[0][1]


def test_packages_that_break_each_other_are_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    real = list(metadata.distributions())
    monkeypatch.setattr(metadata, "distributions", lambda: [*real, Package("onnxruntime-gpu"), Package("onnxruntime")])
    level, what, fix = only(settings)
    assert (level, what) == (
        "problem",
        "onnxruntime and onnxruntime-gpu are installed together and overwrite each other",
    )
    assert fix.startswith("pip uninstall onnxruntime onnxruntime-gpu")


def test_a_gpu_that_is_not_used_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(examination, "NVIDIA_DRIVER", tmp_path)
    assert "built without CUDA" in only(but(settings, device="auto"))[1]
    assert said(settings) == [], "it was not asked for"


def test_missing_cuda_libraries_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    monkeypatch.setattr(examination, "missing_cuda_libraries", lambda: ["libx.so"])
    monkeypatch.setattr(examination, "_look_at_model", lambda *_: None)
    assert "CUDA lacks libx.so" in only(but(settings, device="auto"))[1]


def test_memory_is_the_machines_or_the_groups(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "cgroup"
    assert available_memory_bytes(proc, group) is None
    proc.mkdir()
    group.mkdir()
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert available_memory_bytes(proc, group) == 4000 * 1024
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 600000\ninactive_file 300000\n")
    assert available_memory_bytes(proc, group) == 4000 * 1024
    (group / "memory.max").write_text("2000000\n")
    assert available_memory_bytes(proc, group) == 2_000_000 - 1_000_000 + 300_000
    (group / "memory.max").write_text("100000\n")
    assert available_memory_bytes(proc, group) == 0
