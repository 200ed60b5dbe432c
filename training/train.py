"""One run, read top to bottom: photographs and prior, network, resume, steps, evaluation after each epoch."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np

from chroma.bins import load_centers
from chroma.prior import smooth_prior
from chroma.soft_encoding import build_table
from training import CheckpointError, DataError, NonFiniteLossError, RecipeError, run
from training.averaging import averaged_weights
from training.checkpoint import RunState, load_checkpoint, save_checkpoint, weights_digest
from training.config import Recipe
from training.data import Batch, BatchMaker, count_prior, stream
from training.losses import compile_model
from training.metrics import ColorScores
from training.model import build_model
from training.optimization import build_optimizer, learning_rate_at
from training.photographs import Photograph, PhotographSet, open_photographs
from training.prediction import Decoder, predict_heads
from training.preview import preview_grid, write_png

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S = 120.0
PREVIEW_PICTURES = 8


@dataclass(frozen=True)
class Options:
    """How to run a recipe; nothing here changes what comes out, but for `minutes` and `epochs`.

    Attributes:
        data: folder of photographs.
        folder: run folder, made if missing; a run found there goes on.
        workers: threads that read photographs.
        minutes: let the learning rate fall with elapsed time and stop after that long, whatever the epochs. Not
            bit-reproducible, but right on a machine of unknown speed.
        epochs: overrides the recipe's.
        checkpoint_every_steps: also save a checkpoint after so many steps (besides every two minutes).
    """

    data: Path
    folder: Path
    workers: int = 2
    minutes: float | None = None
    epochs: int | None = None
    checkpoint_every_steps: int | None = None


@dataclass(frozen=True)
class Progress:
    """What the progress display is told after each step.

    Attributes:
        step: steps done.
        steps: steps of the run.
        epoch: epoch under way, from 1.
        images_per_s: over the last steps.
        left_s: estimated time left, s.
        losses: of each head, and their weighted sum.
    """

    step: int
    steps: int
    epoch: int
    images_per_s: float
    left_s: float
    losses: dict[str, float]


Watcher = Callable[[Progress], None]


def train(
    recipe: Recipe,
    options: Options,
    *,
    watch: Watcher | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train a recipe, or go on where a killed run stopped.

    Args:
        recipe: what to train.
        options: where the photographs and the run are.
        watch: told after each step.
        report: told the scores after each epoch.

    Returns:
        The run folder.

    Raises:
        TrainingError: see `training`.
    """
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs, steps=None)
    cv2.setNumThreads(1)
    seed_everything(recipe)
    # Before there is a run folder: a mistyped path leaves nothing behind.
    photographs = open_photographs(options.data, scenes=recipe.data.scenes)
    chosen = photographs.split("train", repeat=dict(recipe.data.repeat))
    validation = _evenly(photographs.split("val"), recipe.data.validation_pictures)

    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / run.PREVIEWS).mkdir(exist_ok=True)
    _claim(options.folder, recipe)
    _note_photographs(options.folder, photographs)
    prior = _load_or_count_prior(photographs, recipe, options)
    smoothed = smooth_prior(prior, load_centers())

    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    model = build_model(recipe.model, scenes=len(photographs.scenes))
    compile_model(model, build_optimizer(recipe.optimizer), recipe.loss, prior)
    model.optimizer.build(model.trainable_variables)

    maker = BatchMaker(photographs, chosen, recipe.data, batch_size=recipe.batch_size, seed=recipe.seed)
    validator = BatchMaker(photographs, validation, recipe.data, batch_size=recipe.batch_size, seed=None)
    state = load_checkpoint(options.folder, model, recipe.digest())
    if state is None:
        state = RunState(0, 0.0, recipe.digest(), math.inf)
        _remove_results(options.folder)
    else:
        log.info("going on at step %d", state.step)
    loop = _Loop(recipe, options, model, maker, validator, Decoder.of_prior(prior, load_centers()), smoothed, state)
    loop.run(watch or (lambda _: None), report or (lambda _: None))
    log.info("weights %s", weights_digest(model))
    return options.folder


def seed_everything(recipe: Recipe) -> None:
    """Seed weights and dropout, and make the kernels reproducible where the recipe asks for it."""
    keras.utils.set_random_seed(recipe.seed)
    if not recipe.deterministic:
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


