"""Judge a colored picture: how near to the truth, how colorful, and how much of its color is noise.

Two families. The first compares values: `psnr`, `delta_e_2000`, `ab_error`, `auc`, `colorfulness`.
The second counts what an eye objects to: wrong hues (`false_hue_fraction` and its special cases `false_red_fraction`
and `dark_false_red_fraction`), color that wanders where the light does not (`smooth_variation`, `tvq`), and isolated
spots (`speckle`).

A fraction is a share of pixels in [0, 1], not a percentage. Functions judge one picture; `colorfulness_ratio` and `tvq`
take a set and divide mean by mean, because a mean of ratios is ruled by the few pictures that are almost gray.
"""

import math
from collections.abc import Sequence
from types import MappingProxyType

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, UInt8

from chroma.decoding import RED_BIN_HUES_DEGREES
from chroma.signature import HEAD_STRIDE

RgbU8 = UInt8[np.ndarray, "H W 3"]
Lab = Float[np.ndarray, "H W 3"]
Mask = Bool[np.ndarray, "H W"]

HUE_SECTORS = MappingProxyType(
    {
        "red": RED_BIN_HUES_DEGREES,
        "yellow": (50.0, 115.0),
        "green": (115.0, 190.0),
        "blue": (190.0, 315.0),
        "magenta": (315.0, 340.0),
    }
)
"""CIE Lab hue in degrees, from (included) to (excluded); together they are the whole circle.

Red is the range of the false-red fraction; the others are cut so that each holds the sRGB primary it is named after.
"""

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
AUC_LIMIT = 150
"""Largest ab distance of the accuracy curve (Lab units)."""


def psnr(predicted: RgbU8, truth: RgbU8) -> float:
    """Peak signal-to-noise ratio over all pixels and channels: 10 log10(255^2 / mean squared difference).

    Args:
        predicted: sRGB, uint8, shape (H, W, 3).
        truth: the same shape.

    Returns:
        Decibels; infinite for equal pictures.

    Raises:
        ValueError: the shapes differ, or a picture is empty.

    Example:
        >>> gray = np.full((4, 4, 3), 100, np.uint8)
        >>> round(psnr(gray, gray + 1), 2)
        48.13
    """
    _check_pair(predicted, truth)
    squared = np.square(predicted.astype(np.float32) - truth.astype(np.float32))
    error = float(squared.mean(dtype=np.float64))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ab_error(predicted: Float[np.ndarray, "H W 2"], truth: Float[np.ndarray, "H W 2"]) -> float:
    """Mean distance between two ab maps: mean of sqrt((a - a')^2 + (b - b')^2).

    Args:
        predicted: ab in Lab units, shape (H, W, 2).
        truth: the same shape.

    Returns:
        Lab units, at least 0.

    Raises:
        ValueError: the shapes differ, or a map is empty.

    Example:
        >>> ab_error(np.zeros((2, 2, 2)), np.full((2, 2, 2), [3.0, 4.0]))
        5.0
    """
    return float(_ab_distance(predicted, truth).mean(dtype=np.float64))


def auc(
    predicted: Float[np.ndarray, "H W 2"],
    truth: Float[np.ndarray, "H W 2"],
    *,
    weights: Float[np.ndarray, "H W"] | None = None,
) -> float:
    """Area under the accuracy curve: the share of pixels whose ab error is at most t, averaged over t = 0, 1, ..., 150.

    Args:
        predicted: ab in Lab units, shape (H, W, 2).
        truth: the same shape.
        weights: what each pixel counts, at least 0, shape (H, W); all alike if None. The rebalanced AuC uses one over
            how often the bin of the true color occurs.

    Returns:
        In [0, 1]; 1 for a perfect prediction.

    Raises:
        ValueError: the shapes differ, a map is empty, or the weights are negative or all zero.

    References:
        Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 3.1.

    Example:
        >>> auc(np.zeros((1, 1, 2)), np.full((1, 1, 2), [0.0, 75.5]))  # right at t = 76, ..., 150: 75 of 151
        0.4966887417218543
    """
    distance = _ab_distance(predicted, truth)
    if weights is None:
        weights = np.ones(distance.shape)
    if weights.shape != distance.shape or (weights < 0).any() or not weights.any():
        raise ValueError(f"weights must have shape {distance.shape}, be at least 0 and not all zero")
    thresholds = AUC_LIMIT + 1
    right = thresholds - np.clip(np.ceil(distance), 0, thresholds)  # at how many thresholds each pixel is right
    return float(np.average(right, weights=weights)) / thresholds


