"""Which answers are there already, whole, and with which options they were made."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.engine.answer_file import said_of
from service.engine.options import Options

PNG_START: Final = b"\x89PNG\r\n\x1a\n"

PNG_END: Final = b"IEND\xaeB`\x82"

JPEG_START: Final = b"\xff\xd8\xff"

JPEG_END: Final = b"\xff\xd9"

SAID: Final = re.compile(rb"colors computed: ([^\"<;\0\r\n]{1,1000})")
"""What answers say in their metadata of how they were made, with the options."""

LOOKED_THROUGH: Final = 1 << 17
"""Bytes at either end of an answer, or of a film's index, in which its metadata lies."""


def is_done(source: Path, target: Path) -> bool:
    """Return whether an answer is there, is whole, and is not older than its picture."""
    try:
        return target.stat().st_mtime_ns >= source.stat().st_mtime_ns and is_whole(target)
    except OSError:
        return False


def is_whole(path: Path) -> bool:
    """Return whether a picture or film has its end; what was cut off by a full disk or a crash has not.

    Args:
        path: of a file; one that is neither PNG nor JPEG nor WebP nor MP4 counts as whole: it is nothing of ours.

    Returns:
        False as well for an empty file.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(12)
        stream.seek(max(0, size - len(PNG_END)))
        end = stream.read()
    if start.startswith(PNG_START):
        return end == PNG_END
    if start.startswith(JPEG_START):
        return end.endswith(JPEG_END)
    if start.startswith(b"RIFF"):
        return len(start) == 12 and int.from_bytes(start[4:8], "little") + 8 <= size
    if start[4:8] == b"ftyp":
        reach, kinds = walk_boxes(path)
        return reach == size and b"moov" in kinds
    return size > 0


def walk_boxes(path: Path) -> tuple[int, set[bytes]]:
    """Look at what an MP4 or QuickTime file is made of.

    Args:
        path: of the file.

    Returns:
        Where its last box says it ends, beyond the file when that is cut off, and the kinds of boxes at the top.

    Raises:
        OSError: it cannot be read.
    """
    boxes = list(_boxes(path))
    return (boxes[-1][2] if boxes else 0), {kind for kind, _, _ in boxes}


def _boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, the begin and the end of each box at the top."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as stream:
        while at + 8 <= size:
            stream.seek(at)
            head = stream.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:  # 0: up to the end, wherever that is; the rest is nonsense.
                yield head[4:8], at, size
                return
            yield head[4:8], at, at + length
            at += length


def _index_of(path: Path) -> tuple[int, int]:
    """Return where the index of an MP4 begins and ends, in which its metadata lies."""
    size = path.stat().st_size
    return next(((at, min(end, size)) for kind, at, end in _boxes(path) if kind == b"moov"), (0, size))


def words_of(options: Options, *, has_reference: bool = False) -> str:
    """Return in words how a picture is colored, as answers say it; the model comes besides.

    Args:
        options: for the colors.
        has_reference: whether the palette of another photograph is followed.
    """
    return ", ".join(said_of(options, variant=options.variants[0], has_reference=has_reference))


def other_options(path: Path, wanted: str) -> str:
    """Return with which options an answer was made, in words, where they are not those wanted now.

    Args:
        path: of the answer.
        wanted: from `words_of`.

    Returns:
        Empty where they are the same, or nobody knows: the answer has no metadata, or is an older one.
    """
    try:
        said = _said(path)
    except OSError:
        return ""
    words = [word for word in said.split(", ") if not word.startswith("model ")]
    return "" if not said or set(words) == set(wanted.split(", ")) else ", ".join(words)


def _said(path: Path) -> str:
    """Return what an answer says of how it was made, with its model; its last word counts."""
    begin, end = 0, path.stat().st_size
    with path.open("rb") as stream:
        if stream.read(8)[4:] == b"ftyp":
            begin, end = _index_of(path)
        stream.seek(begin)
        data = stream.read(min(LOOKED_THROUGH, end - begin))
        stream.seek(max(begin + len(data), end - LOOKED_THROUGH))
        data += stream.read(min(LOOKED_THROUGH, end - stream.tell()))
    found = SAID.findall(data)
    return found[-1].decode(errors="replace") if found else ""
