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

    Args:
        inputs: files, folders that are searched for pictures, and patterns such as `scans/**/*.tif`.
        out: folder of the answers; what already lies in it is never taken from a folder.
        suffix: of the answers, with the dot.

    Returns:
        Target by source, in order.

    Raises:
        PlanError: an answer would replace a source or another answer, or `out` cannot be a folder of answers.
    """
    if out.exists() and not out.is_dir():
        raise PlanError(f"{out} is a file: --out names a folder")
    places = dict(find_pictures(inputs, out))
    stems = Counter(place.with_suffix("") for place in places.values())
    plan = {
        source: out / (place.with_suffix(suffix) if stems[place.with_suffix("")] == 1 else f"{place}{suffix}")
        for source, place in places.items()
    }
    _refuse_overwriting(plan)
    return plan


def find_pictures(inputs: Iterable[Path], out: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Yield each picture, and its path inside what was named; none twice.

    Args:
        inputs: files, folders and patterns.
        out: folder whose pictures are left out.

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
        for path, place in _pictures_of(given, excluded, prefixed=len(folders) > 1):
            if _entry(path) not in seen:
                seen.add(_entry(path))
                yield path, place


def _pictures_of(given: Path, excluded: Path | None, *, prefixed: bool) -> Iterator[tuple[Path, Path]]:
    if given.is_dir():
        top = given.resolve()
        if excluded and excluded in (top, *top.parents):
            raise PlanError(f"{given} lies in the folder of the answers: name another one with --out")
        for path in _pictures_in(given, excluded):
            place = path.relative_to(given)
            yield path, Path(top.name) / place if prefixed else place
    elif not os.path.lexists(given) and glob.has_magic(str(given)):
        yield from _pictures_like(given, excluded)
    else:
        yield given, Path(given.name)


def _pictures_in(folder: Path, excluded: Path | None) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and _is_picture(path) and not (excluded and excluded in path.resolve().parents):
            yield path


def _pictures_like(pattern: Path, excluded: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield what matches a pattern, with its path behind the part of the pattern that is fixed."""
    fixed = Path(*[part for part in _until_magic(pattern.parts)])
    matches = [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True))]
    for match in matches:
        for path in _pictures_in(match, excluded) if match.is_dir() else [match]:
            if _is_picture(path) and not (excluded and excluded in path.resolve().parents):
                yield path, path.relative_to(fixed)
    if not matches:
        yield pattern, Path(pattern.name)


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


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
    """Return whether a picture file has its end; what was cut off by a full disk or a crash has not.

    Args:
        path: of a file; one that is neither PNG nor JPEG nor WebP counts as whole, since it is nothing of ours.

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
    return size > 0
