"""Tells how the work on many files goes: a bar on a terminal, lines elsewhere, JSON on demand."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.archive.run import Outcome, Status
from service.logs import printable

WORDS: Final[dict[Status, str]] = {"colored": "colored", "skipped": "already there", "failed": "failed"}
"""What is always counted, in words."""

SUFFIXES_TOLD: Final = 5
"""So many kinds of files that are no pictures are told, the most frequent ones."""

FRAMES_TOLD_S: Final = 10.0
"""How often a film's progress is told where there is no terminal, seconds."""


class Report:
    """Counts outcomes and tells them: a bar on a terminal, plain lines elsewhere, JSON on demand."""

    def __init__(
        self, total: int, *, as_json: bool = False, quiet: bool = False, console: Console | None = None
    ) -> None:
        """Start with nothing done.

        Args:
            total: how many pictures are to be colored.
            as_json: print one line of JSON for each outcome to the standard output.
            quiet: show no progress.
            console: where progress is shown; default: the standard error.
        """
        self.counts: Counter[Status] = Counter({"colored": 0, "skipped": 0, "failed": 0})
        self.failures: list[Outcome] = []
        self.unread: list[Outcome] = []
        self.remarks: list[str] = []
        self.looks_met: set[str] = set()
        self._suffixes: Counter[str] = Counter()
        self._different: Counter[str] = Counter()
        self._total = total
        self._as_json = as_json
        self._console = console or Console(stderr=True)
        self._quiet = quiet
        self._plain = not quiet and not self._console.is_terminal
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
        )
        self._progress = Progress(*columns, console=self._console, transient=True, disable=quiet or self._plain)
        self._task = self._progress.add_task("coloring", total=total, pace="")
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def left(self) -> int:
        """How many were not reached."""
        return self._total - self.counts["colored"] - self.counts["failed"]

    def __call__(self, outcome: Outcome) -> None:
        """Take down and tell one outcome."""
        self.counts[outcome.status] += 1
        self.looks_met.add(outcome.look)
        if outcome.status == "failed":
            self.failures.append(outcome)
        elif outcome.status == "unread":
            self.unread.append(outcome)
        elif outcome.status == "other":
            self._suffixes[outcome.source.suffix.lower() or "without a suffix"] += 1
        elif outcome.status == "skipped":
            self._different.update(outcome.notes)
        if self._as_json:
            typer.echo(outcome.to_json())
        if outcome.status not in ("colored", "failed"):
            return
        done = self._total - self.left
        told = pace(done, self._total, time.monotonic() - self._started)
        self._progress.update(self._task, advance=1, pace=told)
        if self._plain:
            notes = printable("".join(f"; {note}" for note in outcome.notes))
            typer.echo(f"[{done}/{self._total}] {shown(outcome.source)}: {outcome.status}{notes}; {told}", err=True)
        elif outcome.notes and not self._quiet:
            self._progress.console.print(
                f"{shown(outcome.source)}: {printable('; '.join(outcome.notes))}", markup=False
            )

    def remark(self, text: str) -> None:
        """Take down what is to be said of the whole at the end; nothing where the text is empty."""
        if text:
            self.remarks.append(text)

    @contextmanager
    def frames_of(self, source: Path) -> Iterator[Callable[[int, int], None]]:
        """Tell how one film goes, by a second bar or a line every `FRAMES_TOLD_S` seconds.

        Args:
            source: the film.

        Yields:
            What is to be told how many frames of how many are done; of 0 while they are only looked through.
        """
        bar = self._progress.add_task(printable(source.name), total=None, pace="")
        started = told = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal told, started
            now = time.monotonic()
            if not total:
                started = now
            words = pace(done, total, now - started) if total else "looked through"
            self._progress.update(bar, completed=done, total=total or None, pace=words)
            if self._plain and now - told >= FRAMES_TOLD_S:
                told = now
                of = f" of {total}" if total else ""
                typer.echo(f"{shown(source)}: frame {done}{of}; {words}", err=True)

        try:
            yield tell
        finally:
            self._progress.remove_task(bar)

    def troubles(self) -> Iterator[str]:
        """Yield a line for each remark, picture that failed, kind that is not read, and way answers were made in."""
        yield from map(printable, self.remarks)
        for failure in self.failures:
            yield f"failed: {shown(failure.source)}: {printable(failure.reason)}"
        for reason, count in Counter(outcome.reason for outcome in self.unread).items():
            first = next(outcome.source for outcome in self.unread if outcome.reason == reason)
            which = shown(first) if count == 1 else f"{count} files such as {shown(first)}"
            yield f"not colored: {which}: {printable(reason)}"
        for note, count in self._different.items():
            yield f"{count} already there, {printable(note)}: --overwrite colors again, another --out beside them"

    def counted(self) -> str:
        """Return the counts in words."""
        words = [f"{self.counts[status]} {word}" for status, word in WORDS.items()]
        words += [f"{self.counts['unread']} not read"] if self.unread else []
        if self._suffixes:
            most = sorted(self._suffixes.items(), key=lambda found: (-found[1], found[0]))[:SUFFIXES_TOLD]
            listed = ", ".join(f"{count} {printable(suffix)}" for suffix, count in most)
            words.append(f"{self.counts['other']} no pictures ({listed})")
        return ", ".join(words + ([f"{self.left} left"] if self.left else []))

    def summary(self, stopped: str = "") -> dict[str, object]:
        """Return the counts, those of unread and other files where there are any, remarks, and why it ended early."""
        counts: dict[str, object] = {str(status): count for status, count in self.counts.items()}
        counts["left"] = self.left
        counts |= {"remarks": self.remarks} if self.remarks else {}
        return counts | {"stopped": stopped} if stopped else counts


def pace(done: int, total: int, elapsed_s: float) -> str:
    """Return in words how fast it goes and how long the rest takes at that rate.

    Args:
        done: pictures done, at least 1.
        total: pictures to do.
        elapsed_s: since the start, seconds.

    Returns:
        Such as `2.5 a second, 40 s left`.
    """
    each_s = max(elapsed_s, 1e-3) / done
    rate = f"{1 / each_s:.1f} a second" if each_s < 1 else f"{each_s:.1f} s each"
    return f"{rate}, {_duration(each_s * (total - done))} left"


def shown(path: Path) -> str:
    """Return a path that any terminal can take; names of old archives may be in no known encoding."""
    return printable(os.fsencode(path).decode(errors="replace"))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
