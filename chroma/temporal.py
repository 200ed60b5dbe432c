"""What the network says of one frame after the other, averaged over time: color that does not flicker.

The mean of several posteriors is a posterior again, so the average is decoded as that of a photograph is: vividness,
hue guard and all. The average moves with the film (optical flow), and each of its points knows how much it has seen:

    memory m <- min(m, M) * trust;  average <- average + (now - average) / (m + 1);  m <- m + 1

so that the first frames of a scene are a plain mean, later ones an exponential average over about M frames, and a point
whose L is not that of what came before (something appears, a dissolve) trusts it less and starts anew. L itself is
averaged along: it is what a point's L is compared to, which also sees what changes too slowly for any two frames to
differ. At a cut all starts anew; when a flash is over, what was before it goes on.
"""

from dataclasses import dataclass
from enum import Enum
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
NEW_SHARE: Final = 0.2
"""When so much of a frame was not there before, the network is asked at once."""

_CHANNELS: Final = 4  # of one cv2.remap; more come out as garbage in OpenCV 5


class Shot(Enum):
    """What a frame is to the ones before it."""

    BEGINS = "begins"
    GOES_ON = "goes on"
    COMES_BACK = "comes back"


@dataclass(eq=False)
class _State:
    """What is known of one scene; `layers` holds the values, averaged L and the memory, 4 channels each."""

    L: Float[np.ndarray, "H W 1"]
    gridded: Float[np.ndarray, "h w 1"]
    layers: Float[np.ndarray, "groups h w 4"] | None = None


class TemporalAverage:
    """Averages maps of the network's grid over the frames of a film.

    For each frame call `see` first. Then, with what the network says of it, `add`, or nothing: the average was moved to
    where the frame has it. `values` is the average.
    """

    def __init__(self, memory: float, *, grid: int = 4) -> None:
        """Begin with nothing seen.

        Args:
            memory: M, how many additions the average remembers, >= 0; 0 is no average at all.
            grid: px of L for one of the maps.

        Raises:
            ValueError: memory is negative.
        """
        if memory < 0:
            raise ValueError(f"memory must be at least 0, is {memory}")
        self._memory = memory
        self._grid = grid
        self._count = 0
        self._state: _State | None = None
        self._before: _State | None = None
        self._away = 0

    def see(self, L: Float[np.ndarray, "H W 1"]) -> Shot:
        """Move on to the next frame.

        Args:
            L: lightness of the frame as the network gets it, shape (H, W, 1), sides multiples of the grid.

        Returns:
            Whether the scene goes on. When it begins, there is no average until something is added.
        """
        H, W = L.shape[:2]
        seen = _State(L, resize_lightness(np.ascontiguousarray(L, np.float32), (H // self._grid, W // self._grid)))
        self._away += 1
        state, before = self._state, self._before
        if state is not None and self._follow(state, seen):
            self._state = seen
            return Shot.GOES_ON
        self._state = seen
        if before is not None and self._away <= FLASH_FRAMES and self._follow(before, seen):
            self._before = None
            return Shot.COMES_BACK
        if before is None or self._away > FLASH_FRAMES:
            # The first of two strange frames does not push out the scene that may come back.
            self._before, self._away = state, 0
        return Shot.BEGINS

    @property
    def values(self) -> Float[np.ndarray, "h w C"]:
        """The average where the frame has it, float32, shape (h, w, C)."""
        return _from_layers(self._layers)[..., : self._count]

    @property
    def lightness(self) -> Float[np.ndarray, "h w 1"]:
        """The L that was averaged along, [0, 100], shape (h, w, 1)."""
        group, channel = divmod(self._count, _CHANNELS)
        return self._layers[group, ..., channel : channel + 1]

    @property
    def _layers(self) -> Float[np.ndarray, "groups h w 4"]:
        if self._state is None or self._state.layers is None:
            raise ValueError("nothing was added in this scene")
        return self._state.layers

    @property
    def unknown(self) -> float:
        """How much of the frame was not there before, [0, 1]; 1 when there is no average."""
        if self._state is None or self._state.layers is None:
            return 1.0
        return float((self._trust(self._state) < 0.5).mean())

    def add(self, values: Float[np.ndarray, "h w C"]) -> None:
        """Add what the network says of the frame.

        Args:
            values: such as a posterior, shape (h, w, C), C the same all along.

        Raises:
            ValueError: no frame was seen, or the maps are not of its grid.
        """
        state = self._state
        if state is None or values.shape[:2] != state.gridded.shape[:2]:
            raise ValueError(f"maps of shape {values.shape} are not of the frame that was seen last")
        self._count = values.shape[-1]
        now = np.concatenate([values, state.gridded], axis=-1, dtype=np.float32)
        if state.layers is None:
            state.layers = _to_layers(np.concatenate([now, np.ones_like(state.gridded)], axis=-1))
            return
        average = _from_layers(state.layers)[..., : self._count + 2]
        memory = np.minimum(average[..., -1], np.float32(self._memory)) * self._trust(state)
        blended = average[..., :-1]
        blended += (now - blended) / (memory[..., None] + 1)
        state.layers = _to_layers(np.concatenate([blended, memory[..., None] + 1], axis=-1))

    def _follow(self, state: _State, seen: _State) -> bool:
        """Move what is known to where the next frame has it; return whether it is the same scene."""
        if state.L.shape != seen.L.shape or is_flat(seen.gridded):
            return False
        flow = backward_flow(state.L, seen.L, seen.gridded.shape[:2])
        at_x, at_y = (np.ascontiguousarray(flow[..., axis] + place) for axis, place in enumerate(_places(flow)))
        if not is_same_scene(_warp(state.gridded, at_x, at_y)[..., None], seen.gridded):
            return False
        if state.layers is not None:
            still = not flow.any()
            seen.layers = state.layers if still else np.stack([_warp(layer, at_x, at_y) for layer in state.layers])
        return True

    def _trust(self, state: _State) -> Float[np.ndarray, "h w"]:
        """Return how far each point's L is what the average expects, [0, 1]."""
        off = np.abs(state.gridded - match_light(self.lightness, state.gridded))[..., 0]
        return np.clip((DOUBT_L - off) / (DOUBT_L - TRUST_L), 0, 1).astype(np.float32)


def _to_layers(values: Float[np.ndarray, "h w C"]) -> Float[np.ndarray, "groups h w 4"]:
    h, w, channels = values.shape
    padded = np.pad(values, ((0, 0), (0, 0), (0, -channels % _CHANNELS)))
    return np.ascontiguousarray(np.moveaxis(padded.reshape(h, w, -1, _CHANNELS), 2, 0))


def _from_layers(layers: Float[np.ndarray, "groups h w 4"]) -> Float[np.ndarray, "h w C"]:
    """Return a copy with the channels last, the empty ones behind them included."""
    return np.moveaxis(layers, 0, 2).reshape(*layers.shape[1:3], -1)


def _places(flow: Float[np.ndarray, "h w 2"]) -> tuple[np.ndarray, np.ndarray]:
    h, w = flow.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    return x, y


def _warp(layer: np.ndarray, at_x: np.ndarray, at_y: np.ndarray) -> np.ndarray:
    return cv2.remap(layer, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
