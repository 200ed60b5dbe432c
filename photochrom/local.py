"""Photographs colored in this process: a model is opened once, pictures go in and come out as whatever is at hand."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Shaped
from PIL import Image
from pydantic import ValidationError

from chroma.signature import Stamp
from service.engine import colorizer
from service.engine.answer_file import make_file, metadata_of
from service.engine.options import ColorizeQuery, Options
from service.engine.precision import open_session
from service.engine.session import shipped_model
from service.pictures.answer_formats import LOSSLESS, SUFFIXES, OutputFormat
from service.pictures.decode import Picture, decode, prepare_codecs
from service.pictures.levels import Alpha, holds_grays, to_8_bits, to_depth
from service.pictures.probe import probe
from service.settings import MAX_MEGAPIXELS, Device, PrecisionChoice

Source = str | PathLike[str] | bytes | Image.Image | np.ndarray
"""A photograph: the path of a file, its bytes, a Pillow image, or an array (H, W) or (H, W, 3 or 4) of 8 or 16 bits."""

NO_OPTIONS: Final = ("variants", "format", "metadata", "note")
"""Options over HTTP that mean nothing here: one picture comes back, and `save` chooses the rest."""


class Colored:
    """A photograph in color.

    `numpy.asarray` gives its sRGB values, shape (H, W, 3).

    Attributes:
        rgb: sRGB, uint8, or uint16 for a 16-bit photograph, shape (H, W, 3).
        alpha: opacity of the same depth, shape (H, W), or None.
        scene: what the network takes the photograph for.
    """

    def __init__(self, rgb: Shaped[np.ndarray, "H W 3"], alpha: Alpha, scene: str, make: Callable[..., bytes]) -> None:
        self.rgb = rgb
        self.alpha = alpha
        self.scene = scene
        self._make = make

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the sRGB values; what NumPy asks for."""
        return np.array(self.rgb, dtype=dtype, copy=copy)

    def to_bytes(self, output_format: OutputFormat = "png", *, metadata: bool = True, note: bool = True) -> bytes:
        """Return the photograph as a file.

        Args:
            output_format: png or tiff (16 bits stay), jpeg or webp.
            metadata: whether resolution, EXIF, XMP, IPTC and comments go over from a photograph that was a file.
            note: whether the file says that its colors are computed.

        Raises:
            UnfitFormat: the format cannot hold a picture of this size.
        """
        rgb = self.rgb if output_format in LOSSLESS or self.rgb.dtype == np.uint8 else to_8_bits(self.rgb)
        alpha = to_depth(self.alpha, deep=rgb.dtype == np.uint16)
        return self._make(rgb, alpha, output_format, keeps=metadata, note=note)

    def save(self, path: str | PathLike[str], *, metadata: bool = True, note: bool = True) -> None:
        """Write the photograph; the suffix of the path chooses the format.

        Args:
            path: ends with .png, .jpg, .jpeg, .webp, .tif or .tiff; what is there is replaced.
            metadata: see `to_bytes`.
            note: see `to_bytes`.

        Raises:
            ValueError: another suffix.
            UnfitFormat: the format cannot hold a picture of this size.
            OSError: it cannot be written.
        """
        formats: dict[str, OutputFormat] = {suffix: name for name, suffix in SUFFIXES.items()} | {
            ".jpeg": "jpeg",
            ".tiff": "tiff",
        }
        target = Path(path)
        if target.suffix.lower() not in formats:
            raise ValueError(f"{target.name} should end with {', '.join(sorted(formats))}")
        target.write_bytes(self.to_bytes(formats[target.suffix.lower()], metadata=metadata, note=note))

    def to_pillow(self) -> Image.Image:
        """Return the photograph as a Pillow image, 8 bits a channel: RGB, or RGBA where it has opacity."""
        rgb = self.rgb if self.rgb.dtype == np.uint8 else to_8_bits(self.rgb)
        alpha = to_depth(self.alpha, deep=False)
        return Image.fromarray(rgb if alpha is None else np.dstack([rgb, alpha]))

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows."""
        return self.to_bytes("png", metadata=False, note=False)


class Colorizer:
    """A loaded model that colors photographs; may be used by several threads, which take turns."""

    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: Device = "auto",
        threads: int = 0,
        precision: PrecisionChoice = "auto",
        max_megapixels: float = MAX_MEGAPIXELS,
    ) -> None:
        """Load the model.

        Args:
            model: path of an ONNX file that `photochrom-export` wrote; None for the one that comes along.
            device: auto, cpu or cuda.
            threads: for the network; 0 for as many as there are cores.
            precision: of the network: auto, that of the file; float32; bfloat16, which wants OpenVINO and a processor
                that has it; or int8.
            max_megapixels: largest photograph, millions of pixels.

        Raises:
            ModelError: there is no such model, or it is none of ours.
            DeviceError: the device does not work.
            PrecisionError: the precision does not work here.
        """
        prepare_codecs()
        path = shipped_model() if model is None else Path(model)
        self._session = open_session(path, device=device, threads=threads, precision=precision)
        self._max_megapixels = max_megapixels
        self._lock = threading.Lock()

    def __call__(self, picture: Source, *, reference: Source | None = None, **options: Any) -> Colored:
        """Color a photograph.

        Args:
            picture: the photograph; only its lightness counts.
            reference: a color photograph whose palette is followed.
            **options: `look`, `vividness`, `mode`, `saturation`, `temperature`, `size`, `tone`, `enlargement`, `hints`,
                `depth` and `reference_strength`, as over HTTP.

        Returns:
            The photograph in color, at its own size.

        Raises:
            ValueError: an option is unknown or out of range.
            TypeError: the picture is nothing that is known here.
            RequestError: the file is broken, too large, or no picture; see `service.errors`.
            OSError: the file cannot be read.
        """
        asked = _options(options).to_options()
        original = _bytes_of(picture)
        source = self._read(picture, original)
        histogram = None if reference is None else colorizer.histogram_of(self._read(reference, _bytes_of(reference)))
        with self._lock:
            made = colorizer.colorize(
                source,
                asked,
                self._session,
                deep=asked.is_deep("png", asked_deep=source.is_deep),
                workers=self._session.threads,
                reference=histogram,
            )
        make = partial(_make, asked, self._session.stamp, original, histogram is not None)
        return Colored(made.rgb, to_depth(source.alpha, deep=made.rgb.dtype == np.uint16), made.scene, make)

    def _read(self, picture: Source, data: bytes | None) -> Picture:
        if data is not None:
            return decode(data, probe(data, max_megapixels=self._max_megapixels))
        return _from_array(picture)


def _make(
    options: Options,
    stamp: Stamp,
    original: bytes | None,
    has_reference: bool,
    rgb: Shaped[np.ndarray, "H W 3"],
    alpha: Alpha,
    output_format: OutputFormat,
    *,
    keeps: bool,
    note: bool,
) -> bytes:
    """Return a photograph as a file; the depth is that of its pixels."""
    asked = replace(options, depth=None, metadata="keep" if keeps else "none", note=note)
    metadata = metadata_of(original or b"", asked)
    return make_file(rgb, alpha, output_format, asked, stamp, metadata=metadata, has_reference=has_reference)


def _options(given: dict[str, Any]) -> ColorizeQuery:
    for name in NO_OPTIONS:
        if name in given:
            raise ValueError(f"there is no option {name} here")
    try:
        return ColorizeQuery.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _bytes_of(picture: Source) -> bytes | None:
    """Return the bytes of a photograph that is a file."""
    if isinstance(picture, bytes):
        return picture
    return Path(picture).read_bytes() if isinstance(picture, str | PathLike) else None


def _from_array(picture: Any) -> Picture:
    """Return the picture that a Pillow image or an array holds."""
    if isinstance(picture, Image.Image):
        has_alpha = "A" in picture.mode or "transparency" in picture.info
        if not picture.mode.startswith("I;16"):
            picture = picture.convert("RGBA" if has_alpha else "L" if picture.mode in ("1", "L") else "RGB")
        picture = np.asarray(picture)
        picture = picture.astype(np.uint16) if picture.dtype.itemsize == 2 else picture
    if not isinstance(picture, np.ndarray):
        raise TypeError(f"a photograph is a path, bytes, a Pillow image or an array, not {type(picture).__name__}")
    channels = picture.shape[2] if picture.ndim == 3 else 1
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise TypeError(
            f"an array is uint8 or uint16, (H, W) or (H, W, 3 or 4), not {picture.dtype} of shape {picture.shape}"
        )
    if 0 in picture.shape:
        raise ValueError("the picture has no pixels")
    alpha = np.ascontiguousarray(picture[..., 3]) if channels == 4 else None
    pixels = picture[..., 0] if picture.ndim == 3 and channels == 1 else picture[..., :3] if channels > 1 else picture
    if pixels.ndim == 3 and holds_grays(pixels):
        pixels = pixels[..., 0]  # As of a file.
    return Picture(np.ascontiguousarray(pixels), alpha)


@cache
def load(model: str | PathLike[str] | None = None) -> Colorizer:
    """Open a model once; the same path gives the same colorizer again.

    Args:
        model: path of an ONNX file; None for the model that comes along.

    Returns:
        What colors photographs: call it.

    Raises:
        ModelError: there is no such model, or it is none of ours.
    """
    return Colorizer(model)


def colorize(picture: Source, *, reference: Source | None = None, **options: Any) -> Colored:
    """Color a photograph with the model that comes along; see `Colorizer`.

    Args:
        picture: the path of a file, its bytes, a Pillow image, or an array.
        reference: a color photograph whose palette is followed.
        **options: as over HTTP.

    Returns:
        The photograph in color: save it, or take it as an array.
    """
    return load()(picture, reference=reference, **options)
