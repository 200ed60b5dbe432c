"""Hints as text, `x,y,RRGGBB;x,y,a:b`: read, and what is wrong with which of them said."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import numpy as np
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from chroma.hints import LARGEST_AB, Hint
from chroma.lab import rgb_u8_to_lab

T = TypeVar("T")

MAX_HINTS: Final = 64
"""How many points of a picture can have a color given."""

SHARE_PATTERN: Final = r"(?:0(?:\.[0-9]{1,20})?|\.[0-9]{1,20}|1(?:\.0{1,20})?)"

_AB: Final = r"-?(?:12[0-7]|1[01][0-9]|[0-9]{1,2})(?:\.[0-9]{1,20})?"

COLOR_PATTERN: Final = rf"(?:#?[0-9A-Fa-f]{{6}}|{_AB}:{_AB})"

_HINT: Final = rf"{SHARE_PATTERN},{SHARE_PATTERN},{COLOR_PATTERN}"

HINTS_PATTERN: Final = rf"^(?:{_HINT}(?:;{_HINT}){{0,{MAX_HINTS - 1}}})?$"
"""What is taken, for descriptions; what is wrong with the rest is said by `check_hints`."""

_SHOWN: Final = 40
"""So many characters of what cannot be read are shown."""


def parse_color(text: str) -> tuple[float, float]:
    """Read a color.

    Args:
        text: `RRGGBB`, with or without `#`, or `a:b` in Lab units.

    Returns:
        a and b, Lab units; what is in sRGB counts by these two.

    Raises:
        ValueError: it is no color; the text says why.
    """
    if not re.fullmatch(COLOR_PATTERN, text):
        raise ValueError(
            f"{shown(text)} is no color: six hexadecimal digits such as c03020, "
            f"or a:b in Lab units, each above -{LARGEST_AB:g} and below {LARGEST_AB:g}"
        )
    if ":" in text:
        a, b = (float(value) for value in text.split(":"))
    else:
        _, a, b = (float(value) for value in rgb_u8_to_lab(np.frombuffer(bytes.fromhex(text[-6:]), np.uint8)))
    return a, b


def parse_share(text: str, name: str) -> float:
    """Read a place between two borders of a picture.

    Args:
        text: from 0 to 1.
        name: what it is called, for the error.

    Raises:
        ValueError: it is none; the text says why.
    """
    if not re.fullmatch(SHARE_PATTERN, text):
        raise ValueError(f"{name} is {shown(text)}, not a number from 0 to 1")
    return float(text)


def parse_hints(text: str) -> tuple[Hint, ...]:
    """Read hints.

    Args:
        text: `x,y,RRGGBB` or `x,y,a:b`, joined with `;`; empty for none.

    Raises:
        ValueError: it cannot be read, or there are more than `MAX_HINTS`; the text says which hint is wrong, and why.
    """
    return parse_each(text, "hint", MAX_HINTS, _parse_hint)


def parse_each(text: str, kind: str, most: int, parse: Callable[[str], T]) -> tuple[T, ...]:
    """Read what is joined with `;`.

    Args:
        text: empty for none.
        kind: what one of them is called, for the error.
        most: how many a picture takes.
        parse: reads one; raises ValueError with what is wrong.

    Raises:
        ValueError: one cannot be read, or there are too many; the text says which is wrong, and why.
    """
    entries = text.split(";") if text else []
    if len(entries) > most:
        raise ValueError(f"{len(entries)} {kind}s are given; a picture takes at most {most}")
    read = []
    for place, entry in enumerate(entries, start=1):
        try:
            read.append(parse(entry))
        except ValueError as error:
            raise ValueError(f"{kind} {place} of {len(entries)}: {error}") from error
    return tuple(read)


def _parse_hint(entry: str) -> Hint:
    parts = entry.split(",")
    if len(parts) != 3:
        what = f"{shown(entry)} has {len(parts)} parts" if entry else "it is empty"
        raise ValueError(f"{what}; a hint is x,y,color, and several are joined with ;")
    return Hint(parse_share(parts[0], "x"), parse_share(parts[1], "y"), parse_color(parts[2]))


def check_hints(text: str) -> str:
    """Refuse text that `parse_hints` cannot read, as pydantic wants it refused.

    Raises:
        PydanticCustomError: it cannot be read.
    """
    try:
        parse_hints(text)
    except ValueError as error:
        raise PydanticCustomError("hints", "{why}", {"why": str(error)}) from error
    return text


def shown(text: str) -> str:
    """Return what somebody sent, in quotes, cut where it is long."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return repr(cut)


def described(pattern: str, text: str, example: str) -> Any:
    """Return the field of an option that is text of a form: the description has a pattern, the errors have words."""
    return Field(description=text, examples=[example], json_schema_extra={"pattern": pattern})


HintsText = Annotated[
    str,
    AfterValidator(check_hints),
    described(
        HINTS_PATTERN,
        f"Points whose color is known, at most {MAX_HINTS}: `x,y,RRGGBB` or `x,y,a:b` (Lab), joined with `;`; x and y "
        "are shares of width and height, from the top left.",
        "0.5,0.25,c03020;0.1,0.9,-12:30",
    ),
]
"""The option `hints` of requests and of the command line."""