def delta_e_2000(
    predicted: Float[np.ndarray, "... 3"], truth: Float[np.ndarray, "... 3"]
) -> Float64[np.ndarray, "..."]:
    """CIEDE2000 color difference of each pixel, with kL = kC = kH = 1.

    Args:
        predicted: CIE Lab, shape (..., 3).
        truth: the same shape.

    Returns:
        Difference, at least 0, about 1 where an eye begins to see it; float64, shape (...).

    Raises:
        ValueError: the shapes differ.

    References:
        Sharma, Wu, Dalal, "The CIEDE2000 Color-Difference Formula: Implementation Notes, Supplementary Test Data, and
        Mathematical Observations", Color Research and Application 30(1), 2005, equations 2 to 22.

    Example:
        >>> round(float(delta_e_2000(np.array([50.0, 2.6772, -79.7751]), np.array([50.0, 0.0, -82.7485]))), 4)
        2.0425
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes differ: {predicted.shape} and {truth.shape}")
    L1, a1, b1 = np.moveaxis(predicted.astype(np.float64), -1, 0)
    L2, a2, b2 = np.moveaxis(truth.astype(np.float64), -1, 0)

    # Stretch a near the gray axis; then chroma and hue.
    mean_C_ab = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    G = 0.5 * (1 - np.sqrt(mean_C_ab**7 / (mean_C_ab**7 + 25.0**7)))
    C1, C2 = np.hypot((1 + G) * a1, b1), np.hypot((1 + G) * a2, b2)
    h1, h2 = _hue(np.stack(((1 + G) * a1, b1), -1)), _hue(np.stack(((1 + G) * a2, b2), -1))

    # Differences and means; the hue takes the short way round the circle.
    colored = C1 * C2 > 0
    delta_h = np.where(colored, h2 - h1, 0)
    across = np.abs(delta_h) > 180 + 1e-9  # opposite hues count as 180 degrees apart, whatever arctan2 rounds them to
    delta_h -= 360 * np.sign(delta_h) * across
    delta_L, delta_C = L2 - L1, C2 - C1
    delta_H = 2 * np.sqrt(C1 * C2) * np.sin(np.radians(delta_h / 2))
    mean_L, mean_C = (L1 + L2) / 2, (C1 + C2) / 2
    sum_h = h1 + h2
    mean_h = np.where(across, sum_h + np.where(sum_h < 360, 360, -360), sum_h) / np.where(colored, 2, 1)

    # Weights of the three differences, and the turn that the blue region needs.
    T = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    S_L = 1 + 0.015 * (mean_L - 50) ** 2 / np.sqrt(20 + (mean_L - 50) ** 2)
    S_C = 1 + 0.045 * mean_C
    S_H = 1 + 0.015 * mean_C * T
    turn = np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2)))
    R_T = -2 * np.sqrt(mean_C**7 / (mean_C**7 + 25.0**7)) * np.sin(turn)
    terms = (delta_L / S_L) ** 2 + (delta_C / S_C) ** 2 + (delta_H / S_H) ** 2 + R_T * (delta_C / S_C) * (delta_H / S_H)
    return np.asarray(np.sqrt(np.maximum(terms, 0)))


def colorfulness(rgb_u8: RgbU8) -> float:
    """How colorful a picture looks: sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    rg = R - G and yb = (R + G) / 2 - B, on the 0..255 scale of sRGB.

    Args:
        rgb_u8: sRGB, uint8, shape (H, W, 3).

    Returns:
        0 for a gray picture; about 15 slightly, 45 quite, 80 and more highly colorful.

    Raises:
        ValueError: the picture is empty or has another shape.

    References:
        Hasler and Suesstrunk, "Measuring Colourfulness in Natural Images", Human Vision and Electronic Imaging, 2003.

    Example:
        >>> colorfulness(np.full((2, 2, 3), [255, 255, 0], np.uint8))  # plain yellow: rg = 0, yb = 255
        76.5
    """
    _check_picture(rgb_u8)
    red, green, blue = np.moveaxis(rgb_u8.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())


def colorfulness_ratio(predicted: Sequence[RgbU8], truth: Sequence[RgbU8]) -> float:
    """How colorful a set is beside its truth: mean colorfulness of the predictions / mean colorfulness of the truth.

    Args:
        predicted: pictures, each sRGB, uint8, (H, W, 3).
        truth: as many.

    Returns:
        1 where both are alike, below 1 for pale predictions.

    Raises:
        ValueError: the sets differ in length, are empty, or all the truth is gray.

    Example:
        >>> half, full = np.full((2, 2, 3), [128, 128, 64], np.uint8), np.full((2, 2, 3), [128, 128, 0], np.uint8)
        >>> colorfulness_ratio([half, full], [full, full])
        0.75
    """
    return _ratio_of_sums([colorfulness(p) for p in predicted], [colorfulness(t) for t in truth])


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
    return float(_false_hue(predicted, truth, sector).mean())


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
    return {sector: false_hue_fraction(predicted, truth, sector) for sector in HUE_SECTORS}


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
    dark = truth[..., 0] < DARK_L
    false_red = _false_hue(predicted, truth, "red")
    return float(false_red[dark].mean()) if dark.any() else 0.0


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
    _check_picture(lab)
    smooth = _smooth(lab[..., 0])
    right, down = _steps(lab[..., 1:])
    return float((np.abs(right) + np.abs(down))[smooth].mean(dtype=np.float64)) / 2 if smooth.any() else 0.0


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
    return _ratio_of_sums([smooth_variation(p) for p in predicted], [smooth_variation(quarter_lab(t)) for t in truth])


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
    _check_picture(lab)
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
    _check_pair(predicted, truth)
    strong = (_chroma(predicted) > SPECKLE_CHROMA).astype(np.uint8)
    count, labels = cv2.connectedComponents(strong, connectivity=8)
    labels = labels.ravel()
    area = np.bincount(labels, minlength=count)
    on_smooth = np.bincount(labels, weights=_smooth(predicted[..., 0]).ravel(), minlength=count)
    unsupported = np.bincount(labels, weights=~_near(_chroma(truth) > TRUE_CHROMA).ravel(), minlength=count)
    is_speckle = (area < SPECKLE_AREA * labels.size) & (2 * on_smooth >= area) & (2 * unsupported >= area)
    is_speckle[0] = False  # label 0 is the background
    return float(area[is_speckle].sum()) / labels.size


def _false_hue(predicted: Lab, truth: Lab, sector: str) -> Mask:
    """True where the predicted color is strong, in the sector, and without support in the truth around."""
    _check_pair(predicted, truth)
    if sector not in HUE_SECTORS:
        raise ValueError(f"unknown hue sector {sector!r}; there are {', '.join(HUE_SECTORS)}")
    claimed = (_chroma(predicted) > STRONG_CHROMA) & _in_sector(predicted, sector)
    supported = _near((_chroma(truth) > TRUE_CHROMA) & _in_sector(truth, sector))
    return claimed & ~supported


def _in_sector(lab: Lab, sector: str) -> Mask:
    start, end = HUE_SECTORS[sector]
    hue = _hue(lab[..., 1:])
    return (hue >= start) & (hue < end) if start < end else (hue >= start) | (hue < end)


def _near(mask: Mask) -> Mask:
    """True where the mask is true somewhere in the window around."""
    window = np.ones((TRUTH_WINDOW_PX, TRUTH_WINDOW_PX), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), window), dtype=bool)


def _chroma(lab: Float[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any"]:
    return np.asarray(np.hypot(lab[..., 1], lab[..., 2]))


def _hue(ab: Float[np.ndarray, "*any 2"]) -> Float[np.ndarray, "*any"]:
    """Hue in degrees, [0, 360); 0 where both are zero."""
    return np.asarray(np.degrees(np.arctan2(ab[..., 1], ab[..., 0])) % 360)


def _smooth(L: Float[np.ndarray, "H W"]) -> Mask:
    right, down = _steps(L[..., None])
    return np.asarray((np.abs(right) < SMOOTH_GRADIENT) & (np.abs(down) < SMOOTH_GRADIENT))[..., 0]


def _steps(values: Float[np.ndarray, "H W C"]) -> tuple[Float[np.ndarray, "H W C"], Float[np.ndarray, "H W C"]]:
    """Difference to the next pixel on the right, and to the one below; 0 at the border."""
    right = np.diff(values, axis=1, append=values[:, -1:])
    down = np.diff(values, axis=0, append=values[-1:])
    return right, down


def _ab_distance(predicted: Float[np.ndarray, "H W 2"], truth: Float[np.ndarray, "H W 2"]) -> Float[np.ndarray, "H W"]:
    _check_pair(predicted, truth, channels=2)
    difference = predicted - truth
    return np.asarray(np.hypot(difference[..., 0], difference[..., 1]))


def _ratio_of_sums(numerators: list[float], denominators: list[float]) -> float:
    if len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} predictions for {len(denominators)} true pictures")
    if sum(denominators) == 0:
        raise ValueError("no true picture has anything to compare with")
    return sum(numerators) / sum(denominators)


def _check_pair(predicted: np.ndarray, truth: np.ndarray, *, channels: int = 3) -> None:
    if predicted.shape != truth.shape:
        raise ValueError(f"shapes differ: {predicted.shape} and {truth.shape}")
    _check_picture(predicted, channels=channels)


def _check_picture(picture: np.ndarray, *, channels: int = 3) -> None:
    if picture.ndim != 3 or picture.shape[-1] != channels or picture.size == 0:
        raise ValueError(f"expected a picture of shape (H, W, {channels}), got {picture.shape}")
