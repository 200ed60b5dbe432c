"""A run folder belongs to one recipe and one set of photographs: what makes it so, and refuses others."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np

from chroma.bins import load_centers
from training import CheckpointError, DataError, RecipeError, RunFolderError
from training.config import Recipe
from training.data.batches import count_prior
from training.data.layouts import SPLITS
from training.data.photographs import PhotographSet
from training.run import run_folder
from training.whole_files import whole_file, write_whole

log = logging.getLogger(__name__)


def claim(folder: Path, recipe: Recipe) -> str:
    """Write the recipe into a fresh folder.

    Returns:
        Hash of the recipe as the folder has it, by which its checkpoints are known. An option that came later, and is
        at its default, does not change it.

    Raises:
        RecipeError: the folder holds a run of another recipe, or a recipe that cannot be read.
    """
    path = folder / run_folder.RECIPE
    if not path.exists():
        write_whole(path, recipe.to_json())
    text = path.read_bytes()
    try:
        known = Recipe.from_json(text.decode())
    except (RecipeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is broken ({error}): remove it to go on with recipe {recipe.name!r}") from error
    if known != recipe:
        raise RecipeError(f"{folder} holds a run of another recipe: use another --run folder")
    return hashlib.sha256(text).hexdigest()[:12]


def note_photographs(folder: Path, photographs: PhotographSet) -> None:
    """Write down what the run trains on.

    Raises:
        DataError: the folder was started with other photographs.
        RunFolderError: the note is broken.
    """
    path, facts = folder / run_folder.PHOTOGRAPHS, _facts(photographs)
    if path.exists():
        known = _read_object(path)
        changed = [name for name in ("scenes", "train", "val") if known.get(name) != facts[name]]
        if changed:
            raise DataError(f"{folder} was started with other photographs ({', '.join(changed)} differ)")
    write_whole(path, json.dumps(facts, indent=2) + "\n")


def note_start(folder: Path, name: str, weights: Path | None) -> None:
    """Write down which weights the run starts from.

    Args:
        folder: of the run.
        name: of the run that they come from.
        weights: their file; None for a start from the recipe's own.

    Raises:
        CheckpointError: there are no such weights.
        RecipeError: the folder was started from others.
        RunFolderError: the note is broken.
    """
    try:
        facts = None if weights is None else {"run": name, "sha256": _sha256(weights)}
    except OSError as error:
        raise CheckpointError(f"{weights} cannot be read: {error.strerror}") from error
    path = folder / run_folder.START
    if not (folder / run_folder.PHOTOGRAPHS).exists():
        path.unlink(missing_ok=True)
        if facts:
            write_whole(path, json.dumps(facts, indent=2) + "\n")
        return
    known = _read_object(path) if path.exists() else None
    if known != facts:
        was = f"from the weights of {known.get('run')}" if known else "without --from"
        raise RecipeError(f"{folder} was started {was}, with other weights than now: use another --run folder")


def note_refused(folder: Path, refused: dict[str, str]) -> None:
    """Add to the photographs that could not be read; a run that goes on does not meet all of them again.

    Args:
        folder: of the run.
        refused: reason by key.

    Raises:
        RunFolderError: the list is broken, or the disk refuses.
    """
    path = folder / run_folder.REFUSED
    known = _read_object(path) if path.exists() else {}
    write_whole(path, json.dumps(dict(sorted((known | refused).items())), indent=2) + "\n")


def load_or_count_prior(folder: Path, photographs: PhotographSet, recipe: Recipe, *, workers: int) -> np.ndarray:
    """Return the run's prior, counted on the first start.

    Args:
        folder: of the run.
        photographs: the data set.
        recipe: of the run.
        workers: threads that read photographs.

    Returns:
        Raw prior, float64, (Q,).

    Raises:
        CheckpointError: the file of an earlier start is broken.
        DataError: there is no color in the training photographs.
    """
    path = folder / run_folder.PRIOR
    if path.exists():
        try:
            return np.asarray(np.load(path))
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}): remove it, and it is counted again") from error
    log.info("counting the prior of %d photographs", len(photographs.split("train")))
    prior = count_prior(photographs, recipe.data, load_centers(), workers=workers)
    with whole_file(path, (ValueError,)) as partial:
        np.save(partial, prior)
    return prior


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts(photographs: PhotographSet) -> dict[str, Any]:
    splits: dict[str, int] = {split: sum(photo.split == split for photo in photographs.photographs) for split in SPLITS}
    if not splits["origin_val"]:
        del splits["origin_val"]
    return {
        "scenes": list(photographs.scenes),
        **splits,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _read_object(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RunFolderError(f"{path} is broken ({error}): remove it, and it is made again") from error
