"""Pictures -> scores: each goes through the network once, and every decoder takes its turn on what it said.

Once more for each old plate that the ways ask for: the network sees what that plate saw, and the answer is composed on
the true L, so that only its color is judged.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import cv2
import keras
import numpy as np

from chroma import signature
from chroma.bins import load_centers
from chroma.compose import compose_u8
from chroma.emulsions import PAN
from chroma.prior import smooth_prior
from training import DataError
from training.judge.confidence import Reliability
from training.judge.judging import Tally, Truth, TruthSums, rarity_table
from training.judge.protocols import LeftOut, Protocol, Sample, samples
from training.judge.ways import CEILING, DEFAULT, DO_NOTHING, MAJORITY, Way
from training.network.losses import label_table
from training.run.metrics import ColorScores
from training.run.prediction import predict_picture
from training.run.run_folder import Run

log = logging.getLogger(__name__)

REFERENCES: Final = (DO_NOTHING, MAJORITY, CEILING)
"""Rows that no network has a part in, but for the size of the grid."""

THREADED_PIXELS: Final = 8_000_000
"""So many pixels are judged at a time; larger pictures get fewer threads, and memory stays bounded."""

Watcher = Callable[[int, int, str], None]


class Bench:
    """Colorizes pictures in several ways; keeps a few numbers of each, and none of the pictures.

    Attributes:
        tallies: scores by way, the reference rows first.
        truths: what ratios divide by.
        posterior: scores of the distributions themselves.
        confidence: of the distributions as they are, and of those of the run's confidence temperature.
        left_out: files that could not be scored.
    """

    def __init__(
        self,
        run: Run,
        model: keras.Model,
        size: int,
        ways: Sequence[Way],
        *,
        light: Sequence[Way] = (),
        prior: np.ndarray | None = None,
        workers: int | None = None,
    ) -> None:
        """Prepare.

        Args:
            run: what trained the network.
            model: the network.
            size: inference size, px.
            ways: how to decode, scored in full.
            light: more ways, without SSIM and delta E.
            prior: of the rebalanced AuC, (Q,); None for the run's.
            workers: threads that decode and score; None for as many as there are cores, 8 at most.
        """
        self.run, self.model, self.size = run, model, size
        self.ways = {way.name: way for way in (*ways, *light)}
        full = (*REFERENCES, *(way.name for way in ways))
        self.tallies = {name: Tally(full=True) for name in full}
        self.tallies |= {way.name: Tally(full=False) for way in light if way.name not in full}
        self.truths, self.true_colors = TruthSums(), Tally()
        self.posterior = color_scores(run)
        self.confidence = Reliability(), Reliability(run.confidence_temperature)
        self.left_out: list[LeftOut] = []
        self.names: list[str] = []
        self._rarity = rarity_table(run.prior if prior is None else prior)
        self._majority = load_centers()[int(run.prior.argmax())][None, None]
        self._workers = workers or min(os.cpu_count() or 1, 8)

    def add(self, sample: Sample) -> dict[str, np.ndarray]:
        """Score a photograph; return every way's answer, sRGB, uint8, (H, W, 3)."""
        truth = Truth.of(sample.rgb_u8, self._rarity, sample.boxes)
        L = np.ascontiguousarray(truth.lab[..., :1])
        heads = predict_picture(self.model, L, self.size)
        seen = {
            plate: heads if plate == PAN else predict_picture(self.model, sample.through(plate), self.size)
            for plate in {way.plate for way in self.ways.values()}
        }
        true_ab = _on_grid(truth.lab, heads[signature.AB_LOGITS].shape[1:3])
        target = np.concatenate([true_ab, np.ones_like(true_ab[..., :1])], axis=-1)
        self.posterior.add(heads, target[None], np.zeros((1, heads[signature.SCENE_LOGITS].shape[1]), np.float32))
        for reliability in self.confidence:
            reliability.add(heads[signature.AB_LOGITS][0], true_ab)
        known = {DO_NOTHING: np.zeros((1, 1, 2), np.float32), MAJORITY: self._majority, CEILING: true_ab}

        def answer(name: str) -> np.ndarray:
            way = self.ways.get(name)
            rgb_u8 = compose_u8(L, known[name] if way is None else way.ab(seen[way.plate])[0])
            self.tallies[name].add(rgb_u8, truth)
            return rgb_u8

        threads = min(self._workers, max(THREADED_PIXELS // sample.rgb_u8[..., 0].size, 1))
        with ThreadPoolExecutor(threads, thread_name_prefix="ways") as pool:
            answers = dict(zip(self.tallies, pool.map(answer, self.tallies), strict=True))
        self.truths.add(truth)
        self.true_colors.count_colors(truth.lab)
        self.names.append(sample.name)
        return answers

    def go_through(
        self, paths: Sequence[Path], protocol: Protocol, watch: Watcher | None = None
    ) -> Iterator[tuple[Sample, dict[str, np.ndarray]]]:
        """Score pictures one by one; what cannot be scored is noted.

        Args:
            paths: of the pictures.
            protocol: how they are looked at.
            watch: told how many are done, how many there are, and the name of the next one.

        Yields:
            Each photograph with every way's answer.

        Raises:
            DataError: none of them can be scored.
        """
        for place, item in enumerate(samples(paths, protocol)):
            if watch is not None:
                watch(place, len(paths), item.name)
            if isinstance(item, LeftOut):
                log.warning("%s is left out: %s", item.name, item.reason)
                self.left_out.append(item)
            else:
                yield item, self.add(item)
        if watch is not None:
            watch(len(paths), len(paths), "")
        if not self.names:
            folder = paths[0].parent if paths else "the folder"
            raise DataError(f"no color photographs in {folder}")

    def rows(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return the rows of some ways."""
        return {name: self.tallies[name].result(self.truths) for name in names}

    def gain(self, place: int) -> float:
        """Return how much PSNR a picture gains over gray at the default setting, dB."""
        default, gray = (self.tallies[name].scores[place]["psnr"] for name in (DEFAULT, DO_NOTHING))
        return default - gray

    def gains(self) -> np.ndarray:
        """Return the gain of every picture, dB."""
        return np.array([self.gain(place) for place in range(len(self.names))])


def color_scores(run: Run) -> ColorScores:
    """Make the sums of a run's posterior scores, with the soft labels that it trains on."""
    centers = load_centers()
    return ColorScores(label_table(run.recipe.loss), centers, smooth_prior(run.prior, centers))


def _on_grid(lab: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the ab of a picture on the heads' grid, area mean, (h, w, 2)."""
    return cv2.resize(np.ascontiguousarray(lab[..., 1:]), (grid[1], grid[0]), interpolation=cv2.INTER_AREA)
