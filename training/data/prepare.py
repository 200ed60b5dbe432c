"""`photochrom-train prepare`: photographs as people have them -> zip shards that train fast.

Every photograph is decoded, judged, shrunk and stored; what is refused is listed with its reason. The work is cut into
parts, one shard each. A part is written whole or not at all, and depends on nothing but its photographs and the
options: killed at any moment, the same command goes on, and what comes out is what it would have been.

OUT/
    train-00000.zip ...   KEY.jpg, and KEY.png for label maps; stored, not deflated
    labels.csv            one row a photograph, `training.data.layouts`; written last: with it the folder is finished
    scenes.csv            class probabilities, where there are some, see `training.data.scene_scores`
    prior.npy             how often each ab bin occurs in the training split
    metadata.json         what was asked for, and how many there are
    refused.csv           file, reason
    prepare.json, parts/  while it is at work: what was asked for, and what is finished
"""

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from chroma.bins import Q
from training import DataError, PrepareError
from training.data.layouts import LABELS, SPLITS, SUFFIXES, UNFINISHED
from training.data.photographs import PhotographSet, open_photographs
from training.data.prepare_part import (
    PARTS,
    Item,
    Part,
    PartWorker,
    PrepareOptions,
    load_scene_model,
    note_path,
    write_whole,
    writing,
)
from training.data.prepared_prior import METADATA, PRIOR, file_sha256, prior_settings
from training.data.scene_scores import COLUMNS as SCENE_COLUMNS
from training.data.scene_scores import SCENES

__all__ = ["PrepareOptions", "PreparedShards", "prepare"]

REFUSED: Final = "refused.csv"

FORMAT: Final = 1
"""Changes when the same options give other files."""

COLUMNS: Final = ("key", "shard", "split", "dataset", "scene", "scene_coarse", "label_map", "width", "height", "source")

MOST_A_SHARD: Final = 1000

FEWEST_A_SHARD: Final = 50

LEAST_SHARDS: Final = 16
"""Photographs in a shard, and how many shards a large enough split has at least, so that every core has work."""

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class PreparedShards:
    """What came out.

    Attributes:
        train: photographs in the train split.
        val: photographs in the val split.
        refused: photographs left out.
        without_labels: photographs kept without their label map.
        reasons: how often each kind of complaint occurs, the most frequent first.
    """

    train: int
    val: int
    refused: int
    without_labels: int
    reasons: tuple[tuple[str, int], ...]


def prepare(options: PrepareOptions, *, watch: Watch | None = None) -> PreparedShards:
    """Make shards of photographs, or go on where a killed call stopped.

    Args:
        options: what to make of what.
        watch: told how many photographs are done, and of how many.

    Returns:
        How many photographs there are.

    Raises:
        DataError: the photographs, or the scene model, cannot be read; an option is out of range; or no photograph is
            left.
        PrepareError: the folder holds something else, another process is at work in it, or it cannot be written.
    """
    _check(options)
    plan = _Plan(open_photographs(options.source, scenes="scene", validation_share=options.validation_share))
    with writing():
        settings = _settings(options, plan)
        options.out.mkdir(parents=True, exist_ok=True)
        made = _finished(options.out, settings)
        if made is None:
            with _claimed(options.out, settings):
                _work(options, plan, watch or (lambda _done, _total: None))
                made = _finish(options.out, settings, plan)
        shutil.rmtree(options.out / PARTS, ignore_errors=True)
        (options.out / UNFINISHED).unlink(missing_ok=True)
    return made


def _check(options: PrepareOptions) -> None:
    if options.size < 32:
        raise DataError(f"the short side must be at least 32 px, is {options.size}")
    if options.validation_share is not None and not 0 <= options.validation_share < 1:
        raise DataError(f"the validation share must be in [0, 1), is {options.validation_share}")
    if bool(options.scene_model) != bool(options.scene_names):
        raise DataError("a scene model needs the names of its classes, and the names need a model")
    source, out = options.source.resolve(), options.out.resolve()
    if out == source or source in out.parents:
        raise PrepareError(f"{options.out} lies in the photographs' own folder: choose another one")
    # Not only in the workers: before anything is written.
    load_scene_model(options)


