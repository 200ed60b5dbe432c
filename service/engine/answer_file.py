"""Pixels in color -> the file of an answer, with all that belongs to the picture: the one place where it is put in."""

import hashlib
from collections.abc import Sized
from typing import Final

from chroma.signature import Stamp
from service.engine.options import Options, check_depth
from service.pictures.answer_formats import OutputFormat
from service.pictures.encode import encode
from service.pictures.header import Header
from service.pictures.levels import Alpha, Rows
from service.pictures.metadata.belongings import NOTHING, Metadata, Note
from service.pictures.metadata.fitting import fit
from service.pictures.metadata.reading import read_metadata
from service.pictures.sink import Sink
from service.version import program_version

UNNOTED: Final = frozenset(
    {"mode", "vividness", "variants", "hints", "regions", "max_side", "depth", "metadata", "note", "tone"}
)
"""Options that a note says in other words, or not: they do not change colors."""


def metadata_of(question: bytes, options: Options, header: Header | None = None) -> Metadata:
    """Return what goes over from a question's file.

    Args:
        question: the file that is colored; empty when there is none.
        options: of the answer.
        header: by which it was decoded.
    """
    if options.metadata == "none":
        return NOTHING
    if header is None:
        return read_metadata(question)
    return read_metadata(question, applied=header.orientation, directory=header.directory)


def make_file(
    rgb: Rows,
    alpha: Alpha,
    output_format: OutputFormat,
    options: Options,
    stamp: Stamp,
    *,
    metadata: Metadata = NOTHING,
    variant: int = 1,
    has_reference: bool = False,
    workers: int = 1,
    into: Sink | None = None,
) -> bytes:
    """Return the file of an answer; the same arguments give the same bytes.

    Args:
        rgb: sRGB, uint8 or uint16, shape (H, W, 3).
        alpha: opacity, dtype of rgb, shape (H, W), or None.
        output_format: of the file.
        options: how it was colored.
        stamp: of the model.
        metadata: what goes over, from `metadata_of`.
        variant: which version of the picture it is.
        has_reference: whether it follows the palette of another photograph.
        workers: threads that may work on it.
        into: takes the file instead, see `encode`.

    Raises:
        UnfitFormat: the format cannot hold a picture of this size, or of the depth that is asked for.
    """
    check_depth(options, output_format)
    note = note_of(options, stamp, variant=variant, has_reference=has_reference) if options.note else None
    fitted = fit(metadata, (rgb.shape[1], rgb.shape[0]), output_format, note)
    return encode(rgb, alpha, output_format, workers=workers, metadata=fitted, into=into)


def note_of(options: Options, stamp: Stamp, *, variant: int = 1, has_reference: bool = False) -> Note:
    """Return the note that colors are computed.

    Args:
        options: how.
        stamp: of the model.
        variant: which version of the picture.
        has_reference: whether it follows the palette of another photograph.
    """
    said = [f"model {stamp.run_id}", *said_of(options, variant=variant, has_reference=has_reference)]
    return Note(f"Photochrom {program_version()}", ", ".join(said))


def said_of(options: Options, *, variant: int = 1, has_reference: bool = False) -> list[str]:
    """Return in words how a picture is colored, as a note says it.

    Args:
        options: how.
        variant: which version of the picture.
        has_reference: whether it follows the palette of another photograph.
    """
    said = [f"mode {options.mode}", f"vividness {options.vividness:g}"]
    said += [
        f"{name.replace('_', ' ')} {value}"
        for name, value in vars(options).items()
        if name not in UNNOTED and value != getattr(_DEFAULT, name) and (name != "reference_strength" or has_reference)
    ]
    said += [f"version {variant}"] if variant != 1 else []
    said += [_counted("hints", options.hints)] if options.hints else []
    said += [_counted("regions", options.regions)] if options.regions else []
    said += ["palette of a reference"] if has_reference else []
    return said


def _counted(what: str, given: Sized) -> str:
    """Return how many hints or regions there are, and a name of just these: other ones give another picture."""
    name = hashlib.sha256(repr(given).encode()).hexdigest()[:6]
    return f"{len(given)} {what} ({name})"


_DEFAULT: Final = Options()
