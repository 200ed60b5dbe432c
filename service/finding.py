"""Which pictures are meant by what was named, where each answer goes, and which answers are there already.

Nothing here reads a pixel. Whatever would overwrite a source, or one answer with another, is refused before any work.
"""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""What is taken from a folder or a pattern; a file that is named is taken whatever its suffix."""

FILM_SUFFIXES: Final = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".3gp",
    ".ogv",
    ".mts",
    ".m2ts",
    ".vob",
    ".dv",
    ".mxf",
)
"""What is a film, in folders and when it is named."""
FILM_SUFFIX: Final = ".mp4"
"""What every colored film is."""

PNG_START: Final = b"\x89PNG\r\n\x1a\n"
PNG_END: Final = b"IEND\xaeB`\x82"
JPEG_START: Final = b"\xff\xd8\xff"
JPEG_END: Final = b"\xff\xd9"


class PlanError(Exception):
    """What was named cannot be colored into that folder; the text says what to do."""


def plan_outputs(inputs: Sequence[Path], out: Path, *, suffix: str) -> dict[Path, Path]:
    """Return where each picture's answer goes, by picture.

    A file `a.jpg` gives `out/a.png`, a file `f/b/c.jpg` of a folder `f` gives `out/b/c.png`; of several folders each
    keeps its own name, `out/f/b/c.png`. Where two would give the same name, both keep their old suffix inside:
    `a.jpg.png`, `a.tif.png`.

    A film keeps its name likewise and becomes an MP4.

    Args:
        inputs: files, folders that are searched for pictures and films, and patterns such as `scans/**/*.tif`.
        out: folder of the answers; what already lies in it is never taken from a folder.
        suffix: of the answers to photographs, with the dot.

    Returns:
        Target by source, in order.

    Raises:
        PlanError: an answer would replace a source or another answer, or `out` cannot be a folder of answers.
    """
    if out.exists() and not out.is_dir():
        raise PlanError(f"{out} is a file: --out names a folder")
    places = dict(find_pictures(inputs, out, suffixes=(*SUFFIXES, *FILM_SUFFIXES)))
    endings = {source: FILM_SUFFIX if is_film(source) else suffix for source in places}
    names = Counter(place.with_suffix(endings[source]) for source, place in places.items())
    plan = {}
    for source, place in places.items():
        name = place.with_suffix(endings[source])
        plan[source] = out / (name if names[name] == 1 else f"{place}{endings[source]}")
    _refuse_overwriting(plan)
    return plan


def is_film(path: Path) -> bool:
    """Return whether a file is taken for a film, by its suffix."""
    return path.suffix.lower() in FILM_SUFFIXES


def find_pictures(
    inputs: Iterable[Path], out: Path | None = None, *, suffixes: Sequence[str] = SUFFIXES
) -> Iterator[tuple[Path, Path]]:
    """Yield each picture, and its path inside what was named; none twice.

    Args:
        inputs: files, folders and patterns.
        out: folder whose pictures are left out.
        suffixes: what is taken from folders and patterns.

    Yields:
        The picture and its relative path. A file that is named but not there is yielded too: its turn will tell.

    Raises:
        PlanError: a folder that was named lies in `out`.
    """
    named = list(inputs)
    excluded = out.resolve() if out else None
    folders = {_entry(given) for given in named if given.is_dir()}
    seen = set()
    for given in named:
        for path, place in _pictures_of(given, excluded, suffixes, prefixed=len(folders) > 1):
            if _entry(path) not in seen:
                seen.add(_entry(path))
                yield path, place


def _pictures_of(
    given: Path, excluded: Path | None, suffixes: Sequence[str], *, prefixed: bool
) -> Iterator[tuple[Path, Path]]:
    if given.is_dir():
        top = given.resolve()
        if excluded and excluded in (top, *top.parents):
            raise PlanError(f"{given} lies in the folder of the answers: name another one with --out")
        for path in _pictures_in(given, excluded, suffixes):
            place = path.relative_to(given)
            yield path, Path(top.name) / place if prefixed else place
    elif not os.path.lexists(given) and glob.has_magic(str(given)):
        yield from _pictures_like(given, excluded, suffixes)
    else:
        yield given, Path(given.name)


def _pictures_in(folder: Path, excluded: Path | None, suffixes: Sequence[str]) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and _is_one_of(path, suffixes) and not (excluded and excluded in path.resolve().parents):
            yield path


def _pictures_like(pattern: Path, excluded: Path | None, suffixes: Sequence[str]) -> Iterator[tuple[Path, Path]]:
    """Yield what matches a pattern, with its path behind the part of the pattern that is fixed."""
    fixed = Path(*[part for part in _until_magic(pattern.parts)])
    matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    for match in matches:
        for path in _pictures_in(match, excluded, suffixes) if match.is_dir() else [match]:
            if _is_one_of(path, suffixes) and not (excluded and excluded in path.resolve().parents):
                yield path, path.relative_to(fixed)
    if not matches:
        yield pattern, Path(pattern.name)


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _is_one_of(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _entry(path: Path) -> Path:
    """Return the one name of a directory entry; a link is an entry of its own."""
    return path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name


def _refuse_overwriting(plan: dict[Path, Path]) -> None:
    sources = {source.resolve() for source in plan}
    by_target: dict[Path, Path] = {}
    for source, target in plan.items():
        if target.resolve() in sources:
            raise PlanError(f"the answer to {source} would replace the picture {target}: name another --out")
        if other := by_target.get(_entry(target)):
            raise PlanError(
                f"the answers to {other} and {source} would both be {target}: name the folder that holds both, or "
                "color them one after the other into two folders"
            )
        by_target[_entry(target)] = source


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
    at, kinds, size = 0, set(), path.stat().st_size
    with path.open("rb") as stream:
        while at + 8 <= size:
            stream.seek(at)
            head = stream.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            kinds.add(head[4:8])
            if length < 8:  # 0: up to the end, wherever that is; the rest is nonsense.
                return size, kinds
            at += length
    return at, kinds
