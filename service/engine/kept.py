"""Pictures that are kept for a while, with what the network said of them, so that other knobs need no new inference.

A kept picture holds the upload, the posterior in 16 bits, and, unless that would take too much, its lightness ready to
be used. All of it is counted in bytes, what of the uploads is on the disk apart; the least recently used go when there
is no more room, and everything goes when nobody has asked for it for a while. A file on the disk closes with the last
one who works on it. Ids are random, and open a picture only to the API key that it came with.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float16, Float32

from chroma.signature import AB, AB_LOGITS, HEAD_STRIDE, HEADS, SCENE_LOGITS
from service.engine.session import Heads
from service.errors import PictureNotKept, TooLargeToKeep
from service.pictures.header import Header
from service.pictures.lightness import Lightness
from service.pictures.spooled import FileData, SpooledFile
from service.settings import Precision
from service.telemetry import EvictionReason

ID_BYTES: Final = 16
"""Randomness of an id: 128 bits cannot be guessed."""

READY_SHARE: Final = 8
"""The lightness is kept along with a picture while the whole takes less than one in so many of all bytes..."""

OVERHEAD_BYTES: Final = 4096
"""...and every picture counts as this much more, for what Python makes of it."""

HALVED_PIXELS: Final = 512
"""Pixels whose logits are rounded at a time: what is clipped stays in a core's cache."""

KEPT_OUTPUTS: Final = HEADS
"""The heads that every mode, variant and reference can be made from."""


def to_half(logits: Float[np.ndarray, "h w Q"]) -> Float16[np.ndarray, "h w Q"]:
    """Return logits in 16 bits, shape (h, w, Q); what is out of their range counts as its end."""
    if logits.dtype == np.float16:
        return logits
    flat = np.ascontiguousarray(logits).reshape(-1, logits.shape[-1])
    half = np.empty(flat.shape, np.float16)
    for start in range(0, len(flat), HALVED_PIXELS):
        rows = slice(start, start + HALVED_PIXELS)
        _convert(np.clip(flat[rows], -6e4, 6e4), half[rows], cv2.CV_16F)
    return half.reshape(logits.shape)


def from_half(logits: Float[np.ndarray, "*shape Q"]) -> Float32[np.ndarray, "*shape Q"]:
    """Return logits, as `to_half` gives them or in 32 bits, in 32 bits, shape (..., Q)."""
    if logits.dtype == np.float32:
        return logits
    flat = np.ascontiguousarray(logits).reshape(-1, logits.shape[-1])
    whole = np.empty(flat.shape, np.float32)
    _convert(flat, whole, cv2.CV_32F)
    return whole.reshape(logits.shape)


def _convert(numbers: Float[np.ndarray, "n Q"], target: Float[np.ndarray, "n Q"], depth: int) -> None:
    """Put numbers into another precision: OpenCV has the processor do it, NumPy takes five times as long and more."""
    cv2.add(numbers, 0.0, target, dtype=depth)  # type: ignore[call-overload]  # Its stub knows of no numbers.


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the network said of a picture.

    Attributes:
        logits: over the ab bins; float16, whose last digit is worth 0.004 of a logit of 5, shape (h, w, Q).
        ab: of the regression head, Lab units, float32, shape (h, w, 2).
        scene_logits: float32, shape (S,).
        lightness: what the network saw, L in [0, 100], float32, shape (4 h, 4 w, 1).
    """

    logits: Float16[np.ndarray, "h w Q"]
    ab: Float[np.ndarray, "h w 2"]
    scene_logits: Float[np.ndarray, "S"]
    lightness: Float[np.ndarray, "H W 1"]

    @classmethod
    def of(cls, heads: Heads, lightness: Float[np.ndarray, "H W 1"]) -> "Posterior":
        """Keep the heads of a picture.

        Args:
            heads: at least `KEPT_OUTPUTS`; the logits in 16 bits or 32.
            lightness: what the network saw, L in [0, 100], shape (4 h, 4 w, 1).
        """
        # Copies: a head may be a view of what the whole batch gave.
        return cls(to_half(heads[AB_LOGITS]), heads[AB].copy(), heads[SCENE_LOGITS].copy(), lightness)

    def heads(self) -> Heads:
        """Return the heads again, the logits float16."""
        return {AB_LOGITS: self.logits, AB: self.ab, **self.scene_heads}

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the logits."""
        height, width, _ = self.logits.shape
        return height, width

    def at(self, cell: tuple[int, int]) -> tuple[Float32[np.ndarray, "Q"], float]:
        """Return the logits of one pixel of the grid, shape (Q,), and the mean L of what it saw, [0, 100].

        Args:
            cell: its row and column.
        """
        row, column = (slice(place * HEAD_STRIDE, (place + 1) * HEAD_STRIDE) for place in cell)
        return self.logits[cell].astype(np.float32), float(self.lightness[row, column].mean())

    @property
    def scene_heads(self) -> Heads:
        """The one head that says what the picture shows."""
        return {SCENE_LOGITS: self.scene_logits}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (self.logits, self.ab, self.scene_logits, self.lightness))


