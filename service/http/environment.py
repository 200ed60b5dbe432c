"""What the environment says beside the settings: names that are nearly one, and the key of a client."""

from collections.abc import Mapping
from ipaddress import ip_address

from service.errors import SettingsError
from service.http.auth import ApiKeys
from service.settings import ENV_PREFIX, Settings, unknown_variables


def check_environment(settings: Settings, keys: ApiKeys, variables: Mapping[str, str]) -> list[str]:
    """Refuse what an operator cannot have meant.

    Args:
        settings: that were read.
        keys: that let callers in.
        variables: the environment.

    Returns:
        What is odd, and no reason not to start.

    Raises:
        SettingsError: a variable is nearly the name of a setting, or the key of a client is set where those of the
            service were meant, and the network can reach it.
    """
    odd = []
    for name, near in unknown_variables(variables).items():
        if near:
            raise SettingsError(f"{name} is no setting: did you mean {near}?")
        odd.append(f"{name} is no setting and has no effect")
    if variables.get(f"{ENV_PREFIX}API_KEY") and not len(keys):
        what = f"{ENV_PREFIX}API_KEY is what clients send; those that open this service are {ENV_PREFIX}API_KEYS"
        if not is_loopback(settings.host):
            raise SettingsError(f"{what}, and none are set: everyone on the network could use it")
        odd.append(what)
    return odd


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
