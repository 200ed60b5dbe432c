"""The steps of a run: batches in, weights changed, and when to evaluate and to save."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras

from training import NonFiniteLossError
from training.config import Recipe
from training.data.batches import Batch, BatchMaker, stream
from training.network.losses import make_loss_trackers
from training.network.optimization import learning_rate_at
from training.run.checkpoint import RunState, not_finite
from training.run.distribution import Cluster
from training.run.history import Row
from training.run.journal import Progress, Watcher
from training.run.keeping import Keeper

log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S: Final = 120.0

Reporter = Callable[[Row], None]


@dataclass(frozen=True)
class RunOptions:
    """How to run a recipe; nothing here changes what comes out, but for `minutes` and `epochs`.

    Attributes:
        data: folder of photographs.
        folder: run folder, made if missing; a run found there goes on.
        workers: threads that read photographs.
        minutes: let the learning rate fall with elapsed time and stop after that long, whatever the epochs. Not
            bit-reproducible, but right on a machine of unknown speed.
        epochs: overrides the recipe's.
        checkpoint_every_steps: also save a checkpoint after so many steps (besides every two minutes).
        tensorboard: write events for TensorBoard into the run folder.
        start_from: folder of another run, whose best weights this one starts with, or an ONNX file; None for the
            recipe's own start.
        cluster: train on all devices of several processes; None for one device.
    """

    data: Path
    folder: Path
    workers: int = 2
    minutes: float | None = None
    epochs: int | None = None
    checkpoint_every_steps: int | None = None
    tensorboard: bool = True
    start_from: Path | None = None
    cluster: Cluster | None = None


class Loop:
    """The steps of one run."""

    def __init__(
        self,
        recipe: Recipe,
        options: RunOptions,
        model: keras.Model,
        maker: BatchMaker,
        state: RunState,
        keeper: Keeper | None,
    ) -> None:
        """Prepare to go on from a state.

        Args:
            recipe: of the run.
            options: of the run.
            model: compiled, with the weights of the state.
            maker: of the training batches; in a distributed run, of this process's share of them.
            state: where the run stands.
            keeper: evaluates and writes; None for a process of a distributed run that leaves that to another.
        """
        self._recipe, self._options, self._model, self._maker, self._keeper = recipe, options, model, maker, keeper
        self._digest = state.recipe_digest
        self._steps = _total_steps(recipe, maker)
        self._step, self._elapsed_s = state.step, state.elapsed_s
        self._saved_at = self._ready_at = time.monotonic()
        self._steps_here, self._pace_s = 0, 0.0

    def run(self, watch: Watcher, report: Reporter) -> None:
        """Take the steps that are left.

        Args:
            watch: told after each step.
            report: told the scores of each evaluation.

        Raises:
            NonFiniteLossError: a loss or a weight is NaN or infinite.
        """
        batches = stream(self._maker, self._step, self._steps, workers=self._options.workers)
        self._ready_at = time.monotonic()
        try:
            for batch in batches:
                self._train_step(batch, watch)
                if self._keeper is not None:
                    self._keep(self._keeper, report)
                if self._progress() >= 1:
                    break
                self._ready_at = time.monotonic()
        finally:
            batches.close()

    def _train_step(self, batch: Batch, watch: Watcher) -> None:
        learning_rate = learning_rate_at(
            self._recipe.optimizer, self._progress(), self._step / self._maker.steps_per_epoch
        )
        # The variable itself: setting the attribute has Keras look at all that it tracks, at every step.
        self._model.optimizer.learning_rate.assign(learning_rate)
        if not self._steps_here:
            make_loss_trackers(self._model, batch.lightness, batch.targets())
        logs = self._model.train_on_batch(batch.lightness, batch.targets(), return_dict=True)
        losses = {name: float(value) for name, value in logs.items()}
        self._refuse_non_finite(losses)
        # Waiting for photographs counts; evaluation does not.
        took_s = time.monotonic() - self._ready_at
        self._step += 1
        self._steps_here += 1
        self._elapsed_s += took_s
        # The first steps compile and page in; they say nothing of the pace.
        self._pace_s = took_s if self._steps_here < 3 else 0.95 * self._pace_s + 0.05 * took_s
        left_s = (self._steps - self._step) * self._pace_s
        if self._options.minutes is not None:
            left_s = min(left_s, self._options.minutes * 60 - self._elapsed_s)
        images = self._recipe.batch_size
        progress = Progress(
            step=self._step,
            steps=self._steps,
            epoch=self._epoch(),
            images_per_s=images / self._pace_s,
            left_s=max(left_s, 0.0),
            losses=losses,
            learning_rate=learning_rate,
            elapsed_s=self._elapsed_s,
        )
        if self._keeper is not None:
            self._keeper.journal.step(progress, seconds=took_s, images=images)
        watch(progress)

    def _refuse_non_finite(self, losses: dict[str, float]) -> None:
        """Stop at a loss that is no number: its head is named, and the weight that was broken before it, if any."""
        for name, value in sorted(losses.items(), key=lambda item: item[0] == "loss"):
            if not math.isfinite(value):
                broken = not_finite(self._model)
                also = f" ({broken} is not finite either)" if broken else ""
                raise NonFiniteLossError(f"{name} is {value} at step {self._step}{also}: the last checkpoint is whole")

    def _keep(self, keeper: Keeper, report: Reporter) -> None:
        evaluate = self._progress() >= 1 or self._evaluation_is_due()
        if evaluate:
            row = {"epoch": self._epoch(), "step": self._step, "images": self._step * self._recipe.batch_size}
            report(keeper.evaluate(row | {"minutes": round(self._elapsed_s / 60, 2)}))
        if evaluate or self._save_is_due():
            keeper.save(self._step, self._elapsed_s, self._digest)
            self._saved_at = time.monotonic()

    def _epoch(self) -> int:
        """Return the epoch of the last step, from 1."""
        return -(-self._step // self._maker.steps_per_epoch)

    def _progress(self) -> float:
        return _progress(self._step, self._steps, self._elapsed_s, self._options.minutes)

    def _evaluation_is_due(self) -> bool:
        every = self._recipe.evaluate_every or self._maker.steps_per_epoch
        return self._step % every == 0

    def _save_is_due(self) -> bool:
        every = self._options.checkpoint_every_steps
        return bool(every and self._step % every == 0) or time.monotonic() - self._saved_at > CHECKPOINT_EVERY_S


def is_done(recipe: Recipe, options: RunOptions, maker: BatchMaker, state: RunState) -> bool:
    """Whether a run has no steps left.

    Args:
        recipe: of the run.
        options: of the run.
        maker: of the training batches.
        state: where the run stands.
    """
    return _progress(state.step, _total_steps(recipe, maker), state.elapsed_s, options.minutes) >= 1


def _total_steps(recipe: Recipe, maker: BatchMaker) -> int:
    return recipe.steps or maker.steps_per_epoch * recipe.epochs


def _progress(step: int, steps: int, elapsed_s: float, minutes: float | None) -> float:
    """Return how much of a run is done, by steps or by the clock; 1 or more is all."""
    return max(step / steps, 0.0 if minutes is None else elapsed_s / (minutes * 60))
