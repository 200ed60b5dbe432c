"""What the service answers, read: pictures, kept pictures, JSON."""

import io
import json
import zipfile
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import httpx2

from service.client.errors import InvalidRequest, place_of

ZIP_TYPE: Final = "application/zip"

JSON_TYPE: Final = "application/json"


@dataclass(frozen=True)
class Answer:
    """A picture in color.

    Attributes:
        data: the file; empty when `unchanged`.
        media_type: `image/png`, `image/jpeg`, `image/webp` or `image/tiff`, `application/zip` for several variants, or
            `application/json`; empty when `unchanged`.
        etag: names this answer, as it stood in the header; give it back to `colorize` to ask for news only.
        unchanged: the answer that the given `etag` names still holds, and was not sent again.
        scene: what the network takes the picture for.
        model: run that the model comes from.
        request_id: under which the service's log has this request.
        timing_ms: what the service spent on each stage, milliseconds.
        precision: what the network was computed in; empty where the service is too old to say.
    """

    data: bytes = field(repr=False)
    media_type: str
    etag: str = ""
    unchanged: bool = False
    scene: str = ""
    model: str = ""
    request_id: str = ""
    timing_ms: Mapping[str, float] = field(default_factory=dict)
    precision: str = ""

    def pictures(self) -> list[bytes]:
        """Return the files of all variants, the ordinary one first; none when `unchanged`.

        Raises:
            InvalidRequest: the answer is no whole ZIP file, or not the JSON of such a service.
        """
        if self.unchanged:
            return []
        try:
            if self.media_type == JSON_TYPE:
                return [b64decode(picture["data"]) for picture in json.loads(self.data)["pictures"]]
            if self.media_type != ZIP_TYPE:
                return [self.data]
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return [archive.read(name) for name in archive.namelist()]
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
            raise InvalidRequest("the pictures in the answer cannot be read") from error

    def facts(self) -> dict[str, Any]:
        """Return what a JSON answer tells: `scene`, `palette`, `confidence` and so on; empty for any other."""
        told = json.loads(self.data) if self.media_type == JSON_TYPE else {}
        return {name: value for name, value in told.items() if name != "pictures"}


@dataclass(frozen=True)
class Kept:
    """A picture that the service keeps for a while, with what its network says of it.

    Attributes:
        id: names it; opens it to the same API key.
        width: of the upright picture, px.
        height: likewise.
        scenes: what the network takes it for, and how probable that is, the likeliest first.
        confidence: how sure the network is of its colors, mean over the picture, [0, 1].
        expires_in_s: how long it stays after it was last used, unless the room is needed, seconds.
        model: run that the model comes from.
        tone: `applied` where the network saw the picture's tones stretched, else `none`.
        notes: what is to be said of the picture, such as that it holds no grays.
    """

    id: str
    width: int
    height: int
    scenes: tuple[tuple[str, float], ...]
    confidence: float
    expires_in_s: float
    model: str = ""
    tone: str = "none"
    notes: tuple[str, ...] = ()


def kept_of(response: httpx2.Response) -> Kept:
    """Read what is kept.

    Raises:
        InvalidRequest: the answer does not say it.
    """
    told = json_of(response)
    try:
        return Kept(
            id=str(told["id"]),
            width=int(told["width"]),
            height=int(told["height"]),
            scenes=tuple((str(scene["name"]), float(scene["probability"])) for scene in told["scene"]),
            confidence=float(told["confidence"]["mean"]),
            expires_in_s=float(told["expires_in_s"]),
            model=str(told["model"]),
            tone=str(told.get("tone", "none")),
            notes=tuple(str(note) for note in told.get("notes", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"{place_of(response.request)} does not say what it keeps: is this a Photochrom service?",
            status=response.status_code,
        ) from error


def colors_of(response: httpx2.Response) -> list[tuple[str, float]]:
    """Read the colors of a place, and how probable each is.

    Raises:
        InvalidRequest: the answer does not say them.
    """
    told = json_of(response)
    try:
        return [(str(each["color"]), float(each["share"])) for each in told["colors"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"{place_of(response.request)} does not say which colors: is this a Photochrom service?",
            status=response.status_code,
        ) from error


def answer_of(response: httpx2.Response) -> Answer:
    """Read a picture.

    Raises:
        InvalidRequest: the answer is none.
    """
    headers = response.headers
    unchanged = response.status_code == 304
    media_type = headers.get("Content-Type", "").partition(";")[0]
    query = response.request.url.params
    asked = query.get("format")
    picture = "image/" if asked in (None, "json") else f"image/{asked}"
    expected = (picture, JSON_TYPE if asked == "json" else ZIP_TYPE)
    if not unchanged and not media_type.startswith(expected):
        raise InvalidRequest(
            f"{place_of(response.request)} answers with {media_type or 'nothing'}, not with a picture: "
            "is this a Photochrom service?",
            status=response.status_code,
        )
    return Answer(
        data=response.content,
        media_type="" if unchanged else media_type,
        etag=headers.get("ETag", ""),
        unchanged=unchanged,
        scene=unquote(headers.get("X-Photochrom-Scene", "")),
        model=unquote(headers.get("X-Photochrom-Model", "")),
        precision=headers.get("X-Photochrom-Precision", ""),
        request_id=headers.get("X-Request-ID", ""),
        timing_ms=_timing_ms(headers.get("Server-Timing", "")),
    )


def _timing_ms(header: str) -> dict[str, float]:
    """Parse `infer;dur=12.5, encode;dur=3`; what does not read so is left out."""
    timing = {}
    for entry in header.split(","):
        name, _, value = entry.strip().partition(";dur=")
        try:
            timing[name] = float(value)
        except ValueError:
            continue
    return timing


def json_of(response: httpx2.Response) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidRequest: the answer is none.
    """
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise InvalidRequest(
            f"{place_of(response.request)} does not answer with JSON: is this a Photochrom service?",
            status=response.status_code,
        )
    return answer
