"""A picture in, a color picture out: the pipeline, without HTTP and without files.

Three steps, so that a caller can put each on the thread it belongs to: `prepare` (picture -> L -> what the network
takes), the inference, and `finish` (heads -> ab -> RGB at full size). `colorize` does all three where it is called.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped

from chroma.bins import load_centers
from chroma.compose import Enlargement, compose_u8, compose_u16
from chroma.decoding import Knobs
from chroma.framing import network_size, resize_lightness
from chroma.lab import gray_to_lightness, rgb_to_lightness, rgb_u8_to_lightness
from chroma.modes import MODE_OUTPUTS, Mode, outputs_to_ab
from chroma.signature import SCENE_LOGITS, Stamp
from service.images import Picture
from service.session import Heads, Query, Session

STRIP_PIXELS: Final = 1 << 20
"""Pixels whose L is computed at a time: temporaries stay small beside the picture."""


@dataclass(frozen=True)
class Options:
    """What a caller may choose for one picture.

    Attributes:
        mode: which decode; `annealed` is the default and the best on average.
        vividness: 0 calm to 1 vivid; picks the knobs off the model's own curve.
        temperature: overrides the curve's temperature; >= 1e-3.
        saturation: factor on the curve's gain; >= 0.
        size: inference size, px; None means the model's own.
        enlargement: how ab grows to full size, `bilinear` or `guided`.
    """

    mode: Mode = "annealed"
    vividness: float = 0.5
    temperature: float | None = None
    saturation: float = 1.0
    size: int | None = None
    enlargement: Enlargement = "bilinear"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture on its way through.

    Attributes:
        L: full-size lightness in [0, 100], float32, shape (H, W, 1).
        query: what the network takes.
        is_deep: whether the answer has 16 bits a channel.
        options: the caller's.
    """

    L: Float[np.ndarray, "H W 1"]
    query: Query
    is_deep: bool
    options: Options


@dataclass(frozen=True, eq=False)
class Colored:
    """The answer.

    Attributes:
        rgb: sRGB, uint8 or uint16, shape (H, W, 3).
        scene: name of the scene that the network finds most likely.
    """

    rgb: Shaped[np.ndarray, "H W 3"]
    scene: str


def prepare(picture: Picture, options: Options, stamp: Stamp, *, deep: bool = True) -> Prepared:
    """Turn a picture into its full-size L and what the network takes.

    Args:
        picture: any size from 1 x 1; color is reduced to its lightness.
        options: the caller's.
        stamp: of the model.
        deep: whether a 16-bit picture may give a 16-bit answer.

    Returns:
        The picture on its way.
    """
    L = _lightness(picture)
    shape = network_size(picture.height, picture.width, options.size or stamp.size)
    outputs = (*MODE_OUTPUTS[options.mode], SCENE_LOGITS)
    query = Query(resize_lightness(L, shape), knobs_of(options, stamp), outputs)
    return Prepared(L, query, picture.is_deep and deep, options)


def knobs_of(options: Options, stamp: Stamp) -> Knobs:
    """Return the decode's knobs: those of the model's curve at the vividness, with what the caller overrides."""
    knobs = stamp.vividness_curve.at(options.vividness)
    temperature = knobs.temperature if options.temperature is None else options.temperature
    return Knobs(temperature, knobs.tau, knobs.cap, knobs.gain * options.saturation)


def finish(prepared: Prepared, heads: Heads, stamp: Stamp, *, workers: int = 1) -> Colored:
    """Turn the network's heads into the answer at full size.

    Args:
        prepared: from `prepare`.
        heads: of `prepared.query`.
        stamp: of the model.
        workers: threads that compose strips.

    Returns:
        The picture in color; its L is that of the question.
    """
    ab = outputs_to_ab(heads, prepared.options.mode, centers=load_centers(), gain=prepared.query.knobs.gain)
    compose = compose_u16 if prepared.is_deep else compose_u8
    rgb = compose(prepared.L, ab, enlargement=prepared.options.enlargement, workers=workers)
    return Colored(rgb, stamp.scenes[int(heads[SCENE_LOGITS].argmax())])


def _lightness(picture: Picture) -> Float[np.ndarray, "H W 1"]:
    """Return full-size L, computed in strips of rows."""
    pixels = picture.pixels
    L = np.empty((picture.height, picture.width, 1), np.float32)
    rows = max(STRIP_PIXELS // picture.width, 1)
    for start in range(0, picture.height, rows):
        strip = pixels[start : start + rows]
        if strip.ndim == 2:
            L[start : start + rows] = gray_to_lightness(strip)
        elif strip.dtype == np.uint8:
            L[start : start + rows] = rgb_u8_to_lightness(strip)
        else:
            L[start : start + rows] = rgb_to_lightness(strip.astype(np.float32) / np.float32(65535))
    return L


def colorize(picture: Picture, options: Options, session: Session, *, deep: bool = True, workers: int = 1) -> Colored:
    """Color one picture, all steps on the calling thread.

    Args:
        picture: any size from 1 x 1.
        options: the caller's.
        session: the loaded model.
        deep: whether a 16-bit picture may give a 16-bit answer.
        workers: threads that compose strips.

    Returns:
        The picture in color.
    """
    prepared = prepare(picture, options, session.stamp, deep=deep)
    return finish(prepared, session.run([prepared.query])[0], session.stamp, workers=workers)
