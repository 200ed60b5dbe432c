"""Every setting of the service, read once from the environment (prefix ``PHOTOCHROM_``) and handed down.

Nothing else in the service reads the environment. ``docs/operating.md`` holds the table that `settings_table` makes.
"""

import difflib
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "PHOTOCHROM_"
OPENCV_MOST_PIXELS: Final = 2**62
"""A limit that fits into the 64 bits that OpenCV reads it into."""

DAY_S: Final = 86_400.0

MOST_BYTES: Final = 2**50

MAX_MEGAPIXELS: Final[float] = 100
"""Largest picture here, millions of pixels: A3 at 600 dpi has 70."""

MAX_UPLOAD_BYTES: Final = 640_000_000
"""Largest file here, bytes: such a picture of 48 bits a pixel, not compressed, and what a scanner writes beside it."""

OTHER_VARIABLES: Final = frozenset(
    {"API_KEY"}  # of whoever calls a service from here
    | {"CPUS", "MEMORY", "MODELS", "TAG", "PHOTOS", "RECIPE", "WORK", "TRAIN_CPUS", "TRAIN_MEMORY"}  # of Compose
    | {"BUILD_NETWORK", "EXTRAS", "REVISION", "TEST_CLUSTER"}  # of builds and tests
)
"""Names behind ``PHOTOCHROM_`` that are no settings, and mean something."""

LINK_VARIABLE: Final = re.compile(r"SERVICE_(HOST|PORT)(_.+)?|PORT_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?|NAME|ENV_.+")
"""What Docker and Kubernetes put into a container beside a service that is called `photochrom`."""

LEAST_LIKENESS: Final = 0.72
"""Of a name to a setting's, for one that is meant as it: `PROT` is .75 of `PORT`."""

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "int8"]
"""What the network is computed in."""
PrecisionChoice = Literal["auto", Precision]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "text"]


class Settings(BaseSettings):
    """What an operator can choose; environment variables are the field names in capitals behind ``PHOTOCHROM_``."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for every network.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    model: Path | None = Field(
        default=None, description="Path of the ONNX model; empty: the one shipped in the package."
    )
    device: Device = Field(
        default="auto",
        description="`cpu`; `cuda`, which refuses to start without a working GPU; or `auto`: "
        "the GPU when it works, else the CPU.",
    )
    precision: PrecisionChoice = Field(
        default="auto",
        description="Of the network: `float32`; `bfloat16` or `int8`, else no start; `auto`: bfloat16 where it is "
        "faster and colors alike.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Threads of the inference and of the codec pool; 0: the cores this process may use.",
    )
    max_batch: int = Field(
        default=0, ge=0, le=64, description="Most pictures in one inference; 0: 1 on a CPU, 8 on a GPU."
    )

    api_keys: SecretStr = Field(
        default=SecretStr(""),
        description="API keys, separated by commas. Empty: everyone may color pictures.",
    )
    api_keys_file: Path | None = Field(
        default=None, description="File with more API keys, one a line; `#` starts a remark."
    )

    client_header: str = Field(
        default="",
        description="Header in which a trusted proxy names the caller's address, such as `X-Forwarded-For`; its last "
        "entry counts, for who is served next. Empty: the connection's other end.",
    )

    max_upload_bytes: int = Field(
        default=MAX_UPLOAD_BYTES,
        ge=1,
        le=MOST_BYTES,
        description="Largest file, and request body, bytes.",
    )
    max_megapixels: float = Field(default=MAX_MEGAPIXELS, gt=0, description="Largest picture, millions of pixels.")
    max_inflight_megapixels: float = Field(
        default=120,
        gt=0,
        description="Most pixels worked on at once, millions; memory follows this.",
    )
    max_held_bytes: int = Field(
        default=512 * 2**20,
        ge=1,
        le=MOST_BYTES,
        description="Most bytes of uploads and answers in memory; more uploads get 503.",
    )
    spool_dir: Path | None = Field(
        default=None,
        description="Directory of a disk for uploads above 16 MB and large answers; empty: the system's "
        "temporary one, or `/var/tmp` where that is memory.",
    )
    max_spooled_bytes: int = Field(
        default=4 * 2**30,
        ge=0,
        le=MOST_BYTES,
        description="Most bytes there; more uploads get 503. 0 keeps all in memory.",
    )
    least_rate: int = Field(
        default=16_384,
        ge=0,
        le=MOST_BYTES,
        description="Least bytes a second that a caller sends or takes; slower ones are cut off after ten seconds. 0: "
        "none.",
    )
    max_answer_bytes: int = Field(
        default=256 * 2**20,
        ge=1,
        le=MOST_BYTES,
        description="Most bytes of an answer that holds several pictures, or one as JSON.",
    )
    kept_bytes: int = Field(
        default=64 * 2**20,
        ge=0,
        le=MOST_BYTES,
        description="Most bytes of kept pictures; the least recently used go first. 0 switches `/pictures` off.",
    )
    kept_s: float = Field(
        default=900, gt=0, le=DAY_S, description="How long a kept picture stays after its last use, seconds."
    )
    max_queue: int = Field(
        default=64, ge=0, le=100_000, description="Most requests that wait for their turn; more get 503."
    )
    deadline_s: float = Field(
        default=30,
        gt=0,
        le=DAY_S,
        description="Longest time for one picture once its upload is there, seconds, beside half a second for each "
        "megapixel above 20.",
    )

    decode_s: float = Field(
        default=2,
        gt=0,
        le=DAY_S,
        description="Processor time that decoding a picture may take, seconds, beside a quarter of one a megapixel.",
    )

    drain_notice_s: float = Field(
        default=0,
        ge=0,
        le=DAY_S,
        description="After SIGTERM: how long to say `not ready` while still serving, seconds.",
    )
    drain_s: float = Field(
        default=25, ge=0, le=DAY_S, description="After that: how long requests under way may take to end, seconds."
    )

    log_level: LogLevel = Field(default="info", description="Least important messages to log.")
    log_format: LogFormat = Field(
        default="text", description="`text` for people, `json` for machines: one object a line."
    )

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture."""
        return pixels_of(self.max_megapixels)


def pixels_of(megapixels: float) -> int:
    """Return how many pixels so many millions are, at most `OPENCV_MOST_PIXELS`; a fraction counts as one more."""
    # In decimals, as it was written: times 1e6, 2.007 would be more than 2007000 and 4.1 less than 4100000.
    return math.ceil(min(Decimal(str(megapixels)) * 1_000_000, Decimal(OPENCV_MOST_PIXELS)))


def unknown_variables(names: Iterable[str]) -> dict[str, str]:
    """Return the variables that look like settings and are none, each with the one it is nearly; empty where none is.

    Args:
        names: of all variables.
    """
    known = {name.upper() for name in Settings.model_fields}
    found = {}
    for name in sorted(names):
        bare = name.removeprefix(ENV_PREFIX)
        if name == bare or bare in known | OTHER_VARIABLES or LINK_VARIABLE.fullmatch(bare):
            continue
        near = difflib.get_close_matches(bare, sorted(known), n=1, cutoff=LEAST_LIKENESS)
        found[name] = ENV_PREFIX + near[0] if near else ""
    return found


def settings_table() -> str:
    """Return a Markdown table of every setting, for ``docs/operating.md``."""
    rows = ["| variable | default | what |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if str(field.default or "") == "" and field.default != 0 else f"`{field.default}`"
        rows.append(f"| `{ENV_PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"
