"""Which runtime computes the network, and in which precision: by what the processor has, and by a check that measures.

float32 in ONNX Runtime is the reference. Whatever takes its place has colored a few photographs that come along, in
the usual proportions, with hardly a difference that an eye could see: `MOST_DELTA_E`. What is chosen without being
asked for must also be faster here. That check is the reason for which a service starts in float32 and changes over
when it is ready; where a precision is asked for, the service begins with it or does not begin.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

from chroma.lab import rgb_u8_to_lab
from chroma.quality import delta_e_2000
from chroma.signature import HEADS
from service.engine.colorizer import Prepared, as_kept, finish, prepare_lightness
from service.engine.onnx_file import OnnxFile
from service.engine.onnx_runtime import CUDA
from service.engine.openvino_runtime import CURE, OpenVinoRuntime, is_installed
from service.engine.options import Options
from service.engine.session import Session, read_model
from service.errors import ModelError, PrecisionError, StartupError
from service.machine import processor_features
from service.pictures.lightness import StoredLightness, store_lightness
from service.settings import Device, Precision, PrecisionChoice

MOST_DELTA_E: Final[dict[Precision, float]] = {"bfloat16": 0.15, "int8": 0.5}
"""Mean CIEDE2000 to the pictures of float32, at most. About 1 can be seen, side by side."""

MOST_TIME: Final = 0.9
"""Of float32's, for what nobody has asked for: less would not be worth another rounding."""

UNITS: Final[dict[Precision, frozenset[str]]] = {
    "bfloat16": frozenset({"avx512_bf16", "amx_bf16", "bf16"}),
    "int8": frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}),
}
"""What processors call those that compute faster than in float32; the last are Arm's."""

INT8_SUFFIX: Final = ".int8.onnx"
"""In place of `.onnx`: where a model is in int8, beside its own file."""

PHOTOGRAPHS: Final = ("locomotive.jpg", "soda-fountain.jpg", "sphinx.jpg")
"""Of the page: old photographs, free, 480 px."""

PROPORTIONS: Final = (1, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9, 9 / 16)
"""Width over height. OpenVINO compiles once for each new shape: the usual ones are then behind it."""

