"""The weights of two runs of one network, averaged: what each learned, with less of what each learned by heart.

Averages of weights that began from the same ones often know photographs of other origin better than either. They need
statistics of their own: batch normalization's are those of neither part, so they are measured again.

References:
    Wortsman and others, "Robust fine-tuning of zero-shot models", CVPR 2022 (the fine-tuned and the start, averaged).
    Izmailov and others, "Averaging Weights Leads to Wider Optima", UAI 2018, section 3.2 (the statistics).
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import keras
import numpy as np

from training import RecipeError, RunFolderError
from training.data.batches import BatchMaker
from training.data.photographs import open_photographs
from training.run import run_folder
from training.run.keeping import save_weights
from training.run.starting import open_start, require_new
from training.whole_files import write_whole

STATISTICS_BATCHES: Final = 64
"""Batches of training samples that the statistics are measured on; with 12 KL is 0.004 nats higher."""


def average(folder: Path, other: Path, share: float, data: Path, out: Path) -> None:
    """Average a run's weights with others of the same network into a new run folder.

    Args:
        folder: of the run; its last weights are taken, not those of the lowest KL.
        other: another run folder, or an exported ONNX file.
        share: of the run's weights, (0, 1); the other ones have the rest.
        data: the photographs that the run trained on.
        out: the new run folder; must not exist, or be empty.

    Raises:
        RecipeError: another network, other scenes, or a share out of range.
        RunFolderError: there is something in the new folder, or it cannot be written.
        TrainingError: the runs or the photographs cannot be read.
    """
    if not 0 < share < 1:
        raise RecipeError(f"the share must lie between 0 and 1, is {share}")
    require_new(out)
    source = run_folder.open_run(folder)
    photographs = open_photographs(data, scenes=source.recipe.data.scenes)
    start = open_start(other, source.recipe, source.scenes)
    recipe = source.recipe
    maker = BatchMaker(
        photographs,
        photographs.split("train", repeat=dict(recipe.data.repeat)),
        recipe.data,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
    )
    model = source.load_model(run_folder.LAST)
    parts = zip(model.get_weights(), start.load_weights(maker), strict=True)
    model.set_weights([share * ours + (1 - share) * theirs for ours, theirs in parts])
    measure_normalization(model, (maker.batch(step).lightness for step in range(STATISTICS_BATCHES)))
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (run_folder.PHOTOGRAPHS, run_folder.PRIOR, run_folder.METRICS, run_folder.STATUS):
            if (folder / name).exists():
                shutil.copyfile(folder / name, out / name)
    except OSError as error:
        raise RunFolderError(f"cannot write {out}: {error.strerror}") from error
    note = {"run": folder.resolve().name, "share": share, "other": start.name}
    write_whole(out / run_folder.START, json.dumps(note, indent=2) + "\n")
    save_weights(model, out / run_folder.BEST)
    write_whole(out / run_folder.RECIPE, recipe.to_json())


def measure_normalization(model: keras.Model, lightness: Iterable[np.ndarray]) -> None:
    """Replace the statistics of batch normalizations that train by their means over batches.

    Args:
        model: any of ours; nothing else of it changes.
        lightness: batches of training samples: CIE L, float32, (batch, H, W, 1).
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    kept = [layer.momentum for layer in norms]
    for place, batch in enumerate(lightness):
        for layer in norms:
            # The mean of all batches so far, instead of one that forgets.
            layer.momentum = place / (place + 1)
        model(batch, training=True)
    for layer, momentum in zip(norms, kept, strict=True):
        layer.momentum = momentum
