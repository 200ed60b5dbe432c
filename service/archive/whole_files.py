"""Files that appear under their names only when they are whole."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(target: Path, data: bytes) -> None:
    """Write a file that appears under its name only when it is whole.

    Args:
        target: its path; missing folders are made.
        data: its content.

    Raises:
        OSError: it cannot be written; nothing is left behind then.
    """
    with unfinished(target) as path:
        path.write_bytes(data)


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """Give a place to write a file to, and put it under its name when that went well; else nothing is left behind.

    Args:
        target: its path; missing folders are made.

    Yields:
        The path to write to.

    Raises:
        OSError: it cannot be put there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whoever else colors into this folder must not write into the same file: ids of processes are the same in two
    # containers and on two machines.
    path = target.with_name(f".photochrom-{uuid.uuid4().hex}.part")
    try:
        yield path
        path.replace(target)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
