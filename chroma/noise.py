"""What an eye objects to in a colored picture: wrong hues, color that wanders, isolated spots.

Wrong hues are `false_hue_fraction` and its special cases `false_red_fraction`, `false_deep_red_fraction` and
`dark_false_red_fraction`; color that wanders where the light does not is `smooth_variation`, as a ratio `tvr` and
`tvq`; isolated spots are `speckle`.
A fraction is a share of pixels in [0, 1], not a percentage.
"""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from chroma.comparison import check_pair, check_picture, chroma_of, ratio_of_sums
from chroma.hues import HUE_SECTORS, hue_of, in_sector
from chroma.signature import HEAD_STRIDE

Lab = Float[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]

DEEP_RED_HUES = (340.0, 35.0)
"""Hue of the reds that skin hardly has, degrees, as those of `chroma.hues.HUE_SECTORS`."""
STRONG_CHROMA = 25.0
"""A predicted color counts as a statement above this chroma (Lab units)."""
TRUE_CHROMA = 15.0
"""A true pixel supports a hue above this chroma (Lab units): too vivid is not yet false."""
TRUTH_WINDOW_PX = 5
"""Side of the square in which a true pixel supports a predicted one: edges may be off by two pixels."""
SMOOTH_GRADIENT = 2.0
"""L is smooth where it steps by less than this to the next pixel, in both directions (Lab units)."""
DARK_L = 25.0
"""Pixels below this L are shadows."""
SPECKLE_CHROMA = 30.0
"""Chroma above which a small part is a spot (Lab units)."""
SPECKLE_AREA = 0.002
"""A part below this share of the picture is small."""


def false_hue_fraction(predicted: Lab, truth: Lab, sector: str) -> float:
    """Share of pixels with a strong color of one hue sector that the truth does not have near there.

    A pixel counts if its predicted chroma is above 25 and its predicted hue is in the sector, and if no true pixel in
    the 5 x 5 window around it (cut at the border) has chroma above 15 and a hue in the same sector.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.
        sector: a key of `HUE_SECTORS`.

    Returns:
        In [0, 1].

    Raises:
        ValueError: the shapes differ, a picture is empty, or there is no such sector.

    Example:
        >>> leaf, red = np.full((8, 8, 3), [50.0, -30.0, 30.0]), np.full((8, 8, 3), [50.0, 40.0, 20.0])
        >>> false_hue_fraction(red, leaf, "red"), false_hue_fraction(red, red, "red")
        (1.0, 0.0)
    """
    if sector not in HUE_SECTORS:
        raise ValueError(f"unknown hue sector {sector!r}; there are {', '.join(HUE_SECTORS)}")
    return float(false_hues(predicted, truth, (sector,))[sector].mean())


def false_hue_fractions(predicted: Lab, truth: Lab) -> dict[str, float]:
    """`false_hue_fraction` of every sector, by name.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.

    Returns:
        One share in [0, 1] for each key of `HUE_SECTORS`.

    Raises:
        ValueError: the shapes differ or a picture is empty.

    Example:
        >>> sky = np.full((4, 4, 3), [60.0, 0.0, -30.0])
        >>> {name: share for name, share in false_hue_fractions(sky, sky * [1, 0, 0]).items() if share}
        {'blue': 1.0}
    """
    return {sector: float(mask.mean()) for sector, mask in false_hues(predicted, truth).items()}


def false_red_fraction(predicted: Lab, truth: Lab) -> float:
    """Share of pixels that are red by mistake: `false_hue_fraction` of the sector "red", hue in [340, 50) degrees.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.

    Returns:
        In [0, 1].

    Raises:
        ValueError: the shapes differ or a picture is empty.

    Example:
        >>> gray = np.zeros((10, 10, 3))
        >>> noisy = gray.copy()
        >>> noisy[2, :5] = [0.0, 40.0, 10.0]
        >>> false_red_fraction(noisy, gray)
        0.05
    """
    return false_hue_fraction(predicted, truth, "red")


def false_deep_red_fraction(predicted: Lab, truth: Lab) -> float:
    """Share of pixels that are deep red by mistake: as `false_red_fraction`, with hues in [340, 35) degrees throughout.

    Lively skin reaches a hue of 50, so that the false-red fraction rises with every face that is right but for a few
    degrees; this one does not.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.

    Returns:
        In [0, 1].

    Raises:
        ValueError: the shapes differ or a picture is empty.

    Example:
        >>> gray, skin = np.full((4, 4, 3), [60.0, 0.0, 0.0]), np.full((4, 4, 3), [60.0, 20.0, 20.0])
        >>> false_red_fraction(skin, gray), false_deep_red_fraction(skin, gray)
        (1.0, 0.0)
    """
    return float(_false_hues(predicted, truth, {"deep_red": DEEP_RED_HUES})["deep_red"].mean())


