"""Embedded color profiles -> sRGB, in the depth of the pixels."""

from functools import lru_cache
from typing import Any, Final

import imagecodecs
import numpy as np
from jaxtyping import Shaped

from service.pictures.icc import CMYK, GRAY, RGB, Profile, TableProfile, UnfitProfile
from service.pictures.levels import Pixels
from service.pictures.light import Conversion

UNSEEN: Final = {8: 0.5 / 255, 16: 16 / 65535}
"""By depth in bits: a profile that moves no level further, in shares of white, is sRGB's."""

PERCEPTUAL: Final = 0
"""The rendering intent that profiles of pictures are made for (ICC.1:2022, table 23)."""

EXACT: Final = 0x0100
"""cmsFLAGS_NOOPTIMIZE: else lcms tabulates a transform so coarsely that 16-bit levels are off by hundreds."""

KEPT: Final = 16
"""Profiles that are kept as they were understood: an archive has a few."""

MOST_KEPT_BYTES: Final = 1 << 20
"""...none of them longer: those that are made of curves have some thousand bytes."""


def to_srgb(pixels: Pixels, icc_profile: bytes) -> Pixels:
    """Convert from an embedded profile to sRGB; a profile that is broken or does not fit counts as absent.

    Args:
        pixels: gray (H, W) or RGB (H, W, 3), uint8 or uint16.
        icc_profile: of a gray or an RGB device, as the pixels are.

    Returns:
        sRGB of the same shape and dtype; the same array where the profile is sRGB's by its curves and primaries.
    """
    space = GRAY if pixels.ndim == 2 else RGB
    understood = _understand(icc_profile)
    if understood is None:
        return pixels
    if isinstance(understood, bytes):
        return pixels if understood != space else _by_lcms(pixels, icc_profile, "rgb" if space == RGB else "gray")
    conversion, distance = understood
    if conversion.channels != (1 if space == GRAY else 3) or distance <= UNSEEN[8 * pixels.itemsize]:
        return pixels
    return conversion.apply(pixels)


def cmyk_to_srgb(inks: Shaped[np.ndarray, "H W 4"], icc_profile: bytes | None) -> Pixels:
    """Convert CMYK by its profile; without one, or with one that does not fit, by multiplying what each ink lets pass.

    Args:
        inks: cyan, magenta, yellow, black; 0 is none, the highest level all of it; uint8 or uint16.
        icc_profile: of the press.

    Returns:
        sRGB (H, W, 3), dtype of the inks.
    """
    if icc_profile and _understand(icc_profile) == CMYK:
        converted = _by_lcms(inks, icc_profile, "cmyk")
        if converted is not inks:
            return np.asarray(converted)
    top = int(np.iinfo(inks.dtype).max)
    passed: Any = (top - inks).astype(np.uint32 if top > 255 else np.uint16)
    product = passed[..., :3] * passed[..., 3:]
    product += top // 2
    product //= top
    return np.asarray(product, inks.dtype)


def _understand(icc_profile: bytes) -> tuple[Conversion, float] | bytes | None:
    """Return a profile's conversion and how far it is from none; of others the space; None for a broken one."""
    return _kept(icc_profile) if len(icc_profile) <= MOST_KEPT_BYTES else _read(icc_profile)


@lru_cache(KEPT)
def _kept(icc_profile: bytes) -> tuple[Conversion, float] | bytes | None:
    return _read(icc_profile)


def _read(icc_profile: bytes) -> tuple[Conversion, float] | bytes | None:
    try:
        profile = Profile(icc_profile)
        conversion = profile.conversion()
    except TableProfile:
        return profile.space if _is_whole(icc_profile) else None
    except UnfitProfile:
        return None
    return conversion, conversion.distance()


def _is_whole(icc_profile: bytes) -> bool:
    try:
        imagecodecs.cms_profile_validate(icc_profile)
    except Exception:  # lcms has an error of its own for each way in which a profile can be broken.
        return False
    return True


def _by_lcms(pixels: Shaped[np.ndarray, "H W *channels"], icc_profile: bytes, space: str) -> Any:
    """Return sRGB (H, W, 3), or (H, W) for gray; the pixels themselves where lcms does not take the profile."""
    flags = None if pixels.dtype == np.uint8 and space != "gray" else EXACT
    try:
        converted = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels),
            icc_profile,
            imagecodecs.cms_profile("srgb"),
            colorspace=space,
            outcolorspace="rgb",
            intent=PERCEPTUAL,
            flags=flags,
        )
    except Exception:  # As in `_is_whole`.
        return pixels
    return converted[..., 1] if space == "gray" else converted
