"""Looks at this machine and the settings: what holds, what is wrong, and how to fix it."""

import errno
import os
import platform
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import onnxruntime

from service.engine.onnx_runtime import CUDA, missing_cuda_libraries
from service.engine.precision import find_faster, may_change_over, open_session
from service.engine.session import shipped_model
from service.engine.spool import SPOOL_FROM_BYTES, Spool
from service.errors import StartupError
from service.http.auth import ApiKeys
from service.http.environment import is_loopback
from service.machine import available_memory_bytes, is_in_memory, usable_cores
from service.pictures.formats import has_heic
from service.pictures.size_limits import SizeLimits
from service.settings import ENV_PREFIX, Settings, unknown_variables
from service.version import program_version

PACKAGES: Final = ("numpy", "opencv-python-headless", "pillow", "fastapi", "uvicorn", "httpx2")

TOGETHER_BROKEN: Final = (
    ("onnxruntime", "onnxruntime-gpu"),
    ("onnxruntime", "onnxruntime-openvino"),
    ("opencv-python", "opencv-python-headless"),
)
"""Packages that install the same files; which of them wins is chance."""

HEIC_CURE: Final = "pip install --require-hashes -r requirements/heic.txt (the extra `heic`)"
"""What lets pictures of phones be read."""

FILM_CURE: Final = "pip install --require-hashes -r requirements/video.txt (the extra `video`)"
"""What lets `photochrom colorize` take films."""

MEMORY_BASE_BYTES: Final = 250_000_000

OPENVINO_BYTES: Final = 250_000_000
"""What the network in bfloat16 takes beside that."""

MEMORY_BYTES_A_MEGAPIXEL: Final = 10_000_000
"""The rule in docs/operating.md, for ordinary pictures."""

POSTERIOR_BYTES: Final = 2_000_000
"""What is kept of a picture at the model's own size beside the upload: 1.4 MB of posterior, and what belongs to it."""

