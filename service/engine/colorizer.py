"""A picture in, a color picture out: the pipeline, without HTTP and without files.

Three steps, so that a caller can put each on the thread it belongs to: `prepare` (picture -> L -> what the network
takes), the inference, and `finish` (heads -> ab -> RGB at full size). `colorize` does all three where it is called.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Shaped

from chroma import decoding
from chroma.bins import load_centers
from chroma.compose import ComposedRows
from chroma.confidence import confidence_map
from chroma.decoding import Knobs
from chroma.framing import LightnessRows, head_lightness, network_size, resize_lightness, size_within
from chroma.hints import apply_hints
from chroma.looks import look_shift
from chroma.modes import MODE_OUTPUTS, outputs_to_ab
from chroma.palette import ab_histogram, palette_of, reference_logits
from chroma.prior import rebalancing_weights, smooth_prior
from chroma.regions import apply_regions
from chroma.signature import AB, AB_DECODED, AB_LOGITS, SCENE_LOGITS, SPREAD, Stamp
from chroma.strips import each_strip
from chroma.tone import stretch_tones
from chroma.variants import Versions
from chroma.zones import ZONES, zone_bins
from service.engine.kept import KEPT_OUTPUTS, KeptPicture, from_half, to_half
from service.engine.options import Options
from service.engine.session import Heads, Query, Session
from service.pictures.answer_formats import BY_ROWS, OutputFormat
from service.pictures.decode import Picture
from service.pictures.levels import Alpha, Rows, to_rgb_u8
from service.pictures.lightness import Lightness, StoredLightness, store_lightness

DECODE_PIXELS: Final = 512
"""Pixels of the network's grid that are decoded at a time: temporaries stay in a core's cache."""

PIXELS_A_THREAD: Final = 1536
"""Threads for fewer would cost more than they save; at 224 px there are 3,136."""

SAMPLE_SIDE_PX: Final = 256
"""Palettes and histograms are taken from a picture with at most this long side."""

CONFIDENCE_SIDE_PX: Final = 512
"""Longest side of a confidence map."""

CONFIDENCE_SAMPLES: Final = 4096
"""About so many pixels of the network's grid are enough for their mean."""

LARGE_PIXELS: Final = 4_000_000
"""Above, memory counts: an answer is composed and encoded at once, strip by strip."""

LIKELIEST: Final = 5
"""How many scenes are told."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture on its way through.

    Attributes:
        L: full-size lightness in [0, 100], shape (H, W, 1).
        query: what the network takes.
        knobs: of the decode.
        is_deep: whether the answer has 16 bits a channel.
        options: the caller's.
        is_stretched: whether the network sees its tones stretched.
    """

    L: LightnessRows
    query: Query
    knobs: Knobs
    is_deep: bool
    options: Options
    is_stretched: bool


@dataclass(frozen=True, eq=False)
class ColoredPixels:
    """The answer.

    Attributes:
        rows: sRGB, uint8 or uint16, shape (H, W, 3), computed as they are asked for.
        scene: name of the scene that the network finds most likely.
        workers: threads that compute all rows.
    """

    rows: ComposedRows
    scene: str
    workers: int = 1

    def pixels_for(self, output_format: OutputFormat) -> Rows:
        """Return what an encoder takes: a large picture's rows as they are, where it takes a few at a time.

        Whatever else it takes is composed here.
        """
        is_large = self.rows.shape[0] * self.rows.shape[1] > LARGE_PIXELS
        is_composed = "rgb" in vars(self)
        return self.rows if is_large and output_format in BY_ROWS and not is_composed else self.rgb

    @cached_property
    def rgb(self) -> Shaped[np.ndarray, "H W 3"]:
        """All rows."""
        return self.rows.whole(workers=self.workers)


Histogram = Float[np.ndarray, "Q"]
"""Share of each ab bin in a reference photograph, shape (Q,)."""


def prepare(
    picture: Picture,
    options: Options,
    stamp: Stamp,
    *,
    deep: bool | None = None,
    workers: int = 1,
) -> Prepared:
    """Turn a picture into its full-size L and what the network takes.

    Args:
        picture: any size from 1 x 1; color is reduced to its lightness.
        options: the caller's.
        stamp: of the model.
        deep: whether the answer has 16 bits a channel; None where the picture has.
        workers: threads that compute L.

    Returns:
        The picture on its way.
    """
    L = store_lightness(picture.pixels, workers=workers)
    return prepare_lightness(L, options, stamp, deep=picture.is_deep if deep is None else deep, workers=workers)


