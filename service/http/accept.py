"""Which format a caller wants the answer in, by the Accept header of the request (RFC 9110, section 12.5.1)."""

import re
from typing import Final, NamedTuple

from service.engine.parcel import JSON_TYPE, ZIP_TYPE
from service.errors import NotAcceptable
from service.pictures.answer_formats import MEDIA_TYPES, OutputFormat

OPAQUE_TYPE: Final = "application/octet-stream"
"""What generated clients ask for when they want a file, whatever is in it."""

_RANGE: Final = re.compile(r"([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)", re.ASCII)

_WEIGHT: Final = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


class Wanted(NamedTuple):
    """What an answer is made of.

    Attributes:
        picture: format of its pictures.
        is_json: whether it is JSON that holds them.
        is_opaque: whether it is called `application/octet-stream`, whatever it is.
    """

    picture: OutputFormat
    is_json: bool
    is_opaque: bool = False


def choose_answer(accept: str, *, packed: bool = False) -> Wanted:
    """Choose the answer that a caller likes best; among equals PNG, which loses nothing, JPEG, WebP, TIFF.

    What is no media range, or has a weight that is none, counts as absent; an empty header lets everything pass. JSON
    must be named, and liked better than every picture; its pictures then have the format that is liked best. Likewise
    `application/octet-stream`, which generated clients name for any file.

    Args:
        accept: value of the header, several of them joined by commas.
        packed: whether there are several pictures, which go into a ZIP file.

    Returns:
        The format of the pictures, and whether they are to be wrapped into JSON.

    Raises:
        NotAcceptable: the caller takes none of them.
    """
    weights = _weights(accept)
    if not weights:
        return Wanted("png", is_json=False)

    def weight(*ranges: str) -> float:
        # The most specific range counts, whatever its weight.
        return next((weights[name] for name in ranges if name in weights), 0.0)

    liking = {name: weight(media_type, "image/*", "*/*") for name, media_type in MEDIA_TYPES.items()}
    best = max(liking, key=lambda name: liking[name])
    most = max(liking[best], weight(ZIP_TYPE, "application/*", "*/*") if packed else 0.0)
    picture: OutputFormat = best if liking[best] else "png"
    opaque, json = weights.get(OPAQUE_TYPE, 0.0), weight(JSON_TYPE, "application/*")
    if opaque > most and opaque >= json:
        return Wanted(picture, is_json=False, is_opaque=True)
    if json > most:
        return Wanted(picture, is_json=True)
    if not most:
        formats = [*MEDIA_TYPES.values(), JSON_TYPE]
        raise NotAcceptable(
            f"The answer is one of {', '.join(formats)}, and the Accept header takes none of them: "
            "add one, send no Accept at all, or choose with the option 'format'.",
            formats=formats,
        )
    return Wanted(picture, is_json=False)


def likes_opaque(accept: str) -> bool:
    """Return whether a caller would rather have any picture called `application/octet-stream` than what it is.

    Args:
        accept: value of the header.
    """
    try:
        return choose_answer(accept).is_opaque
    except NotAcceptable:
        return False


def _weights(accept: str) -> dict[str, float]:
    """Return the weight of each media range, in lower case; parameters other than q are not looked at."""
    weights: dict[str, float] = {}
    for element in accept.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        given = [part for part in parameters if part.startswith("q=")]
        weight = _WEIGHT.fullmatch(given[0]) if given else None
        if _RANGE.fullmatch(name) and (weight or not given):
            weights[name] = float(weight.group(1)) if weight else 1.0
    return weights
