"""Regions as text, `c03020@0.8/0.5,0.25,0.02/~0.1,0.9,0.02`: read, and what is wrong with which of them said."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from chroma.regions import Mark, Region
from service.engine.hint_text import COLOR_PATTERN, SHARE_PATTERN, parse_color, parse_each, parse_share, shown

MAX_REGIONS: Final = 16
MAX_MARKS: Final = 64
"""Of a region."""
MAX_POINTS: Final = 400
"""Of a stroke."""
MAX_TEXT: Final = 16_384
"""Characters of all regions together."""
GRAY: Final = "gray"

_MARK: Final = rf"(?:{SHARE_PATTERN},{SHARE_PATTERN},)+{SHARE_PATTERN}"

_REGION: Final = rf"(?:{COLOR_PATTERN}|{GRAY})(?:@{SHARE_PATTERN})?/{_MARK}(?:/~?{_MARK})*"

REGIONS_PATTERN: Final = rf"^(?:{_REGION}(?:;{_REGION}){{0,{MAX_REGIONS - 1}}})?$"
"""What is taken, for descriptions, but for how many marks and points; what is wrong is said by `check_regions`."""


def parse_regions(text: str) -> tuple[Region, ...]:
    """Read regions.

    Args:
        text: regions joined with `;`. A region is a color (`RRGGBB`, `a:b` or `gray`), perhaps `@` and its strength,
            and marks, each after a `/`: `x,y,radius` is a click, `x,y,x,y,...,radius` a stroke; `~` before it takes
            away.

    Raises:
        ValueError: it cannot be read, or is too much; the text says which region is wrong, and why.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the regions have {len(text)} characters; at most {MAX_TEXT} are taken")
    return parse_each(text, "region", MAX_REGIONS, _parse_region)


def _parse_region(entry: str) -> Region:
    head, *marks = entry.split("/")
    if not marks:
        raise ValueError(f"{shown(entry)} has no mark; a region is COLOR/x,y,radius")
    if len(marks) > MAX_MARKS:
        raise ValueError(f"it has {len(marks)} marks; at most {MAX_MARKS} are taken")
    color, at, strength = head.partition("@")
    ab = (0.0, 0.0) if color == GRAY else parse_color(color)
    if marks[0].startswith("~"):
        raise ValueError("its first mark takes away; begin with one that adds")
    return Region(ab, tuple(map(_parse_mark, marks)), parse_share(strength, "its strength") if at else 1.0)


def _parse_mark(text: str) -> Mark:
    *shares, radius = text.removeprefix("~").split(",")
    if not shares or len(shares) % 2:
        raise ValueError(f"{shown(text)} is no mark: x,y,radius or x,y,x,y,...,radius")
    if len(shares) > 2 * MAX_POINTS:
        raise ValueError(f"a stroke has at most {MAX_POINTS} points")
    values = [parse_share(share, "xy"[place % 2]) for place, share in enumerate(shares)]
    points = tuple(zip(values[::2], values[1::2], strict=True))
    return Mark(points, parse_share(radius, "its radius"), text.startswith("~"))


def check_regions(text: str) -> str:
    """Refuse text that `parse_regions` cannot read, as pydantic wants it refused.

    Raises:
        PydanticCustomError: it cannot be read.
    """
    try:
        parse_regions(text)
    except ValueError as error:
        raise PydanticCustomError("regions", "{why}", {"why": str(error)}) from error
    return text


RegionsText = Annotated[
    str,
    AfterValidator(check_regions),
    Field(
        description=f"Things whose color is known, at most {MAX_REGIONS}, joined with `;`: a color (`RRGGBB`, `a:b` or "
        "`gray`), `@` and a strength, and marks, each after `/`: `x,y,radius` or a stroke `x,y,x,y,...,radius`, `~` "
        "before one that takes away. The region grows from them up to edges.",
        examples=["c03020@0.8/0.5,0.25,0.02/~0.1,0.9,0.02;gray/0.2,0.2,0.6,0.3,0.03"],
        json_schema_extra={"pattern": REGIONS_PATTERN, "maxLength": MAX_TEXT},
    ),
]
"""The option `regions` of requests and of the command line."""
