"""The .xmp file beside a picture, in which catalogs keep what they know: copied beside the answer."""

from pathlib import Path
from typing import Final

from service.archive.whole_files import write_whole
from service.pictures.metadata.belongings import MOST_BYTES
from service.pictures.metadata.fitting import turned_sidecar
from service.pictures.metadata.reading import stated_orientation

SUFFIX: Final = ".xmp"


def copy_sidecars(source: Path, target: Path, question: bytes) -> tuple[str, ...]:
    """Copy what lies beside a picture, made true of its upright answer; a file that is there is left as it is.

    Args:
        source: the picture: `photo.xmp` and `photo.jpg.xmp` belong to `photo.jpg`.
        target: the answer.
        question: content of the source.

    Returns:
        What could not be read, in words.

    Raises:
        OSError: a copy cannot be written.
    """
    notes = []
    for beside, copy in (
        (source.with_suffix(SUFFIX), target.with_suffix(SUFFIX)),
        (source.with_name(source.name + SUFFIX), target.with_name(target.name + SUFFIX)),
    ):
        try:
            if not beside.is_file() or copy.exists() or beside.stat().st_size > MOST_BYTES:
                continue
            packet = beside.read_bytes()
        except OSError as error:
            notes.append(f"{beside.name}: {error.strerror}")
            continue
        write_whole(copy, turned_sidecar(packet, stated_orientation(question)))
    return tuple(notes)
