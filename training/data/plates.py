"""L as an old photograph has it: seen by the plate of its time, exposed and printed by hand, faded and scratched.

The network learns on it to color what people bring; the true colors stay what they are. Every draw comes from the
sample's own generator, so that a batch stays a pure function of recipe, photographs and step.
"""

from typing import Final

import cv2
import numpy as np

from chroma.emulsions import BLUE, EMULSIONS, ORTHO, PAN, plate_lightness

KINDS: Final = {PAN: 0.3, ORTHO: 0.4, BLUE: 0.3}
"""How often a plate is of which kind."""

EXPOSURE_STOPS: Final = 0.5
"""The light is off by up to this factor's power of two, either way."""

GAMMA_STOPS: Final = 0.6
"""So is the exponent of the tone curve: papers that were printed out are soft, developed ones hard."""

FADED: Final = 0.35
"""How often blacks have turned gray or whites have turned dark."""

DARKEST_WHITE: Final = 72.0
"""L that white has faded to, at most..."""

BRIGHTEST_BLACK: Final = 25.0
"""...and black."""

GRAINY: Final = 0.35
"""How often grain can be seen."""

MOST_GRAIN: Final = 3.5
"""Its standard deviation at most, Lab units."""

SOFT: Final = 0.3
"""How often the lens or the sitter was not sharp."""

MOST_BLUR_PX: Final = 1.4

VIGNETTED: Final = 0.3
"""How often the corners are darker than the middle."""

MOST_VIGNETTE: Final = 0.6
"""Share of the light that a corner then lacks, at most."""

DAMAGED: Final = 0.15
"""How often there are scratches and dust."""

MOST_SCRATCHES: Final = 3

MOST_SPECKS: Final = 15

FIRST_SHARE: Final = 0.2
"""A run whose share of plates rises begins with this much of it."""


def share_at(step: int, share: float, rise_steps: int) -> float:
    """Return which share of the samples are plates at a step.

    Args:
        step: of the run, from 0.
        share: once it has risen, [0, 1].
        rise_steps: how many steps it rises; 0 for the same share from the start.
    """
    if not rise_steps:
        return share
    return share * (FIRST_SHARE + (1 - FIRST_SHARE) * min(step / rise_steps, 1.0))


def expose(rgb_u8: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Take a photograph on a plate of a random kind.

    Args:
        rgb_u8: the color photograph, uint8, (H, W, 3).
        rng: source of chance.

    Returns:
        CIE L in [0, 100], float32, (H, W, 1).
    """
    kind = EMULSIONS[str(rng.choice(list(KINDS), p=list(KINDS.values())))]
    mix = kind.mix(rng.random(), rng.random())
    return plate_lightness(rgb_u8, mix, exposure=2.0 ** rng.uniform(-EXPOSURE_STOPS, EXPOSURE_STOPS))


def age(lightness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Print a plate, and let time pass.

    Args:
        lightness: CIE L in [0, 100], float32, (H, W, 1).
        rng: source of chance.

    Returns:
        CIE L in [0, 100], float32, (H, W, 1).
    """
    aged = 100 * np.power(np.clip(lightness / 100, 0, 1), np.float32(2.0 ** rng.uniform(-GAMMA_STOPS, GAMMA_STOPS)))
    if rng.random() < VIGNETTED:
        aged = _vignette(aged, rng.uniform(0.1, MOST_VIGNETTE))
    if rng.random() < SOFT:
        aged = cv2.GaussianBlur(aged, (0, 0), rng.uniform(0.3, MOST_BLUR_PX))[..., None]
    if rng.random() < GRAINY:
        aged = aged + _grain(aged.shape[:2], rng)
    if rng.random() < FADED:
        black, white = rng.uniform(0, BRIGHTEST_BLACK), rng.uniform(DARKEST_WHITE, 100)
        aged = black + aged * np.float32((white - black) / 100)
    if rng.random() < DAMAGED:
        aged = _damage(np.ascontiguousarray(aged, np.float32), rng)
    return np.clip(aged, 0, 100).astype(np.float32)


def _vignette(lightness: np.ndarray, lacking: float) -> np.ndarray:
    height, width = lightness.shape[:2]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    # 1 in the corners; light falls off with the square of the distance from the middle.
    far = (np.square(rows) + np.square(columns)) / 2
    # L goes with the cube root of light, nearly.
    return (lightness * np.cbrt(1 - lacking * far)[..., None]).astype(np.float32)


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise whose grains are one or two pixels wide, Lab units, (H, W, 1)."""
    noise = rng.normal(0, rng.uniform(0.5, MOST_GRAIN), shape).astype(np.float32)
    if rng.random() < 0.5:
        # A blur with this sigma leaves 0.4 of the deviation.
        noise = cv2.GaussianBlur(noise, (0, 0), 0.7) / np.float32(0.4)
    return noise[..., None]


def _damage(lightness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw scratches and dust, each as light or as dark as it happens."""
    height, width = lightness.shape[:2]
    for _ in range(int(rng.integers(MOST_SCRATCHES + 1))):
        start, end = (tuple(int(rng.integers(side)) for side in (width, height)) for _ in range(2))
        cv2.line(lightness, start, end, float(rng.choice([5.0, 95.0])), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(MOST_SPECKS + 1))):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(lightness, center, int(rng.integers(2)), float(rng.choice([5.0, 95.0])), -1)
    return lightness
