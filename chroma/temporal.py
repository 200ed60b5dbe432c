"""What the network says of some frames of a film, averaged over time and moved along: color that does not flicker.

The mean of several posteriors is a posterior again, so the average is decoded as that of a photograph is: vividness,
hue guard and all. It follows the film (optical flow), and each of its points knows how much it has seen:

    memory m <- min(m, M) * trust;  average <- average + (now - average) / (m + 1);  m <- m + 1

so that the first frames of a scene are a plain mean, later ones an exponential average over about M frames, and a point
whose L is not that of what came before (something appears, a dissolve) trusts it less and starts anew. L itself is
averaged along: it is what a point's L is compared to, which also sees what changes too slowly for any two frames to
differ. At a cut all starts anew; when a flash is over, what was before it goes on.

Between two frames that the network looked at (`between`) a point takes its color from both, by how near they are in
time and by whether it is there at all: what a figure uncovers has the color of the frame behind, where it is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

from chroma.framing import resize_lightness
from chroma.motion import backward_flow, is_flat, is_same_scene, match_light

TRUST_L: Final = 5.0
"""Up to this difference of L a point is the one it was, Lab units..."""
DOUBT_L: Final = 15.0
"""...and from this on it is another one."""
FLASH_FRAMES: Final = 6
"""A scene that comes back within so many frames goes on as if it had not been away."""
OUTSIDE_PX: Final = 1.0
"""What comes from farther beyond the edge than this was not there before, grid px."""
LEAST_TRUST: Final = 1e-3
"""Of two frames which both have not what a point shows, the nearer counts more."""

_CHANNELS: Final = 4  # of one cv2.remap; more come out as garbage in OpenCV 5


class Shot(Enum):
    """What a frame is to the ones before it."""

    BEGINS = "begins"
    GOES_ON = "goes on"
    COMES_BACK = "comes back"


class Seen:
    """One frame, and what is known of it.

    Attributes:
        L: lightness as the network gets it, shape (H, W, 1).
        gridded: the same at the grid of the maps, shape (h, w, 1).
        offset: where each point was in the frame to which something was added last, (x, y), grid px, shape (h, w, 2).
    """

    def __init__(self, L: Float[np.ndarray, "H W 1"], shape: tuple[int, int]) -> None:
        """Begin with nothing known.

        Args:
            L: lightness of the frame, shape (H, W, 1).
            shape: of the grid.
        """
        self.L = np.ascontiguousarray(L, np.float32)
        self.gridded = resize_lightness(self.L, shape)
        self.offset = np.zeros((*shape, 2), np.float32)
        self._layers: Float[np.ndarray, "groups h w 4"] | None = None
        self._count = 0

    @property
    def values(self) -> Float[np.ndarray, "h w C"]:
        """The average where this frame has it, float32, shape (h, w, C).

        Raises:
            ValueError: nothing was added in this scene.
        """
        return self._moved()[..., : self._count]

    @property
    def lightness(self) -> Float[np.ndarray, "h w 1"]:
        """The L that was averaged along, where this frame has it, [0, 100], shape (h, w, 1).

        Raises:
            ValueError: nothing was added in this scene.
        """
        group, channel = divmod(self._count, _CHANNELS)
        return moved(np.ascontiguousarray(self._known[group, ..., channel : channel + 1]), self.offset)

    @property
    def unknown(self) -> float:
        """How much of the frame was not in the one to which something was added last, [0, 1]; 1 when there is none."""
        if self._layers is None:
            return 1.0
        return float((trust(self.gridded, self.lightness, self.offset) < 0.5).mean())

    def add(self, values: Float[np.ndarray, "h w C"], memory: float) -> None:
        """Add what the network says of the frame.

        Args:
            values: such as a posterior, shape (h, w, C), C the same all along.
            memory: M, how many additions the average remembers, >= 0; 0 is no average at all.

        Raises:
            ValueError: the maps are not of the frame's grid.
        """
        if values.shape[:2] != self.gridded.shape[:2]:
            raise ValueError(f"maps of shape {values.shape} are not of the frame that was seen last")
        now = np.concatenate([values, self.gridded], axis=-1, dtype=np.float32)
        if self._layers is None or self._count != values.shape[-1]:
            self._count = values.shape[-1]
            self._layers = _to_layers(np.concatenate([now, np.ones_like(self.gridded)], axis=-1))
            self.offset = np.zeros_like(self.offset)
            return
        known = trust(self.gridded, self.lightness, self.offset)
        average = self._moved()
        seen = (np.minimum(average[..., -1], np.float32(memory)) * known)[..., None]
        blended = average[..., :-1]
        blended += (now - blended) / (seen + 1)
        self._layers = _to_layers(np.concatenate([blended, seen + 1], axis=-1))
        self.offset = np.zeros_like(self.offset)

    def follow(self, before: "Seen") -> bool:
        """Take over what is known of a frame before this one; return whether it is the same scene."""
        if before.L.shape != self.L.shape:
            return False
        if is_flat(self.gridded):  # Nothing can be seen to move, and no two black frames are two scenes.
            if not is_flat(before.gridded) or abs(self.gridded.mean() - before.gridded.mean()) > TRUST_L:
                return False
            flow = np.zeros_like(self.offset)
        else:
            flow = backward_flow(before.L, self.L, self.gridded.shape[:2])
            if not is_same_scene(moved(before.gridded, flow), self.gridded):
                return False
        self.offset = joined(flow, before.offset)
        self._layers, self._count = before._layers, before._count
        return True

    @property
    def _known(self) -> Float[np.ndarray, "groups h w 4"]:
        if self._layers is None:
            raise ValueError("nothing was added in this scene")
        return self._layers

    def _moved(self) -> Float[np.ndarray, "h w C"]:
        """Return a copy of all that is known, moved, the memory as its last channel."""
        layers = np.stack([moved(layer, self.offset) for layer in self._known])
        return np.moveaxis(layers, 0, 2).reshape(*layers.shape[1:3], -1)[..., : self._count + 2]


class TemporalAverage:
    """Averages maps of the network's grid over the frames of a film.

    For each frame call `see` first. Then, with what the network says of it, `add`, or nothing. `values` is the average,
    moved to where the frame has it.
    """

    def __init__(self, memory: float, *, grid: int = 4) -> None:
        """Begin with nothing seen.

        Args:
            memory: M, how many frames the average remembers, >= 0; 0 is no average at all.
            grid: px of L for one of the maps.

        Raises:
            ValueError: memory is negative.
        """
        if memory < 0:
            raise ValueError(f"memory must be at least 0, is {memory}")
        self._memory = memory
        self._grid = grid
        self._seen: Seen | None = None
        self._before: Seen | None = None
        self._away = 0

    def see(self, L: Float[np.ndarray, "H W 1"]) -> Shot:
        """Move on to the next frame.

        Args:
            L: lightness of the frame as the network gets it, shape (H, W, 1), sides multiples of the grid.

        Returns:
            Whether the scene goes on. When it begins, there is no average until something is added.
        """
        seen = Seen(L, (L.shape[0] // self._grid, L.shape[1] // self._grid))
        self._away += 1
        last, before = self._seen, self._before
        self._seen = seen
        if last is not None and seen.follow(last):
            return Shot.GOES_ON
        if before is not None and self._away <= FLASH_FRAMES and seen.follow(before):
            self._before = None
            return Shot.COMES_BACK
        if before is None or self._away > FLASH_FRAMES:
            # The first of two strange frames does not push out the scene that may come back.
            self._before, self._away = last, 0
        return Shot.BEGINS

    @property
    def seen(self) -> Seen:
        """The frame that was seen last.

        Raises:
            ValueError: there is none.
        """
        if self._seen is None:
            raise ValueError("no frame was seen last")
        return self._seen

    @property
    def values(self) -> Float[np.ndarray, "h w C"]:
        """The average where the frame has it, float32, shape (h, w, C)."""
        return self.seen.values

    @property
    def lightness(self) -> Float[np.ndarray, "h w 1"]:
        """The L that was averaged along, [0, 100], shape (h, w, 1)."""
        return self.seen.lightness

    @property
    def unknown(self) -> float:
        """How much of the frame was not there before, [0, 1]; 1 when there is no average."""
        return self.seen.unknown

    def add(self, values: Float[np.ndarray, "h w C"], *, frames: int = 1, seen: Seen | None = None) -> None:
        """Add what the network says of a frame.

        Args:
            values: such as a posterior, shape (h, w, C), C the same all along.
            frames: how many there were since the last addition, at least 1: of few that are far apart fewer are
                remembered, but one at least.
            seen: the frame; None for the one seen last.

        Raises:
            ValueError: no frame was seen, or the maps are not of its grid.
        """
        memory = min(self._memory, max(self._memory / frames, 1.0))
        (seen or self.seen).add(values, memory)


@dataclass(frozen=True, eq=False)
class Keyed:
    """A frame that the network looked at.

    Attributes:
        ab: its colors, at the grid, Lab units, shape (h, w, 2).
        lightness: L at the grid, of what the colors belong to, shape (h, w, 1).
    """

    ab: Float[np.ndarray, "h w 2"]
    lightness: Float[np.ndarray, "h w 1"]


def between(
    first: Keyed, last: Keyed | None, frames: Sequence[Seen], end: Seen | None
) -> "list[Float[np.ndarray, 'h w 2']]":
    """Return the colors of frames of one scene between two that the network looked at.

    Args:
        first: the one before them.
        last: the one behind them; None when the scene ends without.
        frames: in their order, seen one after the other since the first.
        end: `last` as it was seen; None when there is none.

    Returns:
        ab at the grid, Lab units, shape (h, w, 2) each.
    """
    behind: list[Float[np.ndarray, "h w 2"] | None] = [None] * len(frames)
    if last is not None and end is not None:
        after, offset = end, np.zeros_like(end.offset)
        for index in reversed(range(len(frames))):
            flow = backward_flow(after.L, frames[index].L, frames[index].gridded.shape[:2])
            offset = joined(flow, offset)
            behind[index], after = offset, frames[index]
    answers = []
    for index, (frame, there) in enumerate(zip(frames, behind, strict=True)):
        ab = moved(first.ab, frame.offset)
        if last is not None and there is not None:
            share = (index + 1) / (len(frames) + 1)
            known = trust(frame.gridded, moved(first.lightness, frame.offset), frame.offset) + LEAST_TRUST
            coming = trust(frame.gridded, moved(last.lightness, there), there) + LEAST_TRUST
            weight = share * coming / (share * coming + (1 - share) * known)
            ab += weight[..., None] * (moved(last.ab, there) - ab)
        answers.append(ab)
    return answers


def trust(
    now: Float[np.ndarray, "h w 1"], then: Float[np.ndarray, "h w 1"], offset: Float[np.ndarray, "h w 2"]
) -> Float[np.ndarray, "h w"]:
    """Return how far each point is the one it was in another frame.

    Args:
        now: L of the frame, shape (h, w, 1).
        then: L of the other one, moved to where the frame has it, shape (h, w, 1).
        offset: by which it was moved, grid px, shape (h, w, 2).

    Returns:
        [0, 1], float32, shape (h, w); 0 for what lies beyond the other frame's edge.
    """
    off = np.abs(now - match_light(then, now))[..., 0]
    known = np.clip((DOUBT_L - off) / (DOUBT_L - TRUST_L), 0, 1).astype(np.float32)
    for place, side in zip(_places(offset), offset.shape[1::-1], strict=True):
        known[(place < -OUTSIDE_PX) | (place > side - 1 + OUTSIDE_PX)] = 0
    return known


def joined(flow: Float[np.ndarray, "h w 2"], before: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w 2"]:
    """Return offsets into a frame farther away: those to its neighbor, and from there on; all of shape (h, w, 2)."""
    return flow + moved(before, flow) if before.any() else flow


def moved(values: Float[np.ndarray, "h w C"], offset: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w C"]:
    """Return a copy of maps of up to 4 channels, (h, w, C), moved by offsets of shape (h, w, 2), px."""
    if not offset.any():
        return values.copy()
    at_x, at_y = _places(offset)
    found = cv2.remap(values, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found).reshape(values.shape)


def _places(offset: Float[np.ndarray, "h w 2"]) -> tuple[np.ndarray, np.ndarray]:
    y, x = _grid(*offset.shape[:2])
    return x + offset[..., 0], y + offset[..., 1]


@lru_cache(maxsize=2)  # a film has one size
def _grid(h: int, w: int) -> np.ndarray:
    return np.mgrid[:h, :w].astype(np.float32)


def _to_layers(values: Float[np.ndarray, "h w C"]) -> Float[np.ndarray, "groups h w 4"]:
    h, w, channels = values.shape
    padded = np.pad(values, ((0, 0), (0, 0), (0, -channels % _CHANNELS)))
    return np.ascontiguousarray(np.moveaxis(padded.reshape(h, w, -1, _CHANNELS), 2, 0))
