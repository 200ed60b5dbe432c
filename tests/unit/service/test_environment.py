"""service.http.environment: variables that are nearly settings, and a client's key where the service's were meant."""

import pytest
from pydantic import SecretStr, ValidationError

from service.errors import KeysError, SettingsError
from service.http.auth import ApiKeys
from service.http.environment import check_environment, is_loopback
from service.settings import Settings, unknown_variables

KEY = "a-key-of-a-client"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PHOTOCHROM_PROT", "PHOTOCHROM_PORT"),
        ("PHOTOCHROM_MAX_MEGAPIXEL", "PHOTOCHROM_MAX_MEGAPIXELS"),
        ("PHOTOCHROM_APIKEYS", "PHOTOCHROM_API_KEYS"),
        ("PHOTOCHROM_API_KEY_FILE", "PHOTOCHROM_API_KEYS_FILE"),
        ("PHOTOCHROM_DEADLINE", "PHOTOCHROM_DEADLINE_S"),
    ],
)
def test_a_near_miss_is_refused_and_says_which_was_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is no setting: did you mean {meant}"):
        check_environment(Settings(), ApiKeys(), {name: "1"})


@pytest.mark.parametrize(
    "name",
    [
        "PHOTOCHROM_PORT_80_TCP",
        "PHOTOCHROM_PORT_80_TCP_ADDR",
        "PHOTOCHROM_PORT_443_UDP_PROTO",
        "PHOTOCHROM_SERVICE_HOST",
        "PHOTOCHROM_SERVICE_PORT",
        "PHOTOCHROM_SERVICE_PORT_HTTP",
        "PHOTOCHROM_NAME",
        "PHOTOCHROM_MODELS",
        "PHOTOCHROM_TAG",
        "PHOTOCHROM_PORT",
        "PORT",
    ],
)
def test_what_containers_compose_and_others_set_is_let_be(name: str) -> None:
    assert unknown_variables([name]) == {}


def test_what_is_like_none_is_told_and_no_more() -> None:
    assert check_environment(Settings(), ApiKeys(), {"PHOTOCHROM_ZZZ": "1"}) == [
        "PHOTOCHROM_ZZZ is no setting and has no effect"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.9"])
def test_a_clients_key_alone_is_told_where_only_this_machine_gets_in(host: str) -> None:
    (odd,) = check_environment(Settings(host=host), ApiKeys(), {"PHOTOCHROM_API_KEY": KEY})
    assert "PHOTOCHROM_API_KEYS" in odd
    assert KEY not in odd


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "photos.example"])
def test_and_refused_where_everyone_would(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match="none are set") as caught:
        check_environment(Settings(host=host), ApiKeys(), {"PHOTOCHROM_API_KEY": KEY})
    assert KEY not in str(caught.value)
    assert check_environment(Settings(host=host), ApiKeys([KEY]), {"PHOTOCHROM_API_KEY": KEY}) == []


@pytest.mark.parametrize("keys", [" ", ",", " , ,"])
def test_a_list_of_blanks_is_no_list_of_keys(keys: str) -> None:
    with pytest.raises(KeysError, match="PHOTOCHROM_API_KEYS is set and holds no key"):
        ApiKeys.of(Settings(api_keys=SecretStr(keys)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drain_notice_s", 1e300),
        ("drain_s", 1e9),
        ("deadline_s", 1e6),
        ("kept_s", 1e9),
        ("threads", 10**6),
        ("max_queue", 10**9),
        ("max_upload_bytes", 2**60),
        ("max_held_bytes", 2**60),
    ],
)
def test_settings_have_upper_bounds(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match="less than or equal"):
        Settings(**{name: value})  # type: ignore[arg-type]
