"""One request as the pipeline sees it: who asks, for what, and what comes out."""

import math
from dataclasses import dataclass, replace
from typing import Any

from chroma.looks import look_shift
from service.engine.options import Options
from service.engine.parcel import Pictures
from service.pictures.answer_formats import OutputFormat
from service.pictures.spooled import FileData


@dataclass(frozen=True)
class Caller:
    """Who asks: callers get their turns fairly.

    Attributes:
        name: the same for all requests of one caller: a fingerprint of its key, or its address.
        deadline: when it stops to wait, `time.monotonic` seconds.
    """

    name: str = ""
    deadline: float = math.inf


@dataclass(frozen=True, eq=False)
class Job:
    """What is asked for: a file and what to make of it.

    Attributes:
        data: the uploaded file, in memory or on the disk.
        options: how to color it.
        output_format: of the pictures in the answer.
        tells: whether the answer also says what the network thinks of the picture.
        reference: a color photograph whose palette is followed, as uploaded; or None.
        caller: who asks.
    """

    data: FileData
    options: Options
    output_format: OutputFormat
    tells: bool = False
    reference: FileData | None = None
    caller: Caller = Caller()

    def with_more_time(self, seconds: float) -> "Job":
        """Return the same job of a caller who waits so much longer."""
        return replace(self, caller=replace(self.caller, deadline=self.caller.deadline + seconds))

    @property
    def moves_posterior(self) -> bool:
        """Whether it takes another posterior than the network's, or asks more of that than its colors."""
        options = self.options
        is_other = self.reference is not None or options.variants != (1,) or look_shift(options.look) is not None
        return self.tells or is_other or bool(options.regions)

    @property
    def is_packed(self) -> bool:
        """Whether the answer is a file that holds pictures, not a picture."""
        return self.tells or len(self.options.variants) > 1


@dataclass(frozen=True, eq=False)
class Result:
    """What comes out.

    Attributes:
        pictures: number and file of each variant.
        scene: name of the scene that the network finds most likely.
        facts: what else there is to tell; empty unless it was asked for.
    """

    pictures: Pictures
    scene: str
    facts: dict[str, Any]