NVIDIA_DRIVER: Final = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        level: a `problem` keeps the service from starting or working; a `warning` does not.
        what: what is the matter.
        fix: what to do; empty where `what` says it.
    """

    level: Literal["problem", "warning"]
    what: str
    fix: str = ""


@dataclass
class Examination:
    """What was found.

    Attributes:
        facts: by name, in the order to show them in.
        findings: what is not as it should be.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether nothing keeps the service from working."""
        return all(finding.level != "problem" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"ok": self.is_well, "facts": self.facts, "findings": [vars(finding) for finding in self.findings]}


def examine(settings: Settings, variables: Mapping[str, str]) -> Examination:
    """Look at everything; the model is loaded and run once.

    Args:
        settings: the operator's.
        variables: the environment.

    Returns:
        What was found.
    """
    seen = Examination()
    _look_at_packages(seen)
    _look_at_device(seen, settings)
    _look_at_machine(seen, settings)
    _look_at_keys(seen, settings)
    _look_at_model(seen, settings)
    _look_at_spool(seen, settings)
    _look_at_settings(seen, settings, variables)
    return seen


def _look_at_packages(seen: Examination) -> None:
    installed = {(name or "").lower() for name in (found.metadata["Name"] for found in metadata.distributions())}
    seen.facts |= {
        "photochrom": program_version(),
        "python": f"{platform.python_version()} on {platform.platform()}",
        "onnxruntime": onnxruntime.__version__,
        **{name: metadata.version(name) if name in installed else "missing" for name in PACKAGES},
        "HEIC": f"pi-heif {metadata.version('pi-heif')}" if has_heic() else f"cannot be read: {HEIC_CURE}",
        "films": f"PyAV {metadata.version('av')}" if "av" in installed else f"cannot be colored: {FILM_CURE}",
    }
    for name in PACKAGES:
        if name not in installed:
            seen.findings.append(Finding("problem", f"{name} is not installed", "install the `service` extra"))
    for pair in TOGETHER_BROKEN:
        if installed.issuperset(pair):
            seen.findings.append(
                Finding(
                    "problem" if "onnxruntime" in pair else "warning",
                    f"{' and '.join(pair)} are installed together and overwrite each other",
                    f"pip uninstall {' '.join(pair)}, then install the one that is wanted",
                )
            )


def _look_at_device(seen: Examination, settings: Settings) -> None:
    providers = onnxruntime.get_available_providers()
    missing = missing_cuda_libraries()
    seen.facts |= {"providers installed": ", ".join(providers), "CUDA libraries missing": ", ".join(missing) or "none"}
    if settings.device == "cpu":
        return
    if CUDA not in providers and NVIDIA_DRIVER.exists():
        seen.findings.append(
            Finding(
                "warning",
                "there is an NVIDIA driver, but this ONNX Runtime is built without CUDA",
                "install the `gpu` extra instead of `service`, in an environment of its own (`make serve RUNTIME=gpu`)",
            )
        )
    if CUDA in providers and missing and settings.device == "auto":
        seen.findings.append(
            Finding(
                "warning",
                f"pictures are colored on the CPU: CUDA lacks {', '.join(missing)}",
                "install the `gpu` extra and a CUDA 13 driver, or set PHOTOCHROM_DEVICE=cpu",
            )
        )


def _look_at_machine(seen: Examination, settings: Settings) -> None:
    cores = usable_cores()
    seen.facts["cores"] = f"{cores} usable of {os.cpu_count()}"
    if settings.threads > cores:
        seen.findings.append(
            Finding(
                "warning",
                f"{settings.threads} threads share {cores} usable cores, which is slower than {cores}",
                "leave PHOTOCHROM_THREADS empty",
            )
        )
    free = available_memory_bytes()
    if free is None:
        return
    seen.facts["memory free"] = f"{free / 1e9:.1f} GB"
    base = MEMORY_BASE_BYTES + (OPENVINO_BYTES if may_change_over(settings.precision) else 0)
    needed = base + MEMORY_BYTES_A_MEGAPIXEL * settings.max_inflight_megapixels
    if needed > free:
        fitting = max(1, int((free - base) / MEMORY_BYTES_A_MEGAPIXEL))
        seen.findings.append(
            Finding(
                "warning",
                f"under full load the service takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
                f"PHOTOCHROM_MAX_INFLIGHT_MEGAPIXELS={fitting}",
            )
        )


def _look_at_keys(seen: Examination, settings: Settings) -> None:
    try:
        count = len(ApiKeys.of(settings))
    except StartupError as error:
        seen.findings.append(Finding("problem", str(error)))
        return
    seen.facts["API keys"] = count or "none: everyone who reaches the port may color pictures"
    if not count and not is_loopback(settings.host):
        seen.findings.append(
            Finding(
                "warning",
                f"{settings.host} can be reached from the network, and no API key is asked for",
                "set PHOTOCHROM_API_KEYS_FILE, or PHOTOCHROM_HOST=127.0.0.1",
            )
        )


def _look_at_model(seen: Examination, settings: Settings) -> None:
    try:
        session = open_session(
            settings.model or shipped_model(),
            device=settings.device,
            threads=settings.threads,
            precision=settings.precision,
        )
        session.warm_up()
    except StartupError as error:
        seen.findings.append(Finding("problem", str(error)))
        return
    seen.facts |= {
        "model": str(session.path),
        "model sha256": session.digest,
        "model run": f"{session.stamp.run_id} ({session.stamp.recipe}, {session.stamp.created})",
        "model license": session.stamp.license,
        "provider in use": session.provider,
    }
    used, why = session, "as asked for"
    if settings.precision == "auto":
        found = find_faster(session)
        used, why = found.session, found.reason
    seen.facts["computed in"] = f"{used.precision} by {used.runtime.name}: {why}"


def _look_at_settings(seen: Examination, settings: Settings, variables: Mapping[str, str]) -> None:
    for name, value in settings.model_dump().items():
        shown = value if value is None or isinstance(value, int | float) else str(value)
        seen.facts[f"{ENV_PREFIX}{name.upper()}"] = "" if shown is None else shown
    for name, near in unknown_variables(variables).items():
        text = f"{name} is no setting and has no effect"
        seen.findings.append(Finding("problem", text, f"did you mean {near}?") if near else Finding("warning", text))
    if settings.max_upload_bytes > settings.max_held_bytes and not settings.max_spooled_bytes:
        seen.findings.append(
            Finding(
                "warning",
                f"one upload may be larger than all uploads and answers together may be: those may now be "
                f"{settings.max_upload_bytes} bytes, which is room for one large upload at a time",
                f"PHOTOCHROM_MAX_HELD_BYTES={settings.max_upload_bytes * 4} or more",
            )
        )
    largest_kept = _most_in_memory(settings) + POSTERIOR_BYTES
    if 0 < settings.kept_bytes < largest_kept:
        seen.findings.append(
            Finding(
                "warning",
                "the largest uploads have no room among the kept pictures: each change of color is a new upload then",
                f"PHOTOCHROM_KEPT_BYTES={largest_kept} or more, better several times that; or 0 to keep none",
            )
        )
    wall = variables.get("OPENCV_IO_MAX_IMAGE_PIXELS", "")
    if wall.isdecimal() and int(wall) < settings.max_pixels:
        seen.findings.append(
            Finding(
                "warning",
                f"OPENCV_IO_MAX_IMAGE_PIXELS={wall} refuses pictures that PHOTOCHROM_MAX_MEGAPIXELS allows",
                "unset it: `photochrom serve` sets it",
            )
        )
    trouble = _try_to_listen(settings.host, settings.port)
    if trouble and trouble.errno == errno.EADDRINUSE:
        seen.findings.append(
            Finding(
                "warning",
                f"{settings.host}:{settings.port} is taken; fine if that is Photochrom itself",
                "else choose another PHOTOCHROM_PORT",
            )
        )
    elif trouble:
        seen.findings.append(
            Finding(
                "problem",
                f"nothing can listen on {settings.host}:{settings.port}: {trouble.strerror}",
                "set PHOTOCHROM_HOST to an address of this machine, and PHOTOCHROM_PORT to 1024 or more",
            )
        )


def _most_in_memory(settings: Settings) -> int:
    """Return how many bytes of an upload stay in memory at most."""
    return min(settings.max_upload_bytes, SPOOL_FROM_BYTES) if settings.max_spooled_bytes else settings.max_upload_bytes


def _look_at_spool(seen: Examination, settings: Settings) -> None:
    seen.facts["largest picture"] = str(SizeLimits.of(settings))
    try:
        spool = Spool.of(settings)
    except StartupError as error:
        seen.findings.append(Finding("problem", str(error)))
        return
    if spool is None:
        seen.facts["large uploads"] = "in memory"
        return
    free = shutil.disk_usage(spool.directory).free
    seen.facts["large uploads"] = f"in {spool.directory}, where {free / 1e9:.1f} GB are free"
    if is_in_memory(spool.directory):
        seen.findings.append(
            Finding(
                "warning",
                f"{spool.directory}, which takes large uploads, is in memory itself",
                "set PHOTOCHROM_SPOOL_DIR to a directory of a disk",
            )
        )
    elif free < spool.limit:
        seen.findings.append(
            Finding(
                "warning",
                f"uploads may take {spool.limit / 1e9:.1f} GB of {spool.directory}, where {free / 1e9:.1f} GB are free",
                f"PHOTOCHROM_MAX_SPOOLED_BYTES={free // 2}, or another PHOTOCHROM_SPOOL_DIR",
            )
        )


def _try_to_listen(host: str, port: int) -> OSError | None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # As the server does.
            probe.bind(address)
    except OSError as error:
        return error
    return None
