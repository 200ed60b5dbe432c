"""The prior that `prepare` leaves in a data folder, and when a run may take it instead of counting its own."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from chroma import signature
from chroma.bins import BINS_SHA256, Q
from training.config import DataConfig
from training.data.layouts import LABELS

PRIOR: Final = "prior.npy"

METADATA: Final = "metadata.json"


def prior_settings(config: DataConfig) -> dict[str, Any]:
    """Return everything in a configuration that the prior depends on."""
    return {
        "crop_px": config.crop_px,
        "head_stride": signature.HEAD_STRIDE,
        "ab_sampling": config.ab_sampling,
        "gray_chroma": config.gray_chroma,
        "mask_gray": config.mask_gray,
        "bins_sha256": BINS_SHA256,
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_prepared_prior(folder: Path, config: DataConfig) -> np.ndarray | None:
    """Return the prior that `prepare` counted, if it is the one that a run of this configuration would count.

    Args:
        folder: the data folder.
        config: of the run.

    Returns:
        Shares that sum to 1, float64, (Q,); None where there is no such prior, it was counted with other settings, or
        labels.csv has changed since.
    """
    try:
        said = json.loads((folder / METADATA).read_text(encoding="utf-8"))["prior"]
        if said["settings"] != prior_settings(config) or said["labels_sha256"] != file_sha256(folder / LABELS):
            return None
        prior = np.load(folder / PRIOR)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_prior = prior.shape == (Q,) and np.isfinite(prior).all() and abs(prior.sum() - 1) < 1e-6
    return prior if is_prior else None