class _Loop:
    """The steps of one run, with evaluation after each epoch."""

    def __init__(
        self,
        recipe: Recipe,
        options: Options,
        model: keras.Model,
        maker: BatchMaker,
        validation: BatchMaker,
        decoder: Decoder,
        smoothed_prior: np.ndarray,
        state: RunState,
    ) -> None:
        self.recipe, self.options, self.model, self.decoder = recipe, options, model, decoder
        self.maker, self.validation = maker, validation
        self.smoothed_prior = smoothed_prior
        self.table = build_table(
            load_centers(), k=recipe.loss.neighbors, sigma=recipe.loss.sigma, ties=recipe.loss.ties
        )
        self.steps = recipe.steps or maker.steps_per_epoch * recipe.epochs
        self.step, self.elapsed_s, self.best_kl = state.step, state.elapsed_s, state.best_kl
        self.saved_at = self.ready_at = time.monotonic()
        self.steps_here = 0

    def run(self, watch: Watcher, report: Callable[[dict[str, Any]], None]) -> None:
        stop = self.steps if self._progress() < 1 else self.step
        batches = stream(self.maker, self.step, stop, workers=self.options.workers)
        self.ready_at = time.monotonic()
        try:
            for batch in batches:
                self._train_step(batch, watch)
                timed_out = self._progress() >= 1
                if self._evaluation_is_due() or timed_out:
                    report(self._evaluate())
                    self._save()
                elif self._save_is_due():
                    self._save()
                if timed_out:
                    break
                self.ready_at = time.monotonic()
        finally:
            batches.close()
            _note_refused(self.options.folder / run.REFUSED, self.maker.refused | self.validation.refused)

    def _train_step(self, batch: Batch, watch: Watcher) -> None:
        self.model.optimizer.learning_rate = learning_rate_at(
            self.recipe.optimizer, self._progress(), self.step / self.maker.steps_per_epoch
        )
        self.model.reset_metrics()
        logs = self.model.train_on_batch(batch.lightness, batch.targets(), return_dict=True)
        losses = {name: float(value) for name, value in logs.items()}
        for name, value in sorted(losses.items(), key=lambda item: item[0] == "loss"):
            if not math.isfinite(value):
                raise NonFiniteLossError(f"{name} is {value} at step {self.step}: the last checkpoint is whole")
        # Waiting for photographs counts; evaluation does not.
        took_s = time.monotonic() - self.ready_at
        self.step += 1
        self.steps_here += 1
        self.elapsed_s += took_s
        # The first steps compile and page in; they say nothing of the pace.
        pace = took_s if self.steps_here < 3 else 0.95 * self.pace_s + 0.05 * took_s
        self.pace_s = pace
        left_s = (self.steps - self.step) * pace
        if self.options.minutes is not None:
            left_s = min(left_s, self.options.minutes * 60 - self.elapsed_s)
        epoch = (self.step - 1) // self.maker.steps_per_epoch + 1
        watch(Progress(self.step, self.steps, epoch, len(batch.lightness) / pace, max(left_s, 0.0), losses))

    def _progress(self) -> float:
        by_steps = self.step / self.steps
        if self.options.minutes is None:
            return by_steps
        return max(by_steps, self.elapsed_s / (self.options.minutes * 60))

    def _evaluate(self) -> dict[str, Any]:
        started = time.monotonic()
        centers = load_centers()
        scores = ColorScores(self.table, centers, self.smoothed_prior)
        folder = self.options.folder
        epoch = -(-self.step // self.maker.steps_per_epoch)
        with averaged_weights(self.model):
            for batch in stream(self.validation, 0, self.validation.steps_per_epoch, workers=self.options.workers):
                scores.add(predict_heads(self.model, batch.lightness), batch.ab, batch.scene)
            samples = _some_samples(self.validation)
            write_png(folder / run.PREVIEWS / f"step{self.step:07d}.png", preview_grid(self.model, samples, self.decoder))
            result = scores.result()
            _save_weights(self.model, folder / run.LAST)
            better = result["kl"] < self.best_kl
            # A run without color in validation, where KL is NaN, still ends with weights.
            if better or not (folder / run.BEST).exists():
                _save_weights(self.model, folder / run.BEST)
            if better:
                self.best_kl = result["kl"]
        row = {"epoch": epoch, "step": self.step, "images": self.step * self.recipe.batch_size}
        row |= {"minutes": round(self.elapsed_s / 60, 2), "evaluation_s": round(time.monotonic() - started, 1)}
        row |= {name: round(value, 5) if math.isfinite(value) else None for name, value in result.items()}
        _append_metrics(folder / run.METRICS, row)
        return row

    def _evaluation_is_due(self) -> bool:
        every = self.recipe.evaluate_every or self.maker.steps_per_epoch
        return self.step % every == 0 or self.step == self.steps

    def _save_is_due(self) -> bool:
        every = self.options.checkpoint_every_steps
        return bool(every and self.step % every == 0) or time.monotonic() - self.saved_at > CHECKPOINT_EVERY_S

    def _save(self) -> None:
        state = RunState(self.step, self.elapsed_s, self.recipe.digest(), self.best_kl)
        save_checkpoint(self.options.folder, self.model, state)
        self.saved_at = time.monotonic()


def _evenly(photographs: tuple[Photograph, ...], count: int) -> tuple[Photograph, ...]:
    """Return `count` photographs spread over the whole split: shards may be sorted by source."""
    places = np.linspace(0, len(photographs) - 1, min(count, len(photographs))).round().astype(int)
    return tuple(photographs[place] for place in places)


def _claim(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into a fresh folder; refuse a folder of another recipe."""
    path = folder / run.RECIPE
    if not path.exists():
        run.write_whole(path, recipe.to_json())
    elif Recipe.from_json(path.read_text(encoding="utf-8")) != recipe:
        raise RecipeError(f"{folder} holds a run of another recipe: use another --run folder")


def _note_photographs(folder: Path, photographs: PhotographSet) -> None:
    """Write down what the run trains on; refuse to go on with something else."""
    path, facts = folder / run.PHOTOGRAPHS, _facts(photographs)
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in ("scenes", "train", "val") if known.get(name) != facts[name]]
        if changed:
            raise DataError(f"{folder} was started with other photographs ({', '.join(changed)} differ)")
    _write_json(path, facts)


def _note_refused(path: Path, refused: dict[str, str]) -> None:
    """Add to the photographs that could not be read; a run that goes on does not meet all of them again."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    _write_json(path, dict(sorted((known | refused).items())))


def _load_or_count_prior(photographs: PhotographSet, recipe: Recipe, options: Options) -> np.ndarray:
    path = options.folder / run.PRIOR
    if path.exists():
        try:
            return np.asarray(np.load(path))
        except (OSError, ValueError, EOFError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}): remove it, and it is counted again") from error
    log.info("counting the prior of %d photographs", len(photographs.split("train")))
    prior = count_prior(photographs, recipe.data, load_centers(), workers=options.workers)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, prior)
    partial.replace(path)
    return prior


