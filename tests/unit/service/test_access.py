"""service.http.access: who calls, told by key or address."""

from typing import Any

import pytest
from fastapi import Request

from service.http.access import caller_of
from service.http.guard import FACTS_KEY
from service.settings import Settings


def request(address: str | None, key: str = "", **headers: str) -> Request:
    class State:
        class services:  # noqa: N801
            settings = Settings(_env_file=None, client_header="X-Forwarded-For" if headers else "")

    class App:
        state = State

    scope: dict[str, Any] = {
        "type": "http",
        "app": App,
        "client": None if address is None else (address, 1234),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        FACTS_KEY: {"key": key} if key else {},
    }
    return Request(scope)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:5555", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("[2001:db8:1:2:9::1]:443", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("a socket", "a socket"),
        ("x" * 100, "x" * 64),
    ],
)
def test_callers_are_told_apart_by_what_a_subscriber_has(address: str, name: str) -> None:
    assert caller_of(request(address)).name == name
    assert caller_of(request("127.0.0.1", x_forwarded_for=f"203.0.113.5, {address}")).name == name


def test_a_key_counts_more_than_an_address() -> None:
    assert caller_of(request("192.0.2.7", "f00f")).name == "f00f"
    assert caller_of(request(None)).name == ""
