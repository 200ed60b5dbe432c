"""service.engine.hint_text: hints are read as described, and of what cannot be read it is said which hint and why."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pydantic import ValidationError

from service.engine.hint_text import HINTS_PATTERN, MAX_HINTS, check_hints, parse_color, parse_hints, parse_share, shown
from service.engine.options import ColorizeQuery

GOOD = "0.5,0.25,c03020;.1,1,#C03020;0,0.0,-12:30.5"


def test_each_form_is_read() -> None:
    first, second, third = parse_hints(GOOD)
    assert (first.x, first.y, second.x, second.y, third.x, third.y) == (0.5, 0.25, 0.1, 1, 0, 0)
    assert first.ab == second.ab
    assert_allclose(first.ab, (55.80, 43.78), atol=0.03)  # as colour-science has it
    assert third.ab == (-12, 30.5)
    assert parse_hints("") == ()
    assert check_hints(GOOD) is GOOD


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2,0,ffffff", "hint 1 of 1: x is '2', not a number from 0 to 1"),
        ("0,0,fff;0,0,ffffff", "hint 1 of 2: 'fff' is no color: six hexadecimal digits such as c03020, or a:b"),
        ("0,0,ffffff;0,-1,ffffff", "hint 2 of 2: y is '-1', not a number from 0 to 1"),
        ("0,0,ffffff;0,0,##fffff", "hint 2 of 2: '##fffff' is no color"),
        (
            "0,0,ffffff;0,0,200:0",
            "hint 2 of 2: '200:0' is no color: .* a:b in Lab units, each above -128 and below 128",
        ),
        ("0,0,ffffff;", "hint 2 of 2: it is empty; a hint is x,y,color, and several are joined with ;"),
        ("0.5,0.5", "hint 1 of 1: '0.5,0.5' has 2 parts; a hint is x,y,color"),
        ("nan,0.5,0:0", "x is 'nan', not a number"),
        (f"0,0,{'z' * 99}", f"'{'z' * 40}...' is no color"),
        (";".join(["0,0,0:0"] * (MAX_HINTS + 1)), "65 hints are given; a picture takes at most 64"),
    ],
)
def test_what_is_wrong_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_hints(text)
    with pytest.raises(ValidationError) as caught:
        ColorizeQuery(hints=text)
    (error,) = caught.value.errors()
    assert re.search(why, error["msg"])
    assert error["loc"] == ("hints",)


def test_single_parts_are_read() -> None:
    assert parse_color("-1.5:0") == (-1.5, 0.0)
    assert parse_share("1.000", "x") == 1
    assert shown("a" * 41) == f"'{'a' * 40}...'"


@given(st.from_regex(HINTS_PATTERN, fullmatch=True) | st.text("0123456789.,;:#-abcdef", max_size=30))
def test_the_description_and_the_reader_agree(text: str) -> None:
    text = text.removesuffix("\n")
    if re.fullmatch(HINTS_PATTERN, text):
        assert len(parse_hints(text)) == (text.count(";") + 1 if text else 0)
    else:
        with pytest.raises(ValueError, match="hint"):
            parse_hints(text)
