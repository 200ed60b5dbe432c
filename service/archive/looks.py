"""Looks: how each of many photographs is to be colored, as the page writes it down and the command line obeys.

A file of looks is JSON. It names photographs by the sha256 of their files, so that it does not matter where they lie:

    {"photochrom_looks": 1,
     "model": {"digest": "<sha256>", "precision": "float32"},
     "pictures": {"<sha256>": {"name": "fig.jpg", "options": {"vividness": 0.8, "variant": 3},
                               "hints": ["0.5,0.25,c03020"], "reference": "<sha256>"}},
     "references": {"<sha256>": "<the file, base64>"}}
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chroma.variants import MOST_VARIANTS
from service.archive.finding import read_file
from service.client.requests import ColorizeOptions
from service.engine.options import ColorizeQuery, Options
from service.engine.region_text import MAX_TEXT
from service.errors import RequestError

MOST_BYTES: Final = 256 << 20
"""Of a file of looks, which holds its references."""
MOST_LOOKS: Final = 20_000
MOST_REFERENCES: Final = 500
NAMES_SHOWN: Final = 5
"""So many files are named that a look is for and that are not there."""

FILE_OPTIONS: Final = frozenset({"format", "depth", "metadata", "note"})
"""Options that say how an answer is written, not how it is colored: those of the call hold."""

UNNAMED: Final = "no look is for it: colored by the options of this call"
"""What is said of a photograph that a file of looks does not name."""

_DIGEST: Final = r"^[0-9a-f]{64}$"

Digest = Annotated[str, Field(pattern=_DIGEST)]


class LooksError(Exception):
    """A file of looks cannot be obeyed; the text says where and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Point(_Strict):
    x: Annotated[float, Field(ge=0, le=1)]
    y: Annotated[float, Field(ge=0, le=1)]
    color: str

    def as_text(self) -> str:
        return f"{self.x:.6f},{self.y:.6f},{self.color}"


class _LookEntry(_Strict):
    name: Annotated[str, Field(max_length=1000)] = ""
    options: dict[str, Any] = Field(default_factory=dict, max_length=50)
    hints: list[Annotated[str, Field(max_length=200)] | _Point] = Field(default_factory=list, max_length=1000)
    regions: list[Annotated[str, Field(max_length=MAX_TEXT)]] = Field(default_factory=list, max_length=100)
    reference: Digest | None = None


class _ModelEntry(BaseModel):
    digest: Digest
    precision: Annotated[str, Field(max_length=20)] = ""


class _LooksFile(BaseModel):
    photochrom_looks: Literal[1]
    model: _ModelEntry | None = None
    pictures: dict[Digest, _LookEntry] = Field(max_length=MOST_LOOKS)
    references: dict[Digest, str] = Field(default_factory=dict, max_length=MOST_REFERENCES)


class _LookQuery(ColorizeQuery):
    """The options of a look: those of ``POST /colorize``, but one version instead of several."""

    variant: Annotated[int, Field(ge=1, le=MOST_VARIANTS)] = 1
    variants: Literal[1] = 1


@dataclass(frozen=True)
class Look:
    """How one photograph is to be colored.

    Attributes:
        digest: sha256 of its file.
        name: of its file, when the look was written down.
        query: the options for the colors.
        version: which of the plausible versions, from 1.
        reference: sha256 of the photograph whose palette is followed; or None.
    """

    digest: str
    name: str
    query: ColorizeQuery
    version: int
    reference: str | None

    def options_like(self, others: Options) -> Options:
        """Return the options for the colors, with those for the file of others.

        Args:
            others: of the call.
        """
        return replace(
            self.query.to_options(),
            variants=(self.version,),
            depth=others.depth,
            metadata=others.metadata,
            note=others.note,
        )

    def asked_like(self, others: ColorizeOptions) -> ColorizeOptions:
        """Return the same for a service, which gives the versions up to the one that is wanted.

        Args:
            others: of the call.
        """
        colors = self.query.model_dump(exclude={*FILE_OPTIONS, "variants", "variant"}, exclude_defaults=True)
        asked: Any = colors | {name: value for name, value in others.items() if name in FILE_OPTIONS}
        if self.version > 1:
            asked["variants"] = self.version
        options: ColorizeOptions = asked
        return options