ROUNDS: Final = 3
"""How often each is timed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """What a check against float32 has shown.

    Attributes:
        delta_e: mean CIEDE2000 between the pictures.
        time: over that of float32.
    """

    delta_e: float
    time: float

    def __str__(self) -> str:
        return f"{self.time:.2f} of the time of float32, a mean difference of {self.delta_e:.2f} (CIEDE2000)"


def open_session(path: Path, *, device: Device, threads: int, precision: PrecisionChoice) -> Session:
    """Load a model in the precision that is asked for.

    Args:
        path: the ONNX file.
        device: `cpu`, `cuda` (or fail) or `auto`.
        threads: of one inference; 0 means the usable cores.
        precision: to compute in; `auto` is that of the file: see `find_faster`.

    Raises:
        ModelError: see `Session`.
        DeviceError: see `Session`.
        PrecisionError: it does not work here, or changes the pictures too much.
    """
    session = Session(path, device=device, threads=threads)
    if precision == "auto" or precision == session.precision:
        if session.precision == "int8" and not processor_features() & UNITS["int8"]:
            log.warning("%s is int8, whose sums may overflow on a processor without VNNI: take float32", path)
        return session
    try:
        candidate = _make(session, precision)
        found = check(session, candidate)
    except PrecisionError as error:
        raise PrecisionError(f"PHOTOCHROM_PRECISION={precision}, but {error}") from error
    if not found.delta_e <= MOST_DELTA_E[precision]:
        raise PrecisionError(
            f"PHOTOCHROM_PRECISION={precision}, but it changes the pictures of {path}: {found}, where "
            f"{MOST_DELTA_E[precision]} is the most"
        )
    log.log(
        logging.INFO if found.time < 1 else logging.WARNING, "the network is computed in %s", _told(candidate, found)
    )
    return candidate


@dataclass(frozen=True)
class Choice:
    """What is to compute a model.

    Attributes:
        session: the model; the one that was given where there is nothing better.
        reason: why that, in words.
    """

    session: Session
    reason: str


def find_faster(session: Session, *, is_wanted: Callable[[], bool] = lambda: True) -> Choice:
    """Look for what computes a model faster than float32 does here and colors alike; takes seconds.

    Args:
        session: in float32.
        is_wanted: asked again and again; once nobody wants it any more, nothing is found, and soon.

    Returns:
        The same model, in what is best here, warmed up.
    """
    if why := _why_not(session):
        return Choice(session, why)
    try:
        candidate = _make(session, "bfloat16")
        found = check(session, candidate, is_wanted=is_wanted)
    except StartupError as error:
        return Choice(session, str(error))
    if found.delta_e <= MOST_DELTA_E["bfloat16"] and found.time <= MOST_TIME:
        return Choice(candidate, str(found))
    return Choice(session, _told(candidate, found))


def may_change_over(chosen: PrecisionChoice) -> bool:
    """Return whether a precision may bring OpenVINO into the process of a service here."""
    has_units = bool(processor_features() & UNITS["bfloat16"])
    return chosen == "bfloat16" or (chosen == "auto" and has_units and is_installed())


def _told(candidate: Session, found: Check) -> str:
    return f"{candidate.precision} by {candidate.runtime.name}: {found}"


def _why_not(session: Session) -> str:
    """Return why nothing faster is looked for; empty where something is."""
    if session.provider == CUDA:
        return "it runs on a GPU"
    if session.precision != "float32":
        return "its file holds that" if session.precision == "int8" else "it was changed over before"
    if not processor_features() & UNITS["bfloat16"]:
        return "this processor has no units for bfloat16"
    return "" if is_installed() else f"OpenVINO, which is faster on this processor, is not installed: {CURE}"


def _make(session: Session, precision: PrecisionChoice) -> Session:
    """Return a model in another precision, not yet checked.

    Raises:
        PrecisionError: it does not work here.
    """
    if session.provider == CUDA:
        raise PrecisionError("the network runs on a GPU, which computes in float32: set PHOTOCHROM_DEVICE=cpu")
    if session.precision != "float32":
        raise PrecisionError(f"{session.path} holds the network in {session.precision}")
    if precision == "int8":
        return _open_int8(session)
    model = read_model(session.path)
    if hashlib.sha256(model).hexdigest() != session.digest:
        raise PrecisionError(f"{session.path} has changed meanwhile")
    network = OnnxFile(model, session.path).part(HEADS)
    return session.on(OpenVinoRuntime(network, threads=session.threads), "bfloat16")


def _open_int8(session: Session) -> Session:
    """Return the int8 file beside that of a model.

    Raises:
        PrecisionError: there is none, or it is another model's.
    """
    path = session.path.with_suffix(INT8_SUFFIX)
    try:
        found = Session(path, device="cpu", threads=session.threads)
    except ModelError as error:
        raise PrecisionError(f"{error}. `photochrom-export --precision int8` writes one") from error
    if found.precision != "int8" or found.stamp.run_id != session.stamp.run_id:
        raise PrecisionError(f"{path} is {found.precision} of {found.stamp.run_id}, not int8 of {session.stamp.run_id}")
    return found


def check(reference: Session, candidate: Session, *, is_wanted: Callable[[], bool] = lambda: True) -> Check:
    """Have two sessions color the same photographs in turns.

    Args:
        reference: in float32.
        candidate: what is to take its place.
        is_wanted: see `find_faster`.

    Returns:
        How far apart the pictures are, and how long the second took over the first.

    Raises:
        PrecisionError: the candidate fails, or nobody wants to know any more.
    """
    apart, seconds = [], {reference: [0.0], candidate: [0.0]}
    for L in _photographs():
        if not is_wanted():
            raise PrecisionError("nobody wants to know any more")
        prepared = _prepare(L, reference)
        expected = _colors(prepared, reference)
        try:
            found = _colors(prepared, candidate)
        except Exception as error:  # Runtimes' own exceptions have no common root but Exception.
            raise PrecisionError(f"{candidate.runtime.name} loads the model but does not run it: {error}") from error
        apart.append(_difference(expected, found))
        for session, spent in seconds.items():
            took = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                session.run([prepared.query])
                took.append(time.perf_counter() - started)
            spent.append(min(took))  # Whatever else the machine does only adds to it.
    return Check(float(np.mean(apart)), sum(seconds[candidate]) / sum(seconds[reference]))


def _photographs() -> Iterator[StoredLightness]:
    """Yield the lightness of photographs, one in each of the usual proportions."""
    folder = resources.files("service") / "page"
    for index, proportion in enumerate(PROPORTIONS):
        data = (folder / PHOTOGRAPHS[index % len(PHOTOGRAPHS)]).read_bytes()
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if gray is None:
            raise PrecisionError(f"{PHOTOGRAPHS[index % len(PHOTOGRAPHS)]} of the page cannot be read")
        height, width = gray.shape
        rows, columns = min(height, round(width / proportion)), min(width, round(height * proportion))
        top, left = (height - rows) // 2, (width - columns) // 2
        yield store_lightness(gray[top : top + rows, left : left + columns])


def _prepare(L: StoredLightness, session: Session) -> Prepared:
    return prepare_lightness(L, Options(), session.stamp, deep=False)


def _colors(prepared: Prepared, session: Session) -> Float[np.ndarray, "H W 3"]:
    rgb = finish(prepared, as_kept(session.run([prepared.query])[0]), session.stamp).rgb
    return rgb_u8_to_lab(rgb)


def _difference(first: Float[np.ndarray, "H W 3"], second: Float[np.ndarray, "H W 3"]) -> float:
    return float(delta_e_2000(first, second).mean())
