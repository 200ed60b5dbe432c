"""What a run keeps on disk: checkpoints to go on from, averaged weights to use, and what its journal tells."""

import io
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import keras

from training import NonFiniteLossError
from training.run import run_folder
from training.run.checkpoint import RunState, not_finite, save_checkpoint
from training.run.history import Row, judged_kl
from training.run.journal import Journal
from training.run.validation import Validator
from training.whole_files import write_whole

Judged = Callable[[], AbstractContextManager[keras.Model]]


class Keeper:
    """Evaluates a run and writes what it keeps.

    Attributes:
        journal: of the run.
    """

    def __init__(
        self,
        folder: Path,
        model: keras.Model,
        judged: Judged,
        validator: Validator,
        journal: Journal,
        best_kl: float,
        origin: Validator | None = None,
    ) -> None:
        """Prepare to keep.

        Args:
            folder: of the run.
            model: the network in training, compiled.
            judged: gives the network with averaged weights for the length of a `with`.
            validator: scores it.
            journal: of the run.
            best_kl: lowest validation KL so far, nats.
            origin: scores it on photographs of other origin, where there are some.
        """
        self.journal = journal
        self._folder, self._model, self._judged = folder, model, judged
        self._validator, self._origin, self._best_kl = validator, origin, best_kl

    def evaluate(self, row: Row) -> Row:
        """Score the averaged weights and keep them.

        Args:
            row: where the run stands: epoch, step, images, minutes.

        Returns:
            The row with the scores; None where nothing was counted.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite; none is kept.
            RunFolderError: the disk refuses.
        """
        started = time.monotonic()
        if (broken := not_finite(self._model)) is not None:
            raise NonFiniteLossError(f"{broken} is not finite at step {row['step']}: the last checkpoint is whole")
        with self._judged() as model:
            scores = self._validator.scores(model)
            if self._origin is not None:
                scores |= {f"origin_{name}": value for name, value in self._origin.scores(model).items()}
            preview = self._validator.preview(model)
            weights = weights_file(model)
            write_whole(self._folder / run_folder.LAST, weights)
            kl = judged_kl(scores)
            better = kl is not None and kl < self._best_kl
            # A run without color in validation, where KL is NaN, still ends with weights.
            if better or not (self._folder / run_folder.BEST).exists():
                write_whole(self._folder / run_folder.BEST, weights)
        if better:
            self._best_kl = kl
        known = {name: round(value, 5) if math.isfinite(value) else None for name, value in scores.items()}
        row = row | {"evaluation_s": round(time.monotonic() - started, 1)} | known
        self.journal.evaluated(row, preview)
        return row

    def save(self, step: int, elapsed_s: float, recipe_digest: str) -> None:
        """Write a checkpoint.

        Args:
            step: steps done.
            elapsed_s: training time so far, s.
            recipe_digest: of the recipe.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite.
            CheckpointError: the disk refuses.
            RunFolderError: the same.
        """
        self.journal.flush()
        save_checkpoint(self._folder, self._model, RunState(step, elapsed_s, recipe_digest, self._best_kl))


def save_weights(model: keras.Model, path: Path) -> None:
    """Save weights whole or not at all.

    Raises:
        RunFolderError: the disk refuses.
    """
    write_whole(path, weights_file(model))


def weights_file(model: keras.Model) -> bytes:
    """Return what a file of weights holds."""
    memory = _Memory()
    model.save_weights(memory)
    return memory.getvalue()


class _Memory(io.BytesIO):
    """A file in memory: HDF5, which cannot write to a full disk, may crash the process some time later."""

    def __str__(self) -> str:
        """Return a name that Keras takes for that of a weights file."""
        return "memory.weights.h5"