def dark_false_red_fraction(predicted: Lab, truth: Lab) -> float:
    """Share of the dark pixels (true L below 25) that are red by mistake, as in `false_red_fraction`.

    Shadows are where class rebalancing shows first.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.

    Returns:
        In [0, 1]; 0 for a picture without dark pixels.

    Raises:
        ValueError: the shapes differ or a picture is empty.

    Example:
        >>> truth = np.zeros((2, 2, 3))
        >>> truth[0, :, 0] = 60.0  # the upper row is bright
        >>> dark_false_red_fraction(truth + [0.0, 40.0, 0.0], truth), dark_false_red_fraction(truth, truth)
        (1.0, 0.0)
    """
    return dark_share(false_hues(predicted, truth, ("red",))["red"], truth)


def dark_share(mask: Mask, truth: Lab) -> float:
    """Share of the dark pixels (true L below 25) where a mask is true.

    Args:
        mask: of pixels, shape (H, W).
        truth: CIE Lab, shape (H, W, 3).

    Returns:
        In [0, 1]; 0 for a picture without dark pixels.
    """
    dark = truth[..., 0] < DARK_L
    return float(mask[dark].mean()) if dark.any() else 0.0


def false_hues(predicted: Lab, truth: Lab, sectors: Sequence[str] = tuple(HUE_SECTORS)) -> dict[str, Mask]:
    """Where a strong color has no support in the truth: the pixels that `false_hue_fraction` counts, by sector.

    Args:
        predicted: CIE Lab, shape (H, W, 3).
        truth: the same shape.
        sectors: keys of `HUE_SECTORS`.

    Returns:
        One mask a sector, shape (H, W).

    Raises:
        ValueError: the shapes differ or a picture is empty.
    """
    return _false_hues(predicted, truth, {sector: HUE_SECTORS[sector] for sector in sectors})


def smooth_variation(lab: Lab) -> float:
    """How much ab varies where L does not: mean absolute step of a and b over the pixels with smooth L.

    A step goes to the next pixel on the right or below (beyond the border: 0). L is smooth where both of its steps are
    smaller than 2. The mean is over those pixels, both directions and both channels.

    Args:
        lab: CIE Lab, shape (H, W, 3).

    Returns:
        Lab units a pixel, at least 0; 0 if L is smooth nowhere.

    Raises:
        ValueError: the picture is empty or has another shape.

    Example:
        >>> flat = np.full((1, 4, 3), [50.0, 0.0, 0.0])
        >>> flat[0, 2:, 1] = 8.0  # one step of 8 in a, over 4 pixels x 2 channels x 2 directions
        >>> smooth_variation(flat)
        0.5
    """
    check_picture(lab)
    smooth = _smooth(lab[..., 0])
    right, down = _steps(lab[..., 1:])
    return float((np.abs(right) + np.abs(down))[smooth].mean(dtype=np.float64)) / 2 if smooth.any() else 0.0


def tvr(predicted: Sequence[Lab], truth: Sequence[Lab]) -> float:
    """Variation against the full-size truth: mean `smooth_variation`, predictions / truth.

    The older measure: a perfect answer on a quarter-size grid reaches about 0.4 of it, as the truth's chroma grain
    counts too. Prefer `tvq`.

    Args:
        predicted: pictures, each CIE Lab, (H, W, 3).
        truth: as many.

    Returns:
        At least 0; 1 where color is as lively as the truth.

    Raises:
        ValueError: the sets differ in length, are empty, or no truth varies.
    """
    return ratio_of_sums([smooth_variation(p) for p in predicted], [smooth_variation(t) for t in truth])


def tvq(predicted: Sequence[Lab], truth: Sequence[Lab]) -> float:
    """Variation against a quarter-size truth: mean `smooth_variation`, predictions / `quarter_lab` of the truth.

    The truth is reduced because a network with quarter-size output cannot, and should not, repeat its chroma grain.

    Args:
        predicted: pictures, each CIE Lab, (H, W, 3).
        truth: as many.

    Returns:
        1 where color is as lively as the truth at that size, below 1 where it is calmer, above 1 where it is blotchy.

    Raises:
        ValueError: the sets differ in length, are empty, or no truth varies.

    Example:
        >>> L, ab = np.full((32, 32, 1), 50.0), np.tile(np.linspace(0.0, 40.0, 32)[:, None, None], (1, 32, 2))
        >>> truth = np.concatenate((L, ab), -1)
        >>> round(tvq([truth * [1, 0.5, 0.5]], [truth]), 2)
        0.55
    """
    return ratio_of_sums([smooth_variation(p) for p in predicted], [smooth_variation(quarter_lab(t)) for t in truth])