def prepare_lightness(L: StoredLightness, options: Options, stamp: Stamp, *, deep: bool, workers: int = 1) -> Prepared:
    """Do what `prepare` does, for a picture of which only L is there.

    Args:
        L: of the picture.
        options: the caller's.
        stamp: of the model.
        deep: whether the answer has 16 bits a channel.
        workers: threads that make L small.

    Returns:
        The picture on its way.
    """
    shape = network_size(L.shape[0], L.shape[1], options.size or stamp.size)
    seen, is_stretched = resize_lightness(L, shape, workers=workers), False
    if options.tone == "auto":
        seen, is_stretched = stretch_tones(seen)
    return Prepared(L, Query(seen, KEPT_OUTPUTS), knobs_of(options, stamp), deep, options, is_stretched)


def knobs_of(options: Options, stamp: Stamp) -> Knobs:
    """Return the decode's knobs: those of the model's curve at the vividness, with what the caller overrides."""
    knobs = stamp.vividness_curve.at(options.vividness)
    temperature = knobs.temperature if options.temperature is None else options.temperature
    return Knobs(temperature, knobs.tau, knobs.cap, knobs.gain * options.saturation)


def finish(
    prepared: Prepared,
    heads: Heads,
    stamp: Stamp,
    *,
    workers: int = 1,
    variant: int = 1,
    versions: Versions | None = None,
    reference: Histogram | None = None,
) -> ColoredPixels:
    """Turn the network's heads into the answer at full size.

    Args:
        prepared: from `prepare` or `prepare_kept`.
        heads: of `prepared.query`, through `as_kept`.
        stamp: of the model.
        workers: threads that compose strips.
        variant: which version of the picture, from 1.
        versions: all of them, where more than one is wanted.
        reference: of a photograph whose palette is followed, shape (Q,).

    Returns:
        The picture in color; its L is that of the question.
    """
    ab = _small_ab(prepared, heads, stamp, variant, versions, reference, workers)
    if prepared.options.regions:
        ab = apply_regions(prepared.L[:], ab, from_half(heads[AB_LOGITS]), prepared.options.regions)
    if prepared.options.hints:
        ab = apply_hints(prepared.L[:], ab, prepared.options.hints)
    dtype = np.uint16 if prepared.is_deep else np.uint8
    rows = ComposedRows(prepared.L, ab, dtype, enlargement=prepared.options.enlargement)
    return ColoredPixels(rows, stamp.scenes[int(heads[SCENE_LOGITS].argmax())], workers)


def as_kept(heads: Heads) -> Heads:
    """Return heads with the logits in the 16 bits that kept pictures have, float16.

    Every answer is made from these: a picture just inferred and a kept one give the same bytes.
    """
    return heads | {AB_LOGITS: to_half(heads[AB_LOGITS])}


def versions_of(heads: Heads) -> Versions:
    """Return the versions of a picture, from heads that went through `as_kept`."""
    return Versions(from_half(heads[AB_LOGITS]), load_centers())


def _small_ab(
    prepared: Prepared,
    heads: Heads,
    stamp: Stamp,
    variant: int,
    versions: Versions | None,
    reference: Histogram | None,
    workers: int,
) -> Float[np.ndarray, "h w 2"]:
    """Return ab at the network's own grid."""
    options, knobs, centers = prepared.options, prepared.knobs, load_centers()
    head_gain = stamp.vividness_curve.relative_gain(knobs.gain)
    needed = MODE_OUTPUTS[options.mode]
    logits, L = heads[AB_LOGITS], head_lightness(prepared.query.lightness)
    shift = look_shift(options.look) if reference is None else None
    is_moved = variant != 1 or shift is not None or reference is not None
    moved = from_half(logits) if is_moved else logits
    if variant != 1:
        moved = (versions or versions_of(heads)).logits(variant)
    if reference is not None:
        moved = reference_logits(moved, reference, centers, strength=options.reference_strength)
    elif shift is not None:
        moved = moved + shift
    outputs = {AB_LOGITS: moved, AB: heads[AB]}
    if AB_DECODED in needed or is_moved:
        outputs[AB_DECODED] = decode_logits(moved, L, knobs, stamp, workers=workers)
    if SPREAD in needed:
        outputs[SPREAD] = decoding.posterior_spread(from_half(moved), centers)
    if is_moved and AB in needed:
        before = decode_logits(logits, L, knobs, stamp, workers=workers)
        outputs[AB] = follow(heads[AB], outputs[AB_DECODED], before, head_gain)
    return outputs_to_ab(outputs, options.mode, centers=centers, gain=head_gain)


