"""The colors of a film: the network looks where there is something new, and between its looks they follow the film."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from chroma.bins import load_centers
from chroma.decoding import posterior_spread, softmax
from chroma.framing import network_size, resize_lightness
from chroma.looks import look_shift
from chroma.modes import outputs_to_ab
from chroma.signature import AB, AB_DECODED, AB_LOGITS, SPREAD
from chroma.temporal import Keyed, Seen, Shot, TemporalAverage, between
from service.archive.film_file import SELDOM_S, Film, FilmOptions, Shown
from service.engine.colorizer import decode_logits, follow, knobs_of
from service.engine.options import Options
from service.engine.session import Query, Session

if TYPE_CHECKING:
    from av.packet import Packet as _Packet

    Packet = _Packet[Any]

NEW_SHARE: Final = 0.1
"""When so much of a frame was not in the last one that the network looked at, it looks again."""

END_SHARE: Final = 0.02
"""The same for the last frame of a scene, behind which there is none to take the colors of what is new from."""

MOST_HELD: Final = 12
"""So many frames at most wait for the next one that the network looks at: they are in memory."""


class Colored(NamedTuple):
    """A frame and its colors."""

    shown: Shown
    ab: Float[np.ndarray, "h w 2"]
    """In Lab units, at the network's grid, shape (h, w, 2)."""


class FilmColorist:
    """Gives the ab of one frame after the other.

    Attributes:
        inferences: how many frames the network looked at.
        cuts: scenes after the first.
    """

    def __init__(self, session: Session, options: Options, how: FilmOptions, film: Film) -> None:
        """Begin with the first frame.

        Args:
            session: the loaded model.
            options: how to color.
            how: what is chosen for films.
            film: whose frames will come.
        """
        self.inferences = 0
        self.cuts = -1
        self._session = session
        self._mode = options.mode
        self._shift = look_shift(options.look)
        self._knobs = knobs_of(options, session.stamp)
        self._shape = network_size(film.height, film.width, options.size or session.stamp.size)
        self._centers = load_centers()
        self._average = TemporalAverage(how.memory_s * float(film.rate))
        seldom = min(max(round(SELDOM_S * float(film.rate)), 1), MOST_HELD)
        self._every = how.every or (seldom if how.memory_s else 1)
        self._key: Keyed | None = None
        self._since: list[Seen] = []
        self._waiting: list[Packet | Shown] = []

    def color(self, items: "Iterable[Packet | Shown]") -> "Iterator[Packet | Colored]":
        """Color frames; the packets between them stay where they are.

        Args:
            items: what the film holds, in its order.

        Yields:
            The same; up to `FilmOptions.every` frames later, when the network has looked at one behind them.
        """
        for item in items:
            if not isinstance(item, Shown):
                if self._waiting:
                    self._waiting.append(item)
                else:
                    yield item
                continue
            shot = self._average.see(resize_lightness(item.gray.lightness(), self._shape))
            if shot is not Shot.GOES_ON:
                yield from self._end_scene()
                self.cuts += 1 if shot is Shot.BEGINS else -1
            self._waiting.append(item)
            self._since.append(self._average.seen)
            if shot is not Shot.GOES_ON or len(self._since) >= self._every or self._average.unknown > NEW_SHARE:
                yield from self._look_at_last()
        yield from self._end_scene()

    def _look_at_last(self) -> "Iterator[Packet | Colored]":
        """Let the network look at the last frame that waits, and give away all of them."""
        *frames, last = self._since
        self._average.add(self._look(last.L), frames=len(self._since), seen=last)
        values, lightness = last.values, last.lightness
        key = Keyed(self._ab_of(values, lightness), lightness)
        colors = between(self._key, key, frames, last) if self._key is not None else []
        self._key = key
        yield from self._give([*colors, key.ab])

    def _end_scene(self) -> "Iterator[Packet | Colored]":
        """Give away what waits at the end of a scene, and forget its colors."""
        if self._since and self._key is not None:
            if self._since[-1].unknown > END_SHARE:
                yield from self._look_at_last()
            else:
                yield from self._give(between(self._key, None, self._since, None))
        self._key = None

    def _give(self, colors: "list[Float[np.ndarray, 'h w 2']]") -> "Iterator[Packet | Colored]":
        waiting, self._waiting, self._since = self._waiting, [], []
        rest = iter(colors)
        for item in waiting:
            yield Colored(item, next(rest)) if isinstance(item, Shown) else item

    def _look(self, small: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w C"]:
        """Ask the network; return what is averaged: the posterior, and behind it the regressed ab."""
        self.inferences += 1
        heads = self._session.run([Query(small, (AB, AB_LOGITS))])[0]
        return np.concatenate([softmax(heads[AB_LOGITS]), heads[AB]], axis=-1)

    def _ab_of(self, average: Float[np.ndarray, "h w C"], L: Float[np.ndarray, "h w 1"]) -> Float[np.ndarray, "h w 2"]:
        """Decode what was averaged, L as well: light that pumps must not switch the guard of shadows."""
        logits = np.log(np.maximum(average[..., :-2], np.float32(1e-12)))
        moved = logits if self._shift is None else logits + self._shift
        outputs = {AB_LOGITS: moved, AB: average[..., -2:]}
        knobs, stamp = self._knobs, self._session.stamp
        head_gain = stamp.vividness_curve.relative_gain(knobs.gain)
        if self._mode in ("annealed", "fused") or self._shift is not None:
            outputs[AB_DECODED] = decode_logits(moved, L, knobs, stamp)
        if self._mode == "fused":
            outputs[SPREAD] = posterior_spread(moved, self._centers)
        if self._mode in ("regression", "fused") and self._shift is not None:
            outputs[AB] = follow(outputs[AB], outputs[AB_DECODED], decode_logits(logits, L, knobs, stamp), head_gain)
        return outputs_to_ab(outputs, self._mode, centers=self._centers, gain=head_gain)
