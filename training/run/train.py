"""One run, read top to bottom: photographs and prior, network, resume, steps, how it ended."""

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np

from training import DistributionError, RecipeError
from training.config import Recipe
from training.data.batches import BatchMaker
from training.data.photographs import Photograph, PhotographSet, open_photographs
from training.network.averaging import averaged_weights, copy_averaged
from training.network.losses import compile_model
from training.network.model import build_model
from training.network.optimization import build_optimizer
from training.run import run_folder
from training.run.checkpoint import RunState, from_arrays, read_checkpoint, to_arrays, weights_digest
from training.run.claiming import claim, load_or_count_prior, note_photographs, note_refused, note_start
from training.run.distribution import Team, join, one_device
from training.run.history import Row
from training.run.journal import Journal, Progress, Watcher
from training.run.keeping import Keeper
from training.run.locking import only_process
from training.run.loop import Loop, RunOptions, is_done
from training.run.starting import Start, open_start
from training.run.status import read_status
from training.run.validation import Validator, evenly
from training.whole_files import remove_partial

__all__ = ["Progress", "RunOptions", "train"]

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    options: RunOptions,
    *,
    watch: Watcher | None = None,
    report: Callable[[Row], None] | None = None,
) -> Path:
    """Train a recipe, or go on where a killed run stopped.

    Args:
        recipe: what to train.
        options: where the photographs and the run are.
        watch: told after each step.
        report: told the scores of each evaluation.

    Returns:
        The run folder.

    Raises:
        RecipeError: options that do not fit together.
        TrainingError: see `training`.
    """
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs, steps=None)
    if options.cluster is not None and options.minutes is not None:
        raise RecipeError("a distributed run cannot go by the clock: leave --minutes out, set epochs or steps")
    cv2.setNumThreads(1)
    team = None if options.cluster is None else join(options.cluster, batch_size=recipe.batch_size)
    seed_everything(recipe)
    # Before there is a run folder: a mistyped path leaves nothing behind.
    photographs = open_photographs(options.data, scenes=recipe.data.scenes)
    chosen = photographs.split("train", repeat=dict(recipe.data.repeat))
    judged = _judged(recipe, photographs)
    start = open_start(options.start_from, recipe, photographs.scenes) if options.start_from else None

    writes = team is None or team.index == 0
    with only_process(options.folder) if writes else nullcontext():
        digest, prior = _begin(recipe, options, photographs, team, start)
        share = (0, 1) if team is None else (team.index, team.processes)
        maker = _maker(recipe, photographs, chosen, seed=recipe.seed, share=share)
        model = _build(recipe, len(photographs.scenes), start, maker)
        compile_model(model, build_optimizer(recipe.optimizer), recipe.loss, prior)
        model.optimizer.build(model.trainable_variables)
        state = _resume(options.folder, model, digest, team)

        if is_done(recipe, options, maker, state) and (not writes or read_status(options.folder).state == "finished"):
            return options.folder
        with _keeper(recipe, options, model, state, prior, judged, team) if writes else nullcontext() as keeper:
            try:
                Loop(recipe, options, model, maker, state, keeper).run(watch or _unwatched, report or _unwatched)
            finally:
                if writes:
                    note_refused(options.folder, {k: v for each in (maker, *judged) for k, v in each.refused.items()})
        if writes:
            log.info("weights %s", weights_digest(model))
    return options.folder


def _unwatched(_: object) -> None:
    """Nobody wants to know."""


def _maker(
    recipe: Recipe,
    photographs: PhotographSet,
    chosen: tuple[Photograph, ...],
    *,
    seed: int | None,
    share: tuple[int, int] = (0, 1),
) -> BatchMaker:
    return BatchMaker(
        photographs,
        chosen,
        recipe.data,
        batch_size=recipe.batch_size,
        seed=seed,
        segmentation_classes=recipe.model.segmentation_classes,
        share=share,
    )


def _judged(recipe: Recipe, photographs: PhotographSet) -> list[BatchMaker]:
    """Return the batches that judge the run: of validation, then of photographs of other origin, where there are."""
    chosen = [evenly(photographs.split("val"), recipe.data.validation_pictures)]
    if photographs.has("origin_val"):
        chosen.append(evenly(photographs.split("origin_val"), recipe.data.validation_pictures))
    return [_maker(recipe, photographs, split, seed=None) for split in chosen if split]


