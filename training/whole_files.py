"""Files written whole or not at all: beside the old one, to the disk, then renamed over it.

Whatever kills the process, a reader finds the old file or the new one; what a killed process had half written lies
under a name of its own, and `remove_partial` clears it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from training import RunFolderError

PARTIAL: Final = "partial."
"""What the name of a file in the making starts with; its suffix stays, by which some writers know the format."""


@contextmanager
def whole_file(path: Path, failures: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Give the body a name to write to; afterwards what lies there takes the place of `path`.

    Args:
        path: the file to make or replace.
        failures: what the body's writer raises, besides OSError, when the disk refuses.

    Raises:
        RunFolderError: the disk refuses; the file that was there stays.
    """
    partial = path.with_name(PARTIAL + path.name)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except (OSError, *failures) as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, whole or not at all; one that is there is replaced.

    Raises:
        RunFolderError: the disk refuses; the file that was there stays.
    """
    with whole_file(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def cannot_write(path: Path, error: Exception) -> RunFolderError:
    """Return the error that says what the disk refused, and what to do."""
    reason = str(error).strip().partition("\n")[0]
    return RunFolderError(
        f"cannot write {path}: {reason}. The last checkpoint is whole: fix the disk, and give the same command again"
    )


def remove_partial(folder: Path) -> None:
    """Remove what a killed process had half written, at any depth of a folder that nobody else writes to."""
    for path in folder.rglob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)
