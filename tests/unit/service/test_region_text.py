"""service.engine.region_text: regions are read as described, and of what cannot be read it is said which and why."""

import re

import pytest
from pydantic import ValidationError

from chroma.regions import Mark, Region
from service.engine.options import ColorizeQuery
from service.engine.region_text import MAX_TEXT, REGIONS_PATTERN, check_regions, parse_regions

GOOD = "-12:30@0.8/0.5,0.25,0.02/~0.1,0.9,0.02;gray/0.2,0.2,0.6,0.3,0.03;#c03020/0,1,0"


def test_each_form_is_read() -> None:
    first, second, third = parse_regions(GOOD)
    assert first == Region((-12.0, 30.0), (Mark(((0.5, 0.25),), 0.02), Mark(((0.1, 0.9),), 0.02, takes_away=True)), 0.8)
    assert second == Region((0.0, 0.0), (Mark(((0.2, 0.2), (0.6, 0.3)), 0.03),), 1.0)
    assert third.marks == (Mark(((0.0, 1.0),), 0.0),)
    assert parse_regions("") == ()
    assert check_regions(GOOD) is GOOD
    assert re.fullmatch(REGIONS_PATTERN, GOOD)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("c03020", "region 1 of 1: 'c03020' has no mark; a region is COLOR/x,y,radius"),
        ("gray/0.5,0.5,0;blue/0,0,0", "region 2 of 2: 'blue' is no color"),
        ("gray/0.5,0.5", "region 1 of 1: '0.5,0.5' is no mark: x,y,radius or x,y,x,y,...,radius"),
        ("gray/2,0.5,0", "x is '2', not a number from 0 to 1"),
        ("gray/0,0,9", "its radius is '9', not a number"),
        ("gray@2/0,0,0", "its strength is '2', not a number"),
        ("gray/~0,0,0", "its first mark takes away; begin with one that adds"),
        ("gray/", "'' is no mark"),
        (";".join(["gray/0,0,0"] * 17), "17 regions are given; a picture takes at most 16"),
        ("gray" + "/0,0,0" * 65, "it has 65 marks; at most 64 are taken"),
        ("gray/" + "0,0," * 401 + "0", "a stroke has at most 400 points"),
        ("gray/0,0,0" + "0" * MAX_TEXT, "the regions have 16394 characters; at most 16384 are taken"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_regions(text)
    with pytest.raises(ValidationError) as caught:
        ColorizeQuery(regions=text)
    (error,) = caught.value.errors()
    assert why in error["msg"]
    counted = "at most" in why and "regions are" not in why  # a pattern that counted these would be huge
    assert bool(re.fullmatch(REGIONS_PATTERN, text)) == (counted and len(text) <= MAX_TEXT)
