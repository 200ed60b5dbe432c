"""Embedded color profiles -> sRGB."""

import io
from typing import Any, cast

import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageCms

from service.pictures.levels import Pixels, to_8_bits


def to_srgb(pixels: Pixels, icc_profile: bytes) -> Pixels:
    """Convert from an embedded profile to sRGB; a profile that is broken or does not fit counts as absent.

    Deep gray keeps its 16 bits. Deep color comes back with 8, since Pillow converts no more.
    """
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        if "sRGB" in (ImageCms.getProfileDescription(profile) or ""):
            return pixels
        if pixels.ndim == 2:
            return np.asarray(_gray_curve(profile, pixels.dtype)[pixels])
        narrow = pixels if pixels.dtype == np.uint8 else to_8_bits(pixels)
        return np.asarray(_convert(Image.fromarray(narrow), profile))
    except (ImageCms.PyCMSError, OSError):
        return pixels


def _gray_curve(profile: ImageCms.ImageCmsProfile, dtype: np.dtype[Any]) -> Shaped[np.ndarray, "levels"]:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    # Unasked, lcms tabulates a gray curve so coarsely that dark levels are off by 10.
    curve = np.asarray(_convert(ramp, profile, ImageCms.Flags.NOOPTIMIZE))[0, :, 1]
    if dtype == np.uint8:
        return curve
    levels = np.interp(np.arange(65536) / 257, np.arange(256), curve.astype(np.float64) * 257)
    return np.rint(levels).astype(np.uint16)


def cmyk_to_srgb(image: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Convert CMYK by its profile, or without one as Pillow does."""
    if icc_profile:
        try:
            return _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(icc_profile)))
        except (ImageCms.PyCMSError, OSError):
            image.load()
    return image.convert("RGB")


def _convert(
    image: Image.Image, profile: ImageCms.ImageCmsProfile, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    return cast("Image.Image", ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB", flags=flags))