class _Plan:
    """Which photographs go into which part. Parts are put together when they are asked for, not kept."""

    def __init__(self, photographs: PhotographSet) -> None:
        self.photographs = photographs
        listed = photographs.photographs
        self._keys = _keys([photo.key for photo in listed])
        self._coarse: dict[str, str] = {}
        if photographs.folder and (photographs.folder / LABELS).exists():
            both = open_photographs(photographs.folder, scenes="scene_coarse").photographs
            self._coarse = {photo.key: photo.scene for photo in both if photo.scene}
        self._places: dict[str, list[int]] = {}
        for split in SPLITS:
            chosen = [place for place, photo in enumerate(listed) if photo.split == split]
            count = min(MOST_A_SHARD, max(FEWEST_A_SHARD, -(-len(chosen) // LEAST_SHARDS)))
            for start in range(0, len(chosen), count):
                self._places[f"{split}-{start // count:05}"] = chosen[start : start + count]

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._places)

    def size(self, name: str) -> int:
        return len(self._places[name])

    def part(self, name: str) -> Part:
        return Part(name, tuple(self._item(place) for place in self._places[name]))

    def digest(self) -> str:
        """Return a hash of everything that is known of the photographs but their pixels."""
        listing = hashlib.sha256()
        for place in range(len(self)):
            item = self._item(place)
            row = (item.key, item.photo.key, item.photo.split, item.photo.dataset, item.photo.label_map)
            listing.update(repr((*row, item.scene, item.scene_coarse, item.scene_pairs)).encode())
        return listing.hexdigest()

    def _item(self, place: int) -> Item:
        photo = self.photographs.photographs[place]
        pairs = tuple(self.photographs.scene_pairs(photo))
        return Item(photo, self._keys[place], photo.scene, self._coarse.get(photo.key, ""), pairs)


def _keys(sources: Sequence[str]) -> list[str]:
    """Return a key for each photograph: its name without suffix, where that is no other's."""
    names = set(sources)
    if len(names) < len(sources):
        twice = next(name for name, count in Counter(sources).items() if count > 1)
        raise DataError(f"the key {twice} occurs twice")
    stems = [name.rpartition(".")[0] if Path(name).suffix.lower() in SUFFIXES else name for name in sources]
    count = Counter(stems)
    return [
        stem if count[stem] == 1 and (stem == name or stem not in names) else name
        for stem, name in zip(stems, sources, strict=True)
    ]


def _settings(options: PrepareOptions, plan: _Plan) -> dict[str, Any]:
    """Return everything that decides what comes out, as JSON has it."""
    settings: dict[str, Any] = {
        "format": FORMAT,
        "photographs": len(plan),
        "listing_sha256": plan.digest(),
        "size": options.size,
        "keep_gray": options.keep_gray,
        "prior": prior_settings(options.data),
    }
    if options.scene_model and options.scene_names:
        settings["scene_model"] = {
            "sha256": file_sha256(options.scene_model),
            "names_sha256": file_sha256(options.scene_names),
            "mean": list(options.scene_mean),
            "std": list(options.scene_std),
        }
    return settings


def _finished(out: Path, settings: dict[str, Any]) -> PreparedShards | None:
    """Return what a finished folder holds; None where there is still work."""
    if not (out / LABELS).exists():
        return None
    try:
        said = json.loads((out / METADATA).read_text(encoding="utf-8"))
        known, counts = said["settings"], said["photographs"]
        reasons = tuple((str(reason), int(count)) for reason, count in said["reasons"])
        made = PreparedShards(counts["train"], counts["val"], counts["refused"], counts["without_labels"], reasons)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PrepareError(f"{out} holds something else: choose another folder") from error
    _compare(out, known, settings)
    return made


def _compare(out: Path, known: dict[str, Any], settings: dict[str, Any]) -> None:
    differing = sorted(name for name in {*known, *settings} if known.get(name) != settings.get(name))
    if differing:
        told = ", ".join(differing).replace("listing_sha256", "list of photographs")
        raise PrepareError(f"{out} was made otherwise ({told}): choose another folder, or the same options")


@contextmanager
def _claimed(out: Path, settings: dict[str, Any]) -> Iterator[None]:
    """Hold the folder for this process, once it is clear that it is empty or was begun with these settings."""
    path = out / UNFINISHED
    if not path.exists() and any(out.iterdir()):
        raise PrepareError(f"{out} is not empty: choose another folder")
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PrepareError(f"another process is at work in {out}") from error
        file.seek(0)
        text = file.read()
        # Without its last character a killed process wrote it by half, and nothing else yet.
        if text.endswith("\n"):
            _compare(out, json.loads(text), settings)
        else:
            file.truncate(0)
            file.write(json.dumps(settings) + "\n")
            file.flush()
            os.fsync(file.fileno())
        (out / PARTS).mkdir(exist_ok=True)
        for stale in (*out.glob("*.partial"), *(out / PARTS).glob("*.partial")):
            stale.unlink(missing_ok=True)
        yield


def _work(options: PrepareOptions, plan: _Plan, watch: Watch) -> None:
    """Do every part that is not done yet."""
    waiting = deque(name for name in plan.names if not note_path(options.out, name).exists())
    done = len(plan) - sum(plan.size(name) for name in waiting)
    watch(done, len(plan))
    if options.workers == 1 or len(waiting) <= 1:
        worker = PartWorker(options)
        for name in waiting:
            with contextlib.closing(worker.do(plan.part(name))) as photographs:
                for _ in photographs:
                    done += 1
                    watch(done, len(plan))
        return
    # One thread a process: threads of the linear algebra would get into each other's way.
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")
    counter, stop = context.Value("q", 0), context.Event()
    count = min(options.workers, len(waiting))
    pool = ProcessPoolExecutor(count, context, _start_process, (options, counter, stop))
    pending: set[Future[None]] = set()
    try:
        while waiting or pending:
            # Few ahead: a part is a list of photographs, and there may be thousands of parts.
            while waiting and len(pending) < 2 * count:
                pending.add(pool.submit(_work_in_process, plan.part(waiting.popleft())))
            ready, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in ready:
                future.result()
            watch(done + counter.value, len(plan))
    except BrokenProcessPool as error:
        raise PrepareError(
            "a worker process died, perhaps for want of memory: give the same command again, with fewer workers"
        ) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Process:
    """What a worker process holds."""

    worker: PartWorker
    counter: Any
    stop: Any


_processes: list[_Process] = []
"""This process, where it is one of the workers."""


def _start_process(options: PrepareOptions, counter: Any, stop: Any) -> None:
    import signal

    # Ctrl-C reaches every process of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _processes.append(_Process(PartWorker(options), counter, stop))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _work_in_process(part: Part) -> None:
    process = _processes[0]
    with contextlib.closing(process.worker.do(part)) as photographs:
        for _ in photographs:
            if process.stop.is_set():
                return
            with process.counter.get_lock():
                process.counter.value += 1


def _finish(out: Path, settings: dict[str, Any], plan: _Plan) -> PreparedShards:
    """Join the parts' notes to the files of a data folder; labels.csv, which makes it one, last."""
    counts = np.zeros(Q)
    kept, reasons, sizes = Counter({"train": 0, "val": 0}), Counter[str](), {}
    left_out = without_labels = 0
    labels, scenes, refused = (
        _Table(out / name, columns)
        for name, columns in ((LABELS, COLUMNS), (SCENES, SCENE_COLUMNS), (REFUSED, ("file", "reason")))
    )
    with labels, scenes, refused:
        for name in plan.names:
            note = json.loads(note_path(out, name).read_text(encoding="utf-8"))
            labels.add(note["rows"])
            scenes.add(note["scenes"])
            refused.add(row[:2] for row in note["refused"])
            for _, reason, is_kept in note["refused"]:
                without_labels, left_out = without_labels + is_kept, left_out + (not is_kept)
                reasons[_kind(reason)] += 1
            counts += note["counts"]
            kept[name.partition("-")[0]] += len(note["rows"])
            if note["rows"]:
                sizes[f"{name}.zip"] = (out / f"{name}.zip").stat().st_size
        refused.finish()
        if not labels.rows:
            raise DataError(f"no photograph is left: {out / REFUSED} says why")
        if scenes.rows:
            scenes.finish()
        made = PreparedShards(kept["train"], kept["val"], left_out, without_labels, tuple(reasons.most_common()))
        said: dict[str, Any] = {
            "settings": settings,
            "photographs": {**kept, "refused": left_out, "without_labels": without_labels},
            "reasons": made.reasons,
            "shards_bytes": sizes,
        }
        if counts.any():
            file = io.BytesIO()
            np.save(file, counts / counts.sum())
            write_whole(out / PRIOR, file.getvalue())
            said["prior"] = {"settings": settings["prior"], "labels_sha256": labels.sha256()}
        write_whole(out / METADATA, (json.dumps(said, indent=2) + "\n").encode())
        labels.finish()
    return made


def _kind(reason: str) -> str:
    """What a reason says without the numbers of one photograph."""
    before, colon, after = reason.partition(": ")
    return after if colon and before[:1].isdigit() else before


class _Table:
    """A CSV file that appears when it is finished; left unfinished, it leaves nothing behind."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._partial = path, path.with_name(f"{path.name}.partial")
        # A file name may be no UTF-8; it is listed all the same.
        self._file = self._partial.open("w", newline="", encoding="utf-8", errors="backslashreplace")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)
        self.rows = 0

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        for row in rows:
            self._writer.writerow(row)
            self.rows += 1

    def sha256(self) -> str:
        self._file.flush()
        return file_sha256(self._partial)

    def finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._partial, self._path)

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
