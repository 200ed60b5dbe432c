"""Files of several pages: each page by itself, and where its answer goes."""

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

from service.archive.answers import is_done
from service.errors import RequestError
from service.pictures.tiff.directory import STARTS
from service.pictures.tiff.pages import count_pages, only_page


def split(question: bytes, target: Path) -> Iterator[tuple[bytes, Path]]:
    """Yield each page of a file as a file, and where its answer goes.

    Args:
        question: the file.
        target: where the answer goes to a file of a single page; of several, `name.png` becomes `name-1.png` and so on.
    """
    pages = _count(question)
    if pages == 1:
        yield question, target
        return
    for page in range(1, pages + 1):
        yield only_page(question, page), _numbered(target, page)


def are_done(source: Path, target: Path) -> bool:
    """Return whether the answers to all pages of a file are there; see `answers.is_done`."""
    if is_done(source, target):
        return True
    if not is_done(source, _numbered(target, 1)):
        return False
    try:
        with source.open("rb") as stream:
            pages = _count(mmap(stream.fileno(), 0, access=ACCESS_READ))
    except (OSError, ValueError):
        return False
    return all(is_done(source, _numbered(target, page)) for page in range(1, pages + 1))


def _count(data: bytes | mmap) -> int:
    if bytes(data[:4]) not in STARTS:
        return 1
    try:
        return count_pages(data)
    except RequestError:
        return 1  # It will say itself what is wrong with it.


def _numbered(target: Path, page: int) -> Path:
    return target.with_name(f"{target.stem}-{page}{target.suffix}")
