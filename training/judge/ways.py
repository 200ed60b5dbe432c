"""The ways to turn heads into color that an evaluation compares."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from chroma.bins import load_centers
from chroma.decoding import Knobs
from chroma.emulsions import PAN
from chroma.modes import Mode
from training.judge.plate_scenes import PLATES, SEEN
from training.run.prediction import Decoder
from training.run.run_folder import Run

DO_NOTHING: Final = "do nothing (gray)"
"""The row that leaves every picture as it is."""

MAJORITY: Final = "majority color"
"""The row that gives every pixel the color of the prior's most frequent bin."""

CEILING: Final = "ceiling: true color on the network's grid"
"""The row that answers with the truth, as coarse as the network's heads are: no answer on that grid can be nearer."""

CALM: Final = "calm (vividness 0)"

DEFAULT: Final = "default (vividness 0.5)"

VIVID: Final = "vivid (vividness 1)"

REGRESSION: Final = "regression"

ARGMAX: Final = "argmax"

ANNEALED: Final = "annealed T=0.38"

ORIGINAL_TEMPERATURE: Final = 0.38

TEMPERATURES: Final = (0.2, 0.6, 1.0)
"""Of the annealed mean, besides the original's."""

CAPPED_TAUS: Final = (0.25, 0.5, 0.75, 1.0)

UNCAPPED_TAUS: Final = (0.25, 0.5, 1.0)

CAP: Final = 5.0

NO_CAP: Final = 1e6

VIVIDNESS_STEPS: Final = 11


@dataclass(frozen=True)
class Way:
    """One way to decode.

    Attributes:
        name: row of the table.
        mode: which decoder.
        knobs: what it takes.
        decoder: centers and prior weights.
        plate: what the network sees the photograph through, see `chroma.emulsions`.
    """

    name: str
    mode: Mode
    knobs: Knobs
    decoder: Decoder
    plate: str = PAN

    def ab(self, heads: dict[str, np.ndarray]) -> np.ndarray:
        """Decode heads of N pictures; ab in Lab units, float32, (N, h, w, 2)."""
        return self.decoder.ab(heads, self.mode, self.knobs)

    def settings(self) -> dict[str, Any]:
        """Return what it does, for JSON."""
        return {"mode": self.mode, **asdict(self.knobs), "guard": self.decoder.guard, "plate": self.plate}

    def through(self, plate: str) -> "Way":
        """Return the same way where the network sees what a plate saw."""
        return replace(self, name=plate_name(self.name, plate), plate=plate)


def plate_name(way: str, plate: str) -> str:
    """Return the row of a way through a plate; a panchromatic one sees what the way sees anyhow."""
    return way if plate == PAN else f"{way.partition(' (')[0]}, {plate} plate"


PLATE_WAYS: Final = tuple(plate_name(way, plate) for way in (CALM, DEFAULT, VIVID) for plate in PLATES)
"""Rows of the protocol `plates`."""


def ways_beside_plates(run: Run) -> tuple[Way, ...]:
    """Return `ways_to_decode`, the default followed by itself through old plates."""
    ways = ways_to_decode(run)
    return tuple(seen for way in ways for seen in (way, *(way.through(plate) for plate in SEEN if way.name == DEFAULT)))


def ways_through_plates(run: Run) -> tuple[Way, ...]:
    """Return the ways of `PLATE_WAYS`."""
    return tuple(way.through(plate) for way in ways_to_decode(run)[:3] for plate in PLATES)


def ways_to_decode(run: Run) -> tuple[Way, ...]:
    """Return the ways that the first table compares, the defaults first."""
    decoder, calm, default, vivid = run.decoder(), *(run.curve.at(vividness) for vividness in (0.0, 0.5, 1.0))
    plain = replace(decoder, guard=False)
    return (
        Way(CALM, "annealed", calm, decoder),
        Way(DEFAULT, "annealed", default, decoder),
        Way(VIVID, "annealed", vivid, decoder),
        Way("fused", "fused", default, decoder),
        Way(REGRESSION, "regression", Knobs(1.0, 0.0, 1.0, 1.0), decoder),
        Way(ARGMAX, "argmax", Knobs(1.0, 0.0, 1.0, 1.0), decoder),
        Way(ANNEALED, "annealed", _annealed(ORIGINAL_TEMPERATURE), plain),
        Way("original decode: rebalanced, argmax", "annealed", Knobs(1e-3, 1.0, NO_CAP, 1.0), _original(run)),
    )


def more_ways(run: Run) -> tuple[Way, ...]:
    """Return the ways that only the table of all decoders has: other temperatures, prior corrections."""
    decoder = run.decoder()
    plain = replace(decoder, guard=False)
    temperature = ORIGINAL_TEMPERATURE
    return (
        *(Way(f"annealed T={value:g}", "annealed", _annealed(value), plain) for value in TEMPERATURES),
        *(
            Way(f"prior correction tau={tau:g}, cap {CAP:g}", "annealed", Knobs(temperature, tau, CAP, 1.0), plain)
            for tau in CAPPED_TAUS
        ),
        Way(f"prior correction tau=1, cap {CAP:g}, guard", "annealed", Knobs(temperature, 1.0, CAP, 1.0), decoder),
        *(
            Way(f"prior correction tau={tau:g}, no cap", "annealed", Knobs(temperature, tau, NO_CAP, 1.0), plain)
            for tau in UNCAPPED_TAUS
        ),
        Way("original decode: rebalanced, T=0.38", "annealed", Knobs(temperature, 1.0, NO_CAP, 1.0), _original(run)),
    )


def vividness_ways(run: Run) -> tuple[tuple[float, Way], ...]:
    """Return (vividness, way) along the run's curve, from 0 to 1."""
    decoder = run.decoder()
    named = {0.0: CALM, 0.5: DEFAULT, 1.0: VIVID}
    steps = [round(float(value), 2) for value in np.linspace(0, 1, VIVIDNESS_STEPS)]
    return tuple(
        (value, Way(named.get(value, f"vividness {value:g}"), "annealed", run.curve.at(value), decoder))
        for value in steps
    )


@dataclass(frozen=True)
class Lineup:
    """The ways to decode that take turns on what the network said of a picture.

    Attributes:
        first: scored in full, and first in the report.
        others: scored without SSIM and delta E, which take most of the time.
        curve: the points of the vividness curve, likewise.
    """

    first: tuple[Way, ...]
    others: tuple[Way, ...]
    curve: tuple[tuple[float, Way], ...]

    @property
    def light(self) -> tuple[Way, ...]:
        """All but the first."""
        return (*self.others, *(way for _, way in self.curve))


def line_up(run: Run, names: Sequence[str] | None, *, plates: bool) -> Lineup:
    """Choose what an evaluation compares.

    Args:
        run: whose curve counts.
        names: the only ones; None for all.
        plates: also through the plates of their time.

    Returns:
        The ways, in the order of the report.
    """
    listed = ways_beside_plates(run)
    through = ways_through_plates(run) if plates else ()
    everything = {way.name: way for way in (*listed, *through, *more_ways(run))}
    if names is not None:
        return Lineup(tuple(everything[name] for name in names), (), ())
    first = {way.name for way in listed}
    others = tuple(way for name, way in everything.items() if name not in first)
    return Lineup(listed, others, vividness_ways(run))


def _annealed(temperature: float) -> Knobs:
    return Knobs(temperature, 0.0, 1.0, 1.0)


def _original(run: Run) -> Decoder:
    return Decoder.original(run.prior, load_centers())