@dataclass(frozen=True)
class Looks:
    """What a file of looks says.

    Attributes:
        name: of the file.
        digest: sha256 of the model that it was made with; empty where it does not say.
        precision: of that model: float32, float16 or int8; empty where it does not say.
        by_digest: looks, by the sha256 of the photograph's file.
        references: files of color photographs, by their sha256.
    """

    name: str
    digest: str
    precision: str
    by_digest: Mapping[str, Look]
    references: Mapping[str, bytes]

    def find(self, data: bytes) -> Look | None:
        """Return the look of a photograph, if there is one.

        Args:
            data: the file.
        """
        return self.by_digest.get(hashlib.sha256(data).hexdigest())

    def of_file(self, path: Path) -> Look | None:
        """Return the look of a photograph by its path; None as well where it cannot be read."""
        digest = _digest_of(path)
        return None if digest is None else self.by_digest.get(digest)

    def other_model(self, digest: str, precision: str = "") -> str:
        """Return in words that a model is not the one that the looks were made with; empty where it is.

        Args:
            digest: sha256 of the model's file.
            precision: of it; empty where nobody knows.
        """
        if not self.digest or digest == self.digest:
            return ""
        theirs, ours = (
            f"{name} {kind}".strip() for name, kind in ((self.digest[:12], self.precision), (digest[:12], precision))
        )
        return f"{self.name} was made with another model, {theirs}, and this is {ours}: the colors may differ"

    def unmet(self, met: Set[str], failed: Iterable[Path] = ()) -> list[str]:
        """Return the names of the files that there are looks for and that are not there.

        Args:
            met: digests of the looks of all files that are colored.
            failed: the other files; they are read only where a look is still without a file.
        """
        missing = {digest: look for digest, look in self.by_digest.items() if digest not in met}
        for path in failed if missing else ():
            missing.pop(_digest_of(path) or "", None)
        return [look.name or digest for digest, look in missing.items()]


def say_unmet(looks: Looks, names: list[str]) -> str:
    """Return in words which looks met no file; empty where all did.

    Args:
        looks: that were read.
        names: from `Looks.unmet`.
    """
    if not names:
        return ""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    files = f"{len(names)} of its {len(looks.by_digest)} looks"
    return f"{looks.name}: {files} met no file that was named: {', '.join(names[:NAMES_SHOWN])}{more}"


def read_looks(path: Path) -> Looks:
    """Read a file of looks.

    Args:
        path: of it.

    Raises:
        LooksError: it cannot be read, is none, is too large, or a part of it makes no sense.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise LooksError(f"{path.name} has more than {MOST_BYTES >> 20} MiB")
        told = _LooksFile.model_validate(json.loads(read_file(path)))
    except OSError as error:
        raise LooksError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise LooksError(f"{path.name}: {_first(error)}") from error
    except (ValueError, RecursionError) as error:
        raise LooksError(f"{path.name} is no JSON") from error
    references = {digest: _decoded(path, digest, text) for digest, text in told.references.items()}
    looks = {digest: _look(path, digest, entry) for digest, entry in told.pictures.items()}
    for digest, look in looks.items():
        if look.reference is not None and look.reference not in references:
            raise LooksError(f"{path.name}: pictures.{digest[:12]}: its reference is not among the references")
    model = told.model
    return Looks(path.name, model.digest if model else "", model.precision if model else "", looks, references)


def _look(path: Path, digest: str, entry: _LookEntry) -> Look:
    hints = ";".join(hint if isinstance(hint, str) else hint.as_text() for hint in entry.hints)
    options = entry.options | ({"hints": hints} if hints else {})
    options |= {"regions": ";".join(entry.regions)} if entry.regions else {}
    try:
        query = _LookQuery.model_validate(options)
    except ValidationError as error:
        raise LooksError(f"{path.name}: pictures.{digest[:12]} ({entry.name}): {_first(error)}") from error
    return Look(digest, entry.name, query, query.variant, entry.reference)


def _decoded(path: Path, digest: str, text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise LooksError(f"{path.name}: references.{digest[:12]} is no base64") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise LooksError(f"{path.name}: references.{digest[:12]} holds another file")
    return data


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(part[:12] if isinstance(part, str) and len(part) == 64 else str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _digest_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except (OSError, RequestError):
        return None
