"""A step of training: how many images a second, how long it waits for photographs, and what its targets cost.

The network, losses and optimizer of a recipe take steps on synthetic photographs through the input pipeline of a run:
shards on disk, worker processes, batches made ahead. What counts as waiting is the time between the end of a step and
the moment the next batch is there. The same batches made one after the other, without a model and without workers, say
what would be waited for otherwise.

Targets, in the same run and in turns: one picture of 224 px, from integer ab to what the loss works with. Dense, as the
original system makes them: scikit-learn's ball tree, weights, an array of 313 float32 a pixel. Sparse, ours: a, b and a
weight a pixel, and the same bins and weights, bit for bit, that the loss looks up in a table; and once more with as
many neighbors as the recipe has, which may be more than the original's 5.

    python benchmarks/training_step.py [--rounds 6] [--recipe default] [--output training_step.json]

Exit status 1 unless the model waits at most 5 % of the time, and a picture's targets are made at least 30 times faster
and are at least 60 times smaller than the dense ones. Wants a machine with nothing else to do.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Chooses the backend of Keras, and comes before it.
from benchmarks.soft_encoding_loss import SIDE_PX, load_ab  # noqa: E402, I001 - the project need not be installed
from benchmarks.input_pipeline import write_set  # noqa: E402

import cv2  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from chroma.bins import Q, load_centers  # noqa: E402
from chroma.soft_encoding import SoftEncodingTable, build_table  # noqa: E402
from tests.original_loss import NEIGHBORS, dense_labels, load_finder  # noqa: E402
from training.config import Recipe  # noqa: E402
from training.data.batches import Batch, BatchMaker, count_prior, stream  # noqa: E402
from training.network.losses import compile_model  # noqa: E402
from training.network.model import build_model  # noqa: E402
from training.network.optimization import build_optimizer  # noqa: E402
from training.data.photographs import open_photographs  # noqa: E402
from training.recipes import load_recipe  # noqa: E402
from training.data.sample_workers import shared_workers  # noqa: E402
from training.run.train import seed_everything  # noqa: E402

WORKERS: Final = 2
"""As a run has them."""
STEPS: Final = 4
"""Steps a round."""
MOST_WAITING: Final = 0.05
LEAST_TIME_RATIO: Final = 30.0
LEAST_MEMORY_RATIO: Final = 60.0
TARGET_ROUNDS: Final = 5
"""Of the targets in one of the steps: they are quick."""


def spread(values: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Return the median and the extremes."""
    low, high = round(min(values), digits), round(max(values), digits)
    return {"median": round(statistics.median(values), digits), "spread": [low, high]}


def measure_targets(recipe: Recipe, rounds: int) -> dict[str, Any]:
    """Measure the targets of one picture, dense and sparse, in turns of a batch each.

    Args:
        recipe: says how many bins share a pixel's color.
        rounds: how often.

    Returns:
        Times and bytes of both, and their ratios.
    """
    ab, centers = load_ab()[0], load_centers()
    finder = load_finder(centers)
    table = build_table(centers, k=recipe.loss.neighbors)
    same = build_table(centers, k=NEIGHBORS, ties="ball_tree")

    def dense() -> np.ndarray:
        return dense_labels(ab, finder, Q).astype(np.float32)

    float_ab = ab.astype(np.float32)  # as it comes out of a resize

    def sparse(by: SoftEncodingTable = same) -> np.ndarray:
        weight = np.full((*ab.shape[:-1], 1), 1.0, np.float32)
        target = np.concatenate([float_ab, weight], axis=-1)
        by.encode(target[..., :2])
        return target

    index, weight = same.encode(ab)
    assert np.array_equal(np.take_along_axis(dense(), index, axis=-1), weight.astype(np.float32))
    targets = {"dense": dense(), "sparse": sparse()}
    builders = {"dense": dense, "sparse": sparse, "sparse, as the recipe": lambda: sparse(table)}
    took: dict[str, list[float]] = {name: [] for name in builders}
    for _ in range(rounds):
        for name, build in builders.items():
            took[name].append(_timed(build, recipe.batch_size))
    ratios = {
        name: [theirs / ours for theirs, ours in zip(took["dense"], took[name], strict=True)]
        for name in builders
        if name != "dense"
    }
    size = {name: target.nbytes for name, target in targets.items()}
    return {
        "grid_px": [SIDE_PX, SIDE_PX],
        "neighbors": {"dense": NEIGHBORS, "sparse": NEIGHBORS, "sparse, as the recipe": recipe.loss.neighbors},
        "ms": {name: spread([1000 * value for value in values]) for name, values in took.items()},
        "bytes_a_picture": size,
        "table_bytes": table.index.nbytes + table.weight.nbytes,
        "times_faster": spread(ratios["sparse"], 1),
        "times_faster_as_the_recipe": spread(ratios["sparse, as the recipe"], 1),
        "times_smaller": round(size["dense"] / size["sparse"], 1),
        "bit_equal": True,
    }