def follow(
    regressed: Float[np.ndarray, "h w 2"],
    moved: Float[np.ndarray, "h w 2"],
    before: Float[np.ndarray, "h w 2"],
    head_gain: float,
) -> Float[np.ndarray, "h w 2"]:
    """Move the regressed color, of which there is one only, by as much as the posterior's color moves.

    Args:
        regressed: ab of the regression head, Lab units, shape (h, w, 2).
        moved: decoded ab of another posterior than the network's.
        before: decoded ab of the network's.
        head_gain: by which the regressed color is multiplied later.

    Returns:
        ab in Lab units, shape (h, w, 2).
    """
    gain = np.float32(head_gain)
    return regressed + (moved - before) / gain if gain > 0 else regressed  # A small one is 0 in 32 bits.


def decode_logits(
    logits: Float[np.ndarray, "h w Q"],
    lightness: Float[np.ndarray, "h w 1"],
    knobs: Knobs,
    stamp: Stamp,
    *,
    workers: int = 1,
) -> Float[np.ndarray, "h w 2"]:
    """Decode a posterior as the graph of the model does.

    Args:
        logits: over the ab bins, float16 or float32, shape (h, w, Q).
        lightness: L in [0, 100] at the same grid, shape (h, w, 1).
        knobs: of the decode.
        stamp: of the model, whose prior is corrected for.
        workers: threads that decode; with any number the result is the same.

    Returns:
        ab in Lab units, shape (h, w, 2).
    """
    centers, weights = load_centers(), _log_weights(stamp.prior)
    bins = zone_bins(centers, ZONES)
    flat = logits.reshape(-1, logits.shape[-1])
    ab = np.empty((len(flat), 2), np.float32)
    backing = np.empty((len(flat), len(ZONES)), np.float32)

    def fill(start: int, stop: int) -> None:
        ab[start:stop], backing[start:stop] = decoding.mean_and_backing(
            from_half(flat[start:stop]), centers, weights, bins, **asdict(knobs)
        )

    each_strip(fill, len(flat), DECODE_PIXELS, workers=min(workers, max(len(flat) // PIXELS_A_THREAD, 1)))
    return decoding.hue_guard(ab, backing, lightness.reshape(-1, 1)).reshape(*logits.shape[:-1], 2)


@lru_cache(maxsize=4)
def _log_weights(prior: tuple[float, ...]) -> Float[np.ndarray, "Q"]:
    weights = rebalancing_weights(smooth_prior(np.asarray(prior), load_centers()))
    return np.asarray(np.log(weights), np.float32)


def scenes_of(heads: Heads, stamp: Stamp) -> list[tuple[str, float]]:
    """Return the likeliest scenes and their probabilities, at most `LIKELIEST`, the likeliest first."""
    probabilities = decoding.softmax(heads[SCENE_LOGITS])
    order = np.argsort(-probabilities, kind="stable")[:LIKELIEST]
    return [(stamp.scenes[int(index)], float(probabilities[index])) for index in order]


def confidence_of(heads: Heads) -> float:
    """Return the mean confidence of a picture, [0, 1]; of a large map every second, third ... row and column count."""
    logits = heads[AB_LOGITS]
    step = max(int((logits.shape[0] * logits.shape[1] / CONFIDENCE_SAMPLES) ** 0.5), 1)
    return float(confidence_map(from_half(logits[::step, ::step])).mean())


def draw_confidence(heads: Heads, height: int, width: int) -> Shaped[np.ndarray, "h w"]:
    """Draw where the network is sure.

    Args:
        heads: with `ab_logits`.
        height: of the picture, px.
        width: likewise.

    Returns:
        255 where it is sure, 0 where it has no idea; uint8, of the picture's proportions, shape (h, w), longest side
        at most `CONFIDENCE_SIDE_PX`.
    """
    shape = size_within(height, width, CONFIDENCE_SIDE_PX)
    small = confidence_map(from_half(heads[AB_LOGITS])).astype(np.float32)[..., None]
    return np.asarray(np.rint(resize_lightness(small, shape)[..., 0] * 255), np.uint8)


def palette(rgb: Shaped[np.ndarray, "H W 3"]) -> list[tuple[str, float]]:
    """Return the colors that a picture is made of, and the share of each; sRGB, uint8 or uint16, shape (H, W, 3)."""
    return palette_of(_sample(rgb))


def histogram_of(picture: Picture) -> Histogram:
    """Return what a picture is to others that take it as reference; a gray one pulls them to gray."""
    return ab_histogram(_sample(picture.pixels))


def _sample(pixels: Shaped[np.ndarray, "H W *channels"]) -> Shaped[np.ndarray, "h w 3"]:
    height, width = size_within(pixels.shape[0], pixels.shape[1], SAMPLE_SIDE_PX)
    if (height, width) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return to_rgb_u8(pixels)


def prepare_kept(
    kept: KeptPicture, pixels: Lightness, options: Options, stamp: Stamp, *, deep: bool | None = None
) -> Prepared:
    """Take up a kept picture where the network has left it.

    Args:
        kept: the picture.
        pixels: of it.
        options: the caller's; size and tone do not count.
        stamp: of the model.
        deep: whether the answer has 16 bits a channel; None where the picture has.

    Returns:
        The picture on its way to `finish`, no larger than `options.max_side`.
    """
    shape = size_within(pixels.L.shape[0], pixels.L.shape[1], options.max_side)
    L = pixels.L if shape == pixels.L.shape[:2] else resize_lightness(pixels.L, shape)
    is_deep = pixels.is_deep if deep is None else deep
    query = Query(kept.posterior.lightness, ())
    return Prepared(L, query, knobs_of(options, stamp), is_deep, options, kept.is_stretched)


def fit_alpha(alpha: Alpha, shape: tuple[int, int]) -> Alpha:
    """Return opacity of the answer's size, (H, W)."""
    if alpha is None or alpha.shape == shape:
        return alpha
    return np.asarray(cv2.resize(alpha, shape[::-1], interpolation=cv2.INTER_AREA))


def colorize(
    picture: Picture,
    options: Options,
    session: Session,
    *,
    deep: bool | None = None,
    workers: int = 1,
    reference: Histogram | None = None,
) -> ColoredPixels:
    """Color one picture, all steps on the calling thread; of several versions the first that is asked for.

    Args:
        picture: any size from 1 x 1.
        options: the caller's.
        session: the loaded model.
        deep: whether the answer has 16 bits a channel; None where the picture has.
        workers: threads that compute strips.
        reference: of a photograph whose palette is followed, shape (Q,); see `histogram_of`.

    Returns:
        The picture in color.
    """
    return next(colorize_versions(picture, options, session, deep=deep, workers=workers, reference=reference))


def colorize_versions(
    picture: Picture,
    options: Options,
    session: Session,
    *,
    deep: bool | None = None,
    workers: int = 1,
    reference: Histogram | None = None,
) -> Iterator[ColoredPixels]:
    """Color one picture in each version that is asked for, after one inference, on the calling thread.

    Args:
        picture: any size from 1 x 1.
        options: the caller's.
        session: the loaded model.
        deep: whether the answers have 16 bits a channel; None where the picture has.
        workers: threads that compute strips.
        reference: of a photograph whose palette is followed, shape (Q,); see `histogram_of`.

    Yields:
        The picture in color, in the order of `options.variants`.
    """
    stamp = session.stamp
    prepared = prepare(picture, options, stamp, deep=deep, workers=workers)
    heads = as_kept(session.run([prepared.query])[0])
    versions = versions_of(heads) if max(options.variants) > 1 else None
    for variant in options.variants:
        yield finish(prepared, heads, stamp, workers=workers, variant=variant, versions=versions, reference=reference)
