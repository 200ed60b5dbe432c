"""The state of a run on disk: written whole or not at all, checked when read, the last good one is kept.

A checkpoint holds every variable (weights, statistics, the state of dropout's generators, the optimizer's slots and
moving averages) and the step; together with `training.data` that is all a run needs to go on exactly.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np

from training import CheckpointError, NonFiniteLossError
from training.whole_files import PARTIAL

log = logging.getLogger(__name__)

CURRENT: Final = "checkpoint.npz"

PREVIOUS: Final = "checkpoint.previous.npz"

_STATE: Final = "state"


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
        step: steps done.
        elapsed_s: training time spent so far.
        recipe_digest: of the recipe that the checkpoint belongs to.
        best_kl: lowest validation KL so far, nats.
    """

    step: int
    elapsed_s: float
    recipe_digest: str
    best_kl: float


def save_checkpoint(folder: Path, model: keras.Model, state: RunState) -> None:
    """Write a checkpoint beside the current one, then swap; a kill at any moment leaves a whole one.

    Raises:
        NonFiniteLossError: a weight is NaN or infinite, and would be so for ever.
        CheckpointError: the disk refuses; the checkpoints that were there stay.
    """
    if (broken := not_finite(model)) is not None:
        raise NonFiniteLossError(f"{broken} is not finite at step {state.step}: the last checkpoint is whole")
    arrays = to_arrays(model, state)
    partial = folder / f"{PARTIAL}{CURRENT}"
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        if (folder / CURRENT).exists():
            (folder / CURRENT).replace(folder / PREVIOUS)
        partial.replace(folder / CURRENT)
    except (OSError, ValueError) as error:  # a zip archive whose file failed closes with a ValueError
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write a checkpoint to {folder}: {error}") from error


def load_checkpoint(folder: Path, model: keras.Model, recipe_digest: str) -> RunState | None:
    """Put the newest whole checkpoint into the model and its optimizer.

    Args:
        folder: the run's.
        model: compiled, its optimizer built.
        recipe_digest: of the recipe about to run.

    Returns:
        Where the run stands, or None when there is no checkpoint.

    Raises:
        CheckpointError: all checkpoints are broken, or they belong to another recipe or network.
    """
    arrays = read_checkpoint(folder, recipe_digest)
    return None if arrays is None else from_arrays(model, arrays)


def read_checkpoint(folder: Path, recipe_digest: str) -> dict[str, np.ndarray] | None:
    """Read the newest whole checkpoint; a broken newer one is given up.

    Args:
        folder: the run's.
        recipe_digest: of the recipe about to run.

    Returns:
        What `from_arrays` takes, or None when there is no checkpoint.

    Raises:
        CheckpointError: all checkpoints are broken, or they belong to another recipe.
    """
    broken = []
    for name in (CURRENT, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        try:
            with path.open("rb") as opened, np.load(opened) as file:
                arrays = dict(file)
                state = _state(arrays)
        except Exception as error:  # what a damaged archive raises depends on where the damage is
            log.warning("%s is broken (%s): trying the one before", path, error)
            broken.append(name)
            continue
        if state.recipe_digest != recipe_digest:
            raise CheckpointError(f"{path} belongs to another recipe: use another run folder, or remove it")
        if broken:  # else the next save would push the whole one out and keep the broken one
            path.replace(folder / CURRENT)
        return arrays
    if broken:
        raise CheckpointError(f"no whole checkpoint in {folder}: {', '.join(broken)} cannot be read")
    return None


def to_arrays(model: keras.Model, state: RunState) -> dict[str, np.ndarray]:
    """Return everything that a run needs to go on.

    Args:
        model: compiled, its optimizer built.
        state: where the run stands.
    """
    arrays = {f"v{place}": _to_numpy(variable) for place, variable in enumerate(_variables(model))}
    return arrays | {_STATE: np.frombuffer(json.dumps(asdict(state)).encode(), np.uint8)}


def from_arrays(model: keras.Model, arrays: dict[str, np.ndarray]) -> RunState:
    """Put what `to_arrays` gave into a model and its optimizer.

    Args:
        model: compiled, its optimizer built; unchanged on errors.
        arrays: by name.

    Returns:
        Where the run stands.

    Raises:
        CheckpointError: they do not fit the model.
    """
    variables = _variables(model)
    values = [arrays[name] for name in (f"v{place}" for place in range(len(arrays) - 1)) if name in arrays]
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise CheckpointError("the checkpoint does not fit the network: it was written by another version")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return _state(arrays)


def not_finite(model: keras.Model) -> str | None:
    """Return the path of the first weight, statistic or slot of the optimizer that holds a NaN or an infinity."""
    for variable in _variables(model):
        value = _to_numpy(variable)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return str(variable.path)
    return None


def _state(arrays: dict[str, np.ndarray]) -> RunState:
    return RunState(**json.loads(bytes(arrays[_STATE])))


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Every variable that a step changes, in a fixed order; running means of the losses do not matter."""
    metrics = {id(variable) for variable in model.metrics_variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    return own + list(model.optimizer.variables)


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value))


def weights_digest(model: keras.Model) -> str:
    """Return a short hash of all weights; equal digests mean bit-equal networks."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(_to_numpy(variable).astype("<f4").tobytes())
    return digest.hexdigest()[:16]
