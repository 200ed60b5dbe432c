"""Which format a caller wants the answer in, by the Accept header of the request (RFC 9110, section 12.5.1)."""

import re
from typing import Final

from service.errors import NotAcceptable
from service.images import MEDIA_TYPES, OutputFormat

_RANGE: Final = re.compile(r"([!#$%&'*+.^_`|~\w-]+)/([!#$%&'*+.^_`|~\w-]+)", re.ASCII)
_WEIGHT: Final = re.compile(r"q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


def choose_format(accept: str) -> OutputFormat:
    """Choose the format that a caller likes best; among equals PNG, which loses nothing, then JPEG, then WebP.

    What is no media range, or has a weight that is none, counts as absent; an empty header lets everything pass.

    Args:
        accept: value of the header, several of them joined by commas.

    Returns:
        The format.

    Raises:
        NotAcceptable: the caller takes none of them.
    """
    weights = _weights(accept)
    if not weights:
        return "png"

    def weight(output_format: OutputFormat) -> float:
        # The most specific range counts, whatever its weight.
        ranges = (MEDIA_TYPES[output_format], "image/*", "*/*")
        return next((weights[name] for name in ranges if name in weights), 0.0)

    best = max(MEDIA_TYPES, key=weight)
    if not weight(best):
        raise NotAcceptable(
            f"The answer is one of {', '.join(MEDIA_TYPES.values())}, and the Accept header takes none of them: "
            "add one, send no Accept at all, or choose with the option 'format'.",
            formats=list(MEDIA_TYPES.values()),
        )
    return best


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