@dataclass(frozen=True, eq=False)
class KeptPicture:
    """All that an answer is made from.

    Attributes:
        data: the upload.
        header: of it.
        digest: sha256 of the upload, hexadecimal.
        size: inference size that was asked for; None for the model's own.
        posterior: what the network said.
        histogram: share of each ab bin in the upload, for those who take it as reference; shape (Q,).
        confidence: mean over the picture, [0, 1].
        ready: the pixels, or None when they are to be decoded again.
        is_stretched: whether the network saw its tones stretched.
        notes: what is to be said of it, in words.
        page: which picture of a file of several it is; None for the only one.
        precision: that the network was computed in for it.
        identity: of the model: see `LoadedModel`.
        id: random; empty before it is kept.
        owner: fingerprint of the API key that it came with.
    """

    data: FileData
    header: Header
    digest: str
    size: int | None
    posterior: Posterior
    histogram: Float[np.ndarray, "Q"]
    confidence: float
    ready: Lightness | None
    is_stretched: bool = False
    notes: tuple[str, ...] = ()
    page: int | None = None
    precision: Precision = "float32"
    identity: str = ""
    id: str = ""
    owner: str = ""

    @property
    def nbytes(self) -> int:
        """What it counts as, of memory."""
        ready = 0 if self.ready is None else self.ready.nbytes
        data = 0 if self.is_spooled else len(self.data)
        # Not a part of the upload, which may be on the disk: a copy.
        profile = len(self.header.icc_profile or b"")
        return OVERHEAD_BYTES + data + profile + self.posterior.nbytes + self.histogram.nbytes + ready

    @property
    def is_spooled(self) -> bool:
        """Whether the upload is on the disk."""
        return isinstance(self.data, SpooledFile)

    @property
    def spooled_bytes(self) -> int:
        """What it takes of the disk."""
        return len(self.data) if self.is_spooled else 0


