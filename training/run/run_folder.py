"""A run folder: where everything that a run made lies, and how to open it again.

recipe.json         what was asked for
photographs.json    how many photographs, which scenes, which backend
start.json          whose weights it started from, where it started from another run's
prior.npy           raw prior of the training split, float64, (Q,)
checkpoint.npz      state to resume from (and the one before)
last.weights.h5     averaged weights of the last evaluation
best.weights.h5     averaged weights of the evaluation with the lowest KL
steps.jsonl         one line every few steps: losses, learning rate, images a second
metrics.jsonl       one line an evaluation
previews/           one PNG an evaluation
plots/              the same two files, drawn
tensorboard/        the same once more, for TensorBoard
status.json         running, finished, stopped or failed, and why
index.html          all of this on one page
refused.json        photographs that could not be read, with the reason
lock                held by the process that trains
curve.json          vividness curve and confidence, chosen on the validation split
evaluation.json     scores, see `training.judge.evaluate`
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from chroma.bins import load_centers
from chroma.decoding import VividnessCurve
from training import CheckpointError
from training.config import Recipe
from training.network.model import build_model
from training.run.prediction import Decoder, first_curve

__all__ = ["Run", "open_run"]

RECIPE = "recipe.json"

PHOTOGRAPHS = "photographs.json"

START = "start.json"

PRIOR = "prior.npy"

LAST = "last.weights.h5"

BEST = "best.weights.h5"

STEPS = "steps.jsonl"

METRICS = "metrics.jsonl"

PREVIEWS = "previews"

PLOTS = "plots"

TENSORBOARD = "tensorboard"

STATUS = "status.json"

PAGE = "index.html"

REFUSED = "refused.json"

CURVE_FILE = "curve.json"

EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Run:
    """A finished or unfinished run, read from its folder.

    Attributes:
        folder: where it lies; its name is the run id.
        recipe: what was asked for.
        scenes: names of the scene classes, in the order of the head.
        prior: raw prior, float64, (Q,).
        curve: vividness curve; the general one when none was chosen.
        confidence_temperature: of the posterior that says how sure the network is, see `training.judge.confidence`.
    """

    folder: Path
    recipe: Recipe
    scenes: tuple[str, ...]
    prior: np.ndarray
    curve: VividnessCurve
    confidence_temperature: float = 1.0

    @property
    def run_id(self) -> str:
        """Return the run's name: that of its folder."""
        return self.folder.resolve().name

    def decoder(self) -> Decoder:
        """Return what turns this run's heads into ab."""
        return Decoder.of_prior(self.prior, load_centers())

    def load_model(self, weights: str = BEST) -> keras.Model:
        """Build the network in float32 and load averaged weights.

        Args:
            weights: file name in the run folder.

        Raises:
            CheckpointError: there are no such weights, or they do not fit.
        """
        path = self.folder / weights
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: the run has not finished an epoch yet")
        keras.config.set_dtype_policy("float32")
        model = build_model(self.recipe.model, scenes=len(self.scenes), pretrained=False)
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CheckpointError(f"{path} cannot be loaded: {reason}") from error
        return model

    def evaluation(self) -> dict[str, Any]:
        """Return the scores of `training.judge.evaluate`, but for what only its page shows; or an empty dict."""
        path = self.folder / EVALUATION
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {name: value for name, value in report.items() if name != "details"}


def open_run(folder: Path) -> Run:
    """Open a run folder.

    Raises:
        CheckpointError: a file that every run has is missing or broken.
        RecipeError: the recipe cannot be read.
    """
    try:
        recipe = Recipe.from_json((folder / RECIPE).read_text(encoding="utf-8"))
        facts = json.loads((folder / PHOTOGRAPHS).read_text(encoding="utf-8"))
        prior = np.load(folder / PRIOR)
        curve_path = folder / CURVE_FILE
        curve = first_curve(recipe.decode)
        temperature = 1.0
        if curve_path.exists():
            chosen = json.loads(curve_path.read_text(encoding="utf-8"))
            curve = VividnessCurve.from_rows(chosen["points"])
            temperature = float(chosen.get("confidence_temperature", 1.0))
        return Run(folder, recipe, tuple(facts["scenes"]), prior, curve, temperature)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder} is not a run folder: {error}") from error
