"""Which pictures are meant by what was named, what else lies there, and where each answer goes.

Nothing here reads a pixel. Whatever would overwrite a source, or one answer with another, is refused before any work.
"""

import errno
import fnmatch
import functools
import glob
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from service.archive.kinds import FILM_SUFFIXES, SUFFIXES, is_film
from service.pictures.size_limits import SizeLimits

FILM_SUFFIX: Final = ".mp4"
"""What every colored film is."""


class PlanError(Exception):
    """What was named cannot be colored into that folder; the text says what to do."""


OnUnlisted = Callable[[Path, Path, OSError], None]
"""Told of a folder that cannot be searched: the folder, its path inside what was named, and why."""


OnOtherFile = Callable[[Path], None]
"""Told of a file in a folder, or one that a pattern matches, that is not taken for a picture."""


def _raise_unlisted(_folder: Path, _place: Path, error: OSError) -> None:
    raise error


def _ignore_other(_path: Path) -> None:
    pass


def plan_outputs(
    inputs: Sequence[Path],
    out: Path,
    *,
    suffix: str,
    on_unlisted: OnUnlisted = _raise_unlisted,
    on_other: OnOtherFile = _ignore_other,
) -> dict[Path, Path]:
    """Return where each picture's answer goes, by picture.

    A file `a.jpg` gives `out/a.png`, a file `f/b/c.jpg` of a folder `f` gives `out/b/c.png`; of several folders each
    keeps its own name, `out/f/b/c.png`. Where two would give the same name, both keep their old suffix inside:
    `a.jpg.png`, `a.tif.png`.

    A film keeps its name likewise and becomes an MP4.

    Args:
        inputs: files, folders that are searched for pictures and films, and patterns such as `scans/**/*.tif`.
        out: folder of the answers; what already lies in it is never taken from a folder.
        suffix: of the answers to photographs, with the dot.
        on_unlisted: told of the folders that cannot be searched; without it they raise.
        on_other: told of the other files.

    Returns:
        Target by source, in order.

    Raises:
        PlanError: an answer would replace a source or another answer, or `out` cannot be a folder of answers.
        OSError: a folder cannot be searched, and there is no `on_unlisted`.
    """
    if out.exists() and not out.is_dir():
        raise PlanError(f"{out} is a file: --out names a folder")
    suffixes = (*SUFFIXES, *FILM_SUFFIXES)
    places = dict(find_pictures(inputs, out, suffixes=suffixes, on_unlisted=on_unlisted, on_other=on_other))
    endings = {source: FILM_SUFFIX if is_film(source) else suffix for source in places}
    names = Counter(place.with_suffix(endings[source]) for source, place in places.items())
    plan = {}
    for source, place in places.items():
        name = place.with_suffix(endings[source])
        plan[source] = out / (name if names[name] == 1 else f"{place}{endings[source]}")
    refuse_overwriting(plan)
    return plan


def find_pictures(
    inputs: Iterable[Path],
    out: Path | None = None,
    *,
    suffixes: Sequence[str] = SUFFIXES,
    on_unlisted: OnUnlisted = _raise_unlisted,
    on_other: OnOtherFile = _ignore_other,
) -> Iterator[tuple[Path, Path]]:
    """Yield each picture, and its path inside what was named; none twice.

    Links to folders are followed, each folder being searched once: a link to one that is searched anyway, for whichever
    of the inputs, gives nothing more, and one back to a folder that it or what was named lies in is left alone.

    Args:
        inputs: files, folders and patterns.
        out: folder whose pictures are left out.
        suffixes: what is taken from folders and patterns.
        on_unlisted: told, once each, of the folders that cannot be searched; without it they raise.
        on_other: told, once each, of the other files, but for hidden ones.

    Yields:
        The picture and its relative path. A file that is named but not there is yielded too, and so is a link to a
        picture that is not there: its turn will tell.

    Raises:
        PlanError: a folder that was named lies in `out`, or a pattern leads out of the folders that it matches.
        OSError: a folder cannot be searched, and there is no `on_unlisted`.
    """
    named = list(inputs)
    names = _Names()
    folders = {names.entry(given) for given in named if os.path.isdir(given)}
    search = _Search(names, suffixes, _real(out) if out else None, on_unlisted)
    chosen: dict[Path, _Found] = {}
    for given in named:
        for found in search.pictures_of(given, prefixed=len(folders) > 1):
            other = chosen.get(found.entry)
            if other is None or (other.is_behind_link and not found.is_behind_link):
                chosen.pop(found.entry, None)  # What is chosen later also comes later.
                chosen[found.entry] = found
    for entry, path in search.others.items():
        if entry not in chosen:
            on_other(path)
    for found in chosen.values():
        yield found.path, found.place


