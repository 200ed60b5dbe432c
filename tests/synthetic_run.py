"""Runs made up for tests: no training, no downloads."""

import json
from pathlib import Path

import numpy as np

from chroma.bins import load_centers
from training.config import Recipe


def make_prior() -> np.ndarray:
    """Return a prior as uneven as a real one: most mass near gray, many bins empty; float64, (313,)."""
    centers = load_centers().astype(np.float64)
    prior = np.exp(-np.square(centers).sum(axis=1) / (2 * 20.0**2))
    prior[::7] = 0
    return prior / prior.sum()


def make_run(
    folder: Path,
    *,
    seed: int = 0,
    scenes: tuple[str, ...] = ("indoor", "outdoor", "portrait"),
    recipe: Recipe | None = None,
) -> Path:
    """Write the folder of a run that never trained: random weights with heads as lively as trained.

    Args:
        folder: made if missing.
        seed: of the weights.
        scenes: names of the scene classes.
        recipe: of the run; `tiny` by default.

    Returns:
        The folder.
    """
    import keras

    from training.network.model import build_model
    from training.recipes import load_recipe
    from training.run import run_folder

    recipe = recipe or load_recipe("tiny")
    keras.utils.set_random_seed(seed)
    model = build_model(recipe.model, scenes=len(scenes))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        # Fresh statistics and modulation are the identity: an error there would go unseen.
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
            elif weight.name in ("beta", "moving_mean", "bias") or "film" in layer.name:
                weight.assign(rng.normal(0, 0.3, weight.shape))
    for name, factor in (("ab_logits", 30.0), ("ab_unit", 3.0), ("scene_logits", 3.0)):
        kernel = model.get_layer(name).kernel
        kernel.assign(kernel * factor)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run_folder.RECIPE).write_text(recipe.to_json())
    (folder / run_folder.PHOTOGRAPHS).write_text(json.dumps({"scenes": scenes, "backend": keras.backend.backend()}))
    np.save(folder / run_folder.PRIOR, make_prior())
    model.save_weights(folder / run_folder.BEST)
    return folder
