"""What validation says of a network: its scores, and a picture."""

from typing import Any

import keras
import numpy as np

from chroma import signature
from chroma.bins import load_centers
from chroma.prior import smooth_prior
from training.config import Recipe
from training.data.batches import Batch, BatchMaker, stream
from training.data.photographs import Photograph
from training.network.losses import label_table
from training.run.metrics import ColorScores
from training.run.prediction import Decoder, first_curve, predict_heads
from training.run.preview import preview_grid
from training.run.segmentation_scores import SegmentationScores

PREVIEW_PICTURES = 8


class Validator:
    """Scores a network on the validation photographs of a run, the same ones each time.

    Attributes:
        maker: makes the batches; knows which photographs could not be read.
    """

    def __init__(self, recipe: Recipe, maker: BatchMaker, prior: np.ndarray, *, workers: int) -> None:
        """Prepare scores and preview.

        Args:
            recipe: of the run.
            maker: of the validation photographs, without augmentation.
            prior: the run's, raw, (Q,).
            workers: threads that read photographs.
        """
        self.maker = maker
        self._recipe, self._workers = recipe, workers
        self._centers = load_centers()
        self._smoothed = smooth_prior(prior, self._centers)
        self._decoder = Decoder.of_prior(prior, self._centers)
        self._table = label_table(recipe.loss)
        self._samples: Batch | None = None

    def scores(self, model: keras.Model) -> dict[str, float]:
        """Score every validation photograph.

        Args:
            model: with the weights to judge.

        Returns:
            What `training.run.metrics.ColorScores` and, with such a head, `SegmentationScores` give; NaN where nothing
            was counted.
        """
        colors = ColorScores(self._table, self._centers, self._smoothed)
        segmentation = SegmentationScores(self._recipe.model.segmentation_classes)
        for batch in stream(self.maker, 0, self.maker.steps_per_epoch, workers=self._workers):
            heads = predict_heads(model, batch.lightness)
            colors.add(heads, batch.ab, batch.scene)
            if batch.segmentation is not None:
                segmentation.add(heads[signature.SEGMENTATION_LOGITS], batch.segmentation)
        return colors.result() | (segmentation.result() if segmentation.classes else {})

    def preview(self, model: keras.Model) -> np.ndarray:
        """Return a grid of validation pictures, see `training.run.preview.preview_grid`.

        Args:
            model: with the weights to judge.
        """
        if self._samples is None:
            self._samples = _some_samples(self.maker)
        knobs = first_curve(self._recipe.decode).at(0.5)
        return preview_grid(model, self._samples, self._decoder, knobs)


def evenly(photographs: tuple[Photograph, ...], count: int) -> tuple[Photograph, ...]:
    """Return `count` photographs spread over the whole split: shards may be sorted by source."""
    places = np.linspace(0, len(photographs) - 1, min(count, len(photographs))).round().astype(int)
    return tuple(photographs[place] for place in places)


def _some_samples(maker: BatchMaker) -> Batch:
    """Every n-th validation sample, so that the preview shows the same pictures each time."""
    batches = np.linspace(0, maker.steps_per_epoch - 1, PREVIEW_PICTURES).astype(int)
    parts = [maker.batch(int(step)) for step in dict.fromkeys(batches)]
    share = -(-PREVIEW_PICTURES // len(parts))

    def some(arrays: list[Any]) -> Any:
        return np.concatenate([array[:share] for array in arrays])[:PREVIEW_PICTURES]

    return Batch(
        lightness=some([part.lightness for part in parts]),
        ab=some([part.ab for part in parts]),
        scene=some([part.scene for part in parts]),
        keys=tuple(key for part in parts for key in part.keys[:share])[:PREVIEW_PICTURES],
    )
