"""Photochrom for Python programs: color a photograph in this process, or have a service do it.

    from photochrom import colorize, load
    colorize("old.jpg", vividness=0.8).save("new.png")
    color = load("other.onnx")      # a model of one's own; keep what it gives, a model takes seconds to load

    from photochrom import Client   # calls a running service

The package alone depends on nothing: `load` and `colorize` want the extra `service` (or `gpu`), `Client` and
`AsyncClient` the extra `client`. Importing a name whose extra is missing raises an ImportError that says so in a line.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from photochrom.local import Colored, Colorizer, colorize, load
    from service.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "Colored", "Colorizer", "colorize", "load"]

_HOMES: Final = {
    "AsyncClient": ("service.client", "client"),
    "Client": ("service.client", "client"),
    "Colored": ("photochrom.local", "service"),
    "Colorizer": ("photochrom.local", "service"),
    "colorize": ("photochrom.local", "service"),
    "load": ("photochrom.local", "service"),
}
"""Where each name lives, and the extra that it wants."""


_OURS: Final = frozenset({"photochrom", "service", "training", "export", "chroma"})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Raises:
        AttributeError: there is no such name.
        ImportError: its extra is not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, extra = _HOMES[name]
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        raise ImportError(missing(f"photochrom.{name}", extra, error)) from error


def missing(what: str, extra: str, error: ModuleNotFoundError) -> str:
    """Return in a line what is not installed.

    Args:
        what: needs it.
        extra: of this package that brings it.
        error: that told.

    Raises:
        ModuleNotFoundError: what is missing is a part of this package itself.
    """
    if (error.name or "").partition(".")[0] in _OURS:
        raise error
    return f"{what} needs {error.name}, which is not installed: pip install 'photochrom[{extra}]'"


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