class KeptPictures:
    """A bounded cache of pictures, least recently used out first; any thread may use it.

    Attributes:
        max_bytes: most bytes kept; 0 keeps nothing.
        max_age_s: how long a picture stays after it was last used, seconds.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        max_age_s: float,
        max_spooled_bytes: int = 0,
        on_lookup: Callable[[bool], None] = lambda _: None,
        on_evict: Callable[[EvictionReason], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start empty.

        Args:
            max_bytes: most bytes kept; 0 keeps nothing.
            max_age_s: how long a picture stays after it was last used, seconds.
            max_spooled_bytes: most bytes of their uploads on the disk.
            on_lookup: told of every request whether the picture was there, for the metrics.
            on_evict: told of every picture that is let go, and why.
            clock: gives seconds.
        """
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._max_spooled_bytes = max_spooled_bytes
        self._on_lookup = on_lookup
        self._on_evict = on_evict
        self._clock = clock
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, tuple[KeptPicture, float]] = OrderedDict()  # By rising time of the last use.
        self._bytes = self._spooled = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes kept in memory."""
        return self._bytes

    def __len__(self) -> int:
        """How many pictures are kept."""
        return len(self._pictures)

    def check_on(self) -> None:
        """Refuse when nothing is kept at all.

        Raises:
            PictureNotKept: it is switched off.
        """
        if not self.max_bytes:
            raise PictureNotKept("This service keeps no pictures: use POST /colorize.")

    def put(self, picture: KeptPicture, owner: str) -> KeptPicture:
        """Keep a picture; others may have to go for it.

        Args:
            picture: without an id.
            owner: fingerprint of the API key that it came with; empty where there are none.

        Returns:
            The picture with its id.

        Raises:
            PictureNotKept: it is switched off.
            TooLargeToKeep: it alone takes more room than there is.
        """
        self.check_on()
        if picture.ready is not None and picture.nbytes * READY_SHARE > self.max_bytes:
            picture = replace(picture, ready=None)
        for takes, limit in ((picture.nbytes, self.max_bytes), (picture.spooled_bytes, self._max_spooled_bytes)):
            if takes > limit:
                raise TooLargeToKeep(
                    f"The picture, with what the network says of it, takes {takes} bytes, and {limit} are kept: use "
                    "POST /colorize, or a smaller 'size'.",
                    limit=limit,
                    unit="bytes",
                )
        kept = replace(picture, id=secrets.token_urlsafe(ID_BYTES), owner=owner)
        with self._lock:
            self._expire()
            while self._pictures and (
                self._bytes + kept.nbytes > self.max_bytes
                or self._spooled + kept.spooled_bytes > self._max_spooled_bytes
            ):
                self._evict("room")
            self._pictures[kept.id] = (kept, self._clock())
            self._count(kept, 1)
        return kept

    def get(self, id: str, owner: str) -> KeptPicture:
        """Return a picture, which counts as a use of it.

        Args:
            id: of the picture.
            owner: fingerprint of the API key of who asks.

        Raises:
            PictureNotKept: there is none of this id, or not any more, or it came with another key.
        """
        self.check_on()
        with self._lock:
            self._expire()
            picture, _ = self._pictures.get(id, (None, 0.0))
            is_there = picture is not None and secrets.compare_digest(picture.owner, owner)
            self._on_lookup(is_there)
            if picture is None or not is_there:
                raise PictureNotKept()
            self._pictures[id] = (picture, self._clock())
            self._pictures.move_to_end(id)
        return picture

    def remove(self, id: str, owner: str) -> None:
        """Let a picture go at once; who works on it just now may end that.

        Args:
            id: of the picture.
            owner: fingerprint of the API key of who asks.

        Raises:
            PictureNotKept: as `get`.
        """
        self.get(id, owner)
        with self._lock:
            picture, _ = self._pictures.pop(id, (None, 0.0))
            if picture:
                self._count(picture, -1)

    def expire(self) -> None:
        """Let go whatever was not used for too long; to be called now and then, since nobody may ask any more."""
        with self._lock:
            self._expire()

    def clear(self) -> None:
        """Let everything go."""
        with self._lock:
            while self._pictures:
                self._count(self._pictures.popitem()[1][0], -1)

    def _expire(self) -> None:
        oldest = self._clock() - self.max_age_s
        while self._pictures and next(iter(self._pictures.values()))[1] <= oldest:
            self._evict("age")

    def _evict(self, reason: EvictionReason) -> None:
        _, (picture, _) = self._pictures.popitem(last=False)
        self._count(picture, -1)
        self._on_evict(reason)

    def _count(self, picture: KeptPicture, sign: int) -> None:
        self._bytes += sign * picture.nbytes
        self._spooled += sign * picture.spooled_bytes