def read_file(path: Path, limits: SizeLimits | None = None) -> bytes:
    """Return what a file holds.

    Args:
        path: of it.
        limits: of a picture; of them that of bytes holds here.

    Raises:
        OSError: it cannot be read, or is no file: a pipe or a device would keep one waiting, or never end.
        UploadTooLarge: it has too many bytes.
    """
    # Not to block is what opening a pipe without a writer takes; reading a file is not changed by it.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        told = os.fstat(stream.fileno())
        if not stat.S_ISREG(told.st_mode):
            raise OSError(errno.EINVAL, "this is no file but a folder, a pipe or a device")
        if limits:
            limits.check_bytes(told.st_size)
        return stream.read()


class _Found(NamedTuple):
    path: Path
    place: Path
    """The path inside what was named."""
    entry: Path
    """The same file has the same, whichever way it was found."""
    is_behind_link: bool
    """Whether it is not where its path says, but where a link on the way leads."""


class _Names:
    """Knows what paths really name. A folder is resolved only once: on a network disk each part is a round trip."""

    def __init__(self) -> None:
        self.folder = functools.cache(_real)

    def entry(self, path: Path) -> Path:
        """Return the one name of a directory entry; a link is an entry of its own."""
        return _real(path) if path.name in ("", "..") else self.folder(path.parent) / path.name

    def file(self, path: Path) -> Path:
        """Return the one name of a file, without links."""
        entry = self.entry(path)
        return _real(entry) if os.path.islink(entry) else entry