@contextmanager
def _keeper(
    recipe: Recipe,
    options: RunOptions,
    model: keras.Model,
    state: RunState,
    prior: np.ndarray,
    judged: Sequence[BatchMaker],
    team: Team | None,
) -> Iterator[Keeper]:
    """Give what evaluates and saves, with the run's journal open."""
    scorer, *origin_scorer = (Validator(recipe, each, prior, workers=options.workers) for each in judged)
    judge = _Judge(recipe, model, judged[0].scenes, team)
    with _journal(options, state, team) as journal:
        yield Keeper(options.folder, model, judge.averaged, scorer, journal, state.best_kl, *origin_scorer)


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


def _begin(
    recipe: Recipe, options: RunOptions, photographs: PhotographSet, team: Team | None, start: Start | None
) -> tuple[str, np.ndarray]:
    """Claim the run folder; return the recipe's hash there, and the raw prior, (Q,)."""
    listed = hashlib.sha256(repr([(photo.key, photo.split) for photo in photographs.photographs]).encode())
    asked = np.frombuffer(recipe.to_json().encode() + listed.digest(), np.uint8)
    digest = ""

    def make() -> dict[str, np.ndarray]:
        nonlocal digest
        remove_partial(options.folder)
        digest = claim(options.folder, recipe)
        note_start(options.folder, start.name if start else "", start.path if start else None)
        note_photographs(options.folder, photographs)
        return {
            "prior": load_or_count_prior(options.folder, photographs, recipe, workers=options.workers),
            "for": asked,
        }

    begun = make() if team is None else team.from_first(make)
    if not np.array_equal(begun["for"], asked):
        raise DistributionError("this process has another recipe or other photographs than process 0")
    return digest, begun["prior"]


def _build(recipe: Recipe, scenes: int, start: Start | None, maker: BatchMaker) -> keras.Model:
    """Build the network, with the weights it starts from."""
    weights = start.load_weights(maker) if start else None
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    model = build_model(recipe.model, scenes=scenes, pretrained=False if start else None)
    if weights is not None:
        model.set_weights(weights)
    return model


def _resume(folder: Path, model: keras.Model, digest: str, team: Team | None) -> RunState:
    """Put the last checkpoint into the model, if there is one; return where the run stands."""

    def read() -> dict[str, np.ndarray]:
        arrays = read_checkpoint(folder, digest)
        if arrays is None:
            # A run that starts over must not keep an earlier start's best weights.
            for name in (run_folder.BEST, run_folder.LAST):
                (folder / name).unlink(missing_ok=True)
            return to_arrays(model, RunState(0, 0.0, digest, math.inf))
        return arrays

    # To assign is for all processes together: process 0 must not do it alone.
    state = from_arrays(model, read() if team is None else team.from_first(read))
    if state.step:
        log.info("going on at step %d", state.step)
    return state


class _Judge:
    """Gives the network that is evaluated."""

    def __init__(self, recipe: Recipe, model: keras.Model, scenes: int, team: Team | None) -> None:
        self._model = model
        self._twin: keras.Model | None = None
        if team is not None:  # evaluation is process 0's alone: on a network that the others have no part in
            with one_device():
                self._twin = build_model(recipe.model, scenes=scenes, pretrained=False)

    @contextmanager
    def averaged(self) -> Iterator[keras.Model]:
        """Give the network with averaged weights."""
        if self._twin is None:
            with averaged_weights(self._model) as model:
                yield model
        else:
            with one_device():
                copy_averaged(self._model, self._twin)
                yield self._twin


@contextmanager
def _journal(options: RunOptions, state: RunState, team: Team | None) -> Iterator[Journal]:
    """Keep the run's journal, and write down how it ended."""
    processes = 1 if team is None else team.processes
    journal = Journal(options.folder, start=state.step, processes=processes, tensorboard=options.tensorboard)
    try:
        yield journal
    except Exception as error:
        journal.end("failed", f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        journal.end("stopped", "Interrupted. The same command goes on from the last checkpoint.")
        raise
    journal.end("finished", journal.too_short(options.minutes))
