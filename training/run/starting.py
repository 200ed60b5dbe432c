"""Weights that a run starts from instead of its recipe's own: another run's best ones, or those of an ONNX file.

An ONNX file may also be unpacked into a run folder, to be calibrated, evaluated, and exported again.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from training import RecipeError, RunFolderError
from training.config import Recipe
from training.data.batches import BatchMaker
from training.network.model import build_model
from training.network.onnx_weights import OnnxNetwork, load_exported, read_exported, restore_normalization
from training.recipes import load_recipe
from training.run import run_folder
from training.run.keeping import save_weights
from training.whole_files import write_whole

STATISTICS_BATCHES: Final = 8
"""Batches of the run's own samples that give an ONNX file's normalizations their statistics."""


@dataclass(frozen=True)
class Start:
    """Where weights come from.

    Attributes:
        path: the file that holds them.
        name: of the run that made them.
        model: the network of an ONNX file, float32, its normalizations without statistics; None for a run folder.
    """

    path: Path
    name: str
    model: keras.Model | None = None

    def load_weights(self, maker: BatchMaker) -> list[np.ndarray]:
        """Return the weights in the order of `keras.Model.get_weights`.

        Args:
            maker: makes the batches that the run will train on.

        Raises:
            CheckpointError: they cannot be read, or do not fit.
        """
        if self.model is None:
            return list(run_folder.open_run(self.path.parent).load_model().get_weights())
        restore_normalization(self.model, (maker.batch(step).lightness for step in range(STATISTICS_BATCHES)))
        return list(self.model.get_weights())


def open_start(path: Path, recipe: Recipe, scenes: tuple[str, ...]) -> Start:
    """Find the weights that a run is to start from.

    Args:
        path: a run folder, or an ONNX file of ours.
        recipe: of the run that starts.
        scenes: names of its scenes.

    Raises:
        CheckpointError: no such folder or file, or an ONNX file with another network.
        RecipeError: a run with another network, or other scenes.
    """
    if path.is_file():
        exported = read_exported(path)
        _require_scenes(path, exported.stamp.scenes, scenes)
        return Start(path, exported.stamp.run_id, _network(exported, recipe))
    source = run_folder.open_run(path)
    # How the source itself started does not matter.
    networks = [replace(each.model, pretrained=False, frozen_stages=0) for each in (source.recipe, recipe)]
    if networks[0] != networks[1]:
        raise RecipeError(f"{path} has another network: its weights do not fit recipe {recipe.name!r}")
    _require_scenes(path, source.scenes, scenes)
    return Start(path / run_folder.BEST, path.name)


def unpack(path: Path, folder: Path) -> None:
    """Make a run folder of an ONNX file.

    Args:
        path: the ONNX file.
        folder: of the run; must not exist, or be empty.

    Raises:
        CheckpointError: no such file, or another network than the recipe's.
        RecipeError: its recipe is not among ours.
        RunFolderError: there is something in the folder, or it cannot be written.
    """
    require_new(folder)
    exported = read_exported(path)
    stamp = exported.stamp
    recipe = replace(load_recipe(stamp.recipe), size=stamp.size)
    model = _network(exported, recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / run_folder.PRIOR, np.array(stamp.prior))
    except OSError as error:
        raise RunFolderError(f"cannot write {folder}: {error.strerror}") from error
    facts: dict[str, Any] = {"scenes": stamp.scenes, "backend": keras.backend.backend(), "keras": keras.__version__}
    write_whole(folder / run_folder.PHOTOGRAPHS, json.dumps(facts, indent=2) + "\n")
    write_whole(
        folder / run_folder.CURVE_FILE, json.dumps({"points": stamp.vividness_curve.to_rows()}, indent=2) + "\n"
    )
    save_weights(model, folder / run_folder.BEST)
    write_whole(folder / run_folder.RECIPE, recipe.to_json())


def require_new(folder: Path) -> None:
    """Refuse a folder that holds something, before the work is done.

    Raises:
        RunFolderError: it does, or cannot be looked at.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise RunFolderError(f"{folder} is not empty: name another one")
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be read: {error.strerror}") from error


def _require_scenes(path: Path, known: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if known != wanted:
        raise RecipeError(f"{path} knows other scenes: its weights do not fit these photographs")


def _network(exported: OnnxNetwork, recipe: Recipe) -> keras.Model:
    """Build a network in float32 and put a file's weights into it."""
    keras.config.set_dtype_policy("float32")
    model = build_model(recipe.model, scenes=len(exported.stamp.scenes), pretrained=False)
    load_exported(exported, model)
    return model
