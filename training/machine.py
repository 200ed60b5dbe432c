"""What a run runs on, for its page."""

import os
import platform
import resource
import socket
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, str]:
    """Return the machine and the engine in words, by what they are."""
    import keras

    backend = keras.backend.backend()
    return {
        "host": socket.gethostname(),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "devices": ", ".join(_devices(backend)),
        "engine": f"Keras {keras.__version__} on {_engine(backend)}, Python {platform.python_version()}",
    }


def peak_memory_gib() -> float:
    """Return the most memory this process has held so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _engine(backend: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    for package in (backend, f"{backend}-cpu"):
        try:
            return f"{backend} {version(package)}"
        except PackageNotFoundError:
            continue
    return backend


def _devices(backend: str) -> list[str]:
    devices: list[Any]
    if backend == "tensorflow":
        import tensorflow as tf

        devices = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices()]
    elif backend == "jax":
        import jax

        devices = [f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()]
    else:
        import torch

        cards = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
        devices = cards or ["cpu"]
    return [str(device) for device in devices]