def _facts(photographs: PhotographSet) -> dict[str, Any]:
    splits = {split: sum(photo.split == split for photo in photographs.photographs) for split in ("train", "val")}
    return {
        "scenes": list(photographs.scenes),
        **splits,
        "backend": keras.backend.backend(),
        "keras": keras.__version__,
    }


def _some_samples(maker: BatchMaker) -> Batch:
    """Every n-th validation sample, so that the preview shows the same pictures each epoch."""
    batches = np.linspace(0, maker.steps_per_epoch - 1, PREVIEW_PICTURES).astype(int)
    parts = [maker.batch(int(step)) for step in dict.fromkeys(batches)]
    share = -(-PREVIEW_PICTURES // len(parts))
    return Batch(
        lightness=np.concatenate([part.lightness[:share] for part in parts])[:PREVIEW_PICTURES],
        ab=np.concatenate([part.ab[:share] for part in parts])[:PREVIEW_PICTURES],
        scene=np.concatenate([part.scene[:share] for part in parts])[:PREVIEW_PICTURES],
        keys=tuple(key for part in parts for key in part.keys[:share])[:PREVIEW_PICTURES],
    )


def _append_metrics(path: Path, row: dict[str, Any]) -> None:
    """Add a row; one from before a kill, at or after this step, is replaced."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    rows = [old for old in rows if old["step"] < row["step"]] + [row]
    run.write_whole(path, "".join(json.dumps(old) + "\n" for old in rows))


def _remove_results(folder: Path) -> None:
    """A run that starts over must not keep an earlier start's best weights."""
    for name in (run.BEST, run.LAST, run.METRICS):
        (folder / name).unlink(missing_ok=True)


def _write_json(path: Path, value: Any) -> None:
    run.write_whole(path, json.dumps(value, indent=2) + "\n")


def _save_weights(model: keras.Model, path: Path) -> None:
    """Save weights whole or not at all."""
    partial = path.with_name("partial.weights.h5")
    model.save_weights(partial)
    os.replace(partial, path)