def _timed(work: Callable[[], object], times: int) -> float:
    since = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - since) / times


class Training:
    """A run in the making: network, and batches of synthetic photographs."""

    def __init__(self, recipe: Recipe, folder: Path, count: int) -> None:
        """Make the photographs and the network; take a step at each size of the input."""
        seed_everything(recipe)
        photographs = open_photographs(write_set(folder / "photographs", count), scenes=recipe.data.scenes)
        chosen = photographs.split("train", repeat=dict(recipe.data.repeat))
        prior = count_prior(photographs, recipe.data, load_centers(), workers=1)
        keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
        self.model = build_model(recipe.model, scenes=len(photographs.scenes))
        compile_model(self.model, build_optimizer(recipe.optimizer), recipe.loss, prior)
        self.model.optimizer.build(self.model.trainable_variables)
        self.batch_size = recipe.batch_size
        self.maker = BatchMaker(photographs, chosen, recipe.data, batch_size=recipe.batch_size, seed=recipe.seed)
        self.step = 0
        shared_workers(WORKERS)
        self._warm_up(set(recipe.data.crop_sides or (recipe.data.crop_px,)))

    def _warm_up(self, sides: set[int]) -> None:
        """The first step at each size compiles."""
        while sides:
            batch = self.maker.batch(self.step)
            self.step += 1
            side = batch.lightness.shape[1]
            if side in sides:
                sides.remove(side)
                for _ in range(2):
                    self.take(batch)

    def take(self, batch: Batch) -> None:
        """Take one step, as a run does."""
        logs = self.model.train_on_batch(batch.lightness, batch.targets(), return_dict=True)
        assert all(np.isfinite(float(value)) for value in logs.values())

    def measure(self, rounds: int) -> dict[str, Any]:
        """Take steps, a few a round.

        Args:
            rounds: how many.

        Returns:
            Images a second, and the share of time that the model waits.
        """
        start, stop = self.step, self.step + rounds * STEPS
        paces, shares, alone = [], [], []
        all_waited = all_worked = 0.0
        batches = stream(self.maker, start, stop, workers=WORKERS)
        # A run has batches ready when a step ends; the very first ones are made while it starts.
        ahead = [next(batches)]
        for _ in range(rounds):
            waited = worked = 0.0
            for _ in range(STEPS):
                if ahead:
                    batch = ahead.pop()
                else:
                    since = time.perf_counter()
                    batch = next(batches)
                    waited += time.perf_counter() - since
                since = time.perf_counter()
                self.take(batch)
                worked += time.perf_counter() - since
            paces.append(STEPS * self.batch_size / (waited + worked))
            shares.append(waited / (waited + worked))
            all_waited, all_worked = all_waited + waited, all_worked + worked
        batches.close()
        for step in range(start, stop):
            alone.append(_timed(lambda step=step: self.maker.batch(step), 1))
        self.step = stop
        assert not self.maker.refused
        return {
            "steps": stop - start,
            "images_per_s": spread(paces, 1),
            "waiting_share": spread(shares, 4),
            "waiting_share_of_all": round(all_waited / (all_waited + all_worked), 4),
            "making_a_batch_ms": spread([1000 * value for value in alone], 1),
            "input_images_per_s_one_worker": round(self.batch_size / statistics.median(alone), 1),
        }


def main() -> int:
    """Measure, print JSON, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--photographs", type=int, default=512)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    cv2.setNumThreads(1)
    targets = measure_targets(recipe, TARGET_ROUNDS * arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(recipe, Path(folder), arguments.photographs).measure(arguments.rounds)
    result: dict[str, Any] = {
        "recipe": recipe.name,
        "batch_size": recipe.batch_size,
        "input_px": list(recipe.data.crop_sides or (recipe.data.crop_px,)),
        "rounds": arguments.rounds,
        "workers": WORKERS,
        "photographs": arguments.photographs,
        "step": training,
        "targets": targets,
        "wanted": {
            "waiting_share": MOST_WAITING,
            "times_faster": LEAST_TIME_RATIO,
            "times_smaller": LEAST_MEMORY_RATIO,
        },
        "kept": {
            "waiting": training["waiting_share_of_all"] <= MOST_WAITING,
            "time": targets["times_faster"]["median"] >= LEAST_TIME_RATIO,
            "memory": targets["times_smaller"] >= LEAST_MEMORY_RATIO,
        },
    }
    text = json.dumps(result, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text)
    return 0 if all(result["kept"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