def quarter_lab(lab: Lab) -> Float32[np.ndarray, "H W 3"]:
    """Reduce ab to a quarter of the size (area mean) and enlarge it again (bilinear); L stays.

    This is the best that a network with quarter-size output can give.

    Args:
        lab: CIE Lab, shape (H, W, 3).

    Returns:
        The same shape, float32.

    Raises:
        ValueError: the picture is empty or has another shape.

    Example:
        >>> quarter_lab(np.full((6, 5, 3), [40.0, 10.0, -10.0]))[3, 3].tolist()
        [40.0, 10.0, -10.0]
    """
    check_picture(lab)
    H, W = lab.shape[:2]
    L, ab = lab[..., :1].astype(np.float32), np.ascontiguousarray(lab[..., 1:], np.float32)
    small = cv2.resize(ab, (math.ceil(W / HEAD_STRIDE), math.ceil(H / HEAD_STRIDE)), interpolation=cv2.INTER_AREA)
    return np.concatenate((L, cv2.resize(small, (W, H), interpolation=cv2.INTER_LINEAR)), axis=-1)


def speckle(predicted: Lab, truth: Lab) -> float:
    """Share of the picture covered by small spots of strong color that the truth does not have.

    A spot is an 8-connected part of the pixels with predicted chroma above 30 that covers less than 0.2 % of the
    picture. It counts, with all its pixels, if at least half of them lie on smooth L (see `smooth_variation`) and at
    least half of them have no true pixel of chroma above 15 in the 5 x 5 window around them.

    Args:
        predicted: CIE Lab, shape (H, W, 3); its L says what is smooth.
        truth: the same shape.

    Returns:
        In [0, 1].

    Raises:
        ValueError: the shapes differ or a picture is empty.

    Example:
        >>> gray = np.full((100, 100, 3), [50.0, 0.0, 0.0])
        >>> spotted = gray.copy()
        >>> spotted[10:13, 10:13] = [50.0, 0.0, -40.0]
        >>> speckle(spotted, gray), speckle(spotted, spotted)
        (0.0009, 0.0)
    """
    check_pair(predicted, truth)
    strong = (chroma_of(predicted) > SPECKLE_CHROMA).astype(np.uint8)
    count, labels = cv2.connectedComponents(strong, connectivity=8)
    labels = labels.ravel()
    area = np.bincount(labels, minlength=count)
    on_smooth = np.bincount(labels, weights=_smooth(predicted[..., 0]).ravel(), minlength=count)
    unsupported = np.bincount(labels, weights=~_near(chroma_of(truth) > TRUE_CHROMA).ravel(), minlength=count)
    is_speckle = (area < SPECKLE_AREA * labels.size) & (2 * on_smooth >= area) & (2 * unsupported >= area)
    is_speckle[0] = False  # label 0 is the background
    return float(area[is_speckle].sum()) / labels.size


def _false_hues(predicted: Lab, truth: Lab, sectors: Mapping[str, tuple[float, float]]) -> dict[str, Mask]:
    """Where a strong color has no support in the truth, by name of the range of hues."""
    check_pair(predicted, truth)
    strong, true = chroma_of(predicted) > STRONG_CHROMA, chroma_of(truth) > TRUE_CHROMA
    predicted_hue, true_hue = hue_of(predicted[..., 1:]), hue_of(truth[..., 1:])
    masks = {}
    for name, hues in sectors.items():
        claimed = strong & in_sector(predicted_hue, hues)
        masks[name] = claimed & ~_near(true & in_sector(true_hue, hues)) if claimed.any() else claimed
    return masks


def _near(mask: Mask) -> Mask:
    """True where the mask is true somewhere in the window around."""
    window = np.ones((TRUTH_WINDOW_PX, TRUTH_WINDOW_PX), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), window), dtype=bool)


def _smooth(L: Float[np.ndarray, "H W"]) -> Mask:
    right, down = _steps(L[..., None])
    return np.asarray((np.abs(right) < SMOOTH_GRADIENT) & (np.abs(down) < SMOOTH_GRADIENT))[..., 0]


def _steps(values: Float[np.ndarray, "H W C"]) -> tuple[Float[np.ndarray, "H W C"], Float[np.ndarray, "H W C"]]:
    """Difference to the next pixel on the right, and to the one below; 0 at the border."""
    right = np.diff(values, axis=1, append=values[:, -1:])
    down = np.diff(values, axis=0, append=values[-1:])
    return right, down