class _Search:
    """Goes through folders. `os.path` is asked rather than `Path`, whose questions raise where one may not look."""

    def __init__(self, names: _Names, suffixes: Sequence[str], excluded: Path | None, on_unlisted: OnUnlisted) -> None:
        self._names = names
        self._suffixes = suffixes
        self._excluded = excluded
        self._on_unlisted = on_unlisted
        self._unlisted: set[Path] = set()
        self.others: dict[Path, Path] = {}

    def pictures_of(self, given: Path, *, prefixed: bool) -> Iterator[_Found]:
        """Yield what one file, folder or pattern means."""
        if os.path.isdir(given):
            top = self._names.folder(given)
            if self._excluded and self._excluded in (top, *top.parents):
                raise PlanError(f"{given} lies in the folder of the answers: name another one with --out")
            first = Path(top.name) if prefixed else Path()
            for path in self._pictures_in(given, given, first):
                yield self._found(path, given, first)
        elif not os.path.lexists(given) and glob.has_magic(str(given)):
            yield from self._pictures_like(given)
        else:
            yield self._found(given, given.parent, Path())

    def _pictures_in(self, folder: Path, top: Path, first: Path) -> list[Path]:
        """Return a folder's pictures, sorted; `first` and the path inside `top` are their place."""
        return sorted(
            Path(entry.path)
            for inner, entries in self._folders(folder, top, first)
            for entry in entries
            if self._is_wanted(entry)
        )

    def _pictures_like(self, pattern: Path) -> Iterator[_Found]:
        """Yield what matches a pattern; its place is the path behind the part of the pattern that is fixed."""
        fixed = Path(*_until_magic(pattern.parts))
        variable = pattern.parts[len(fixed.parts) :]
        if ".." in variable:
            raise PlanError(f"{pattern}: '..' makes no sense behind a wildcard")
        matches = list(self._matches(fixed, variable, fixed)) if os.path.isdir(fixed) else []
        found = set[Path]()
        for match in matches:
            if isinstance(match, Path):
                found.update(self._pictures_in(match, fixed, Path()))
            elif self._is_wanted(match):
                found.add(Path(match.path))
        for path in sorted(found):
            yield self._found(path, fixed, Path())
        if not matches:
            yield self._found(pattern, pattern.parent, Path())

    def _matches(self, folder: Path, parts: Sequence[str], top: Path) -> Iterator["Path | os.DirEntry[str]"]:
        """Yield the folders, as paths, and the files that match the parts of a pattern; as `glob`, but never silent."""
        if not parts or parts == ("**",):  # A folder that matches is searched to its last one anyway.
            yield folder
            return
        if parts[0] == "**":
            for inner, contents in self._folders(folder, top, Path()):
                yield from filter(_is_lost, contents)
                yield from self._matches(inner, parts[1:], top)
            return
        entries = self._entries(folder, folder.relative_to(top))
        if entries is None:  # Told already. As a match, lest it also be told that nothing matches.
            yield folder
            return
        for entry in entries:
            if not _fits(entry.name, parts[0]):
                continue
            if not _is_folder(entry):
                if not parts[1:] or _is_lost(entry):
                    yield entry
            elif not self._leads_back(entry, top):
                yield from self._matches(Path(entry.path), parts[1:], top)

    def _folders(self, folder: Path, top: Path, first: Path) -> Iterator[tuple[Path, list["os.DirEntry[str]"]]]:
        """Yield a folder and all in it with their entries, without hidden ones; those behind links last."""
        walked = set()
        plain, links = [folder], list[Path]()
        while plain or links:
            each = plain.pop() if plain else links.pop(0)
            real = self._names.folder(each)
            if real in walked or (self._excluded and self._excluded in (real, *real.parents)):
                continue
            walked.add(real)
            entries = self._entries(each, first / each.relative_to(top)) or []
            entries = [entry for entry in entries if not entry.name.startswith(".")]
            yield each, entries
            for entry in filter(_is_folder, entries):
                if not entry.is_symlink():
                    plain.append(Path(entry.path))
                elif not self._leads_back(entry, top):
                    links.append(Path(entry.path))

    def _entries(self, folder: Path, place: Path) -> list["os.DirEntry[str]"] | None:
        """Return what is in a folder, sorted; None for one that cannot be searched, which is told, though only once."""
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            real = self._names.folder(folder)
            if real not in self._unlisted:
                self._unlisted.add(real)
                self._on_unlisted(folder, place, error)
            return None

    def _is_wanted(self, entry: "os.DirEntry[str]") -> bool:
        """Return whether an entry is a picture, or something that cannot be looked at and may hold or be one.

        Other files are remembered.
        """
        path = Path(entry.path)
        is_picture = path.suffix.lower() in self._suffixes or _is_lost(entry)
        if not _may_be_file(entry):
            return False
        real = self._names.file(path) if _is_link(entry) else self._names.entry(path)
        if self._excluded and self._excluded in real.parents:
            return False
        if not is_picture:
            self.others.setdefault(self._names.entry(path), path)
        return is_picture

    def _leads_back(self, entry: "os.DirEntry[str]", top: Path) -> bool:
        """Return whether an entry is a link to a folder that it or `top`, from where one came, lies in."""
        if not _is_link(entry):
            return False
        path = Path(entry.path)
        target = self._names.folder(path)
        return any(target in (above, *above.parents) for above in map(self._names.folder, (path.parent, top)))

    def _found(self, path: Path, top: Path, first: Path) -> _Found:
        """Return what was found at a path inside `top`; `first` comes before that path in its place."""
        inside = path.relative_to(top)
        entry = self._names.entry(path)
        return _Found(path, first / inside, entry, entry != self._names.folder(top) / inside)


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _fits(name: str, part: str) -> bool:
    """Return whether a name matches one part of a pattern; hidden ones have to be asked for."""
    if not glob.has_magic(part):
        return name == part
    return fnmatch.fnmatch(name, part) and (part.startswith(".") or not name.startswith("."))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_link(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_symlink()
    except OSError:
        return False


def _may_be_file(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a file, or a broken link, or where one may not look."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True


def _is_lost(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry may be a folder that is out of reach, perhaps on a disk that is not there.

    Such is a link without a suffix that leads nowhere, or to where one may not look. Names and kinds are asked before
    the disk is: a look at each file that is no picture would be a round trip each on a network disk.
    """
    if Path(entry.name).suffix:
        return False
    try:
        return entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        return True


def _real(path: Path) -> Path:
    """Return a path without links; unlike `Path.resolve` also of one that leads round in a circle."""
    return Path(os.path.realpath(path))


def refuse_overwriting(plan: dict[Path, Path]) -> None:
    """Refuse a plan in which an answer would replace a source, or another answer.

    Args:
        plan: target by source.

    Raises:
        PlanError: it would; the text says what to do.
    """
    names = _Names()
    sources = {names.file(source) for source in plan}
    by_target: dict[Path, Path] = {}
    for source, target in plan.items():
        if names.file(target) in sources:
            raise PlanError(f"the answer to {source} would replace the picture {target}: name another --out")
        if other := by_target.get(names.entry(target)):
            raise PlanError(
                f"the answers to {other} and {source} would both be {target}: name the folder that holds both, or "
                "color them one after the other into two folders"
            )
        by_target[names.entry(target)] = source
