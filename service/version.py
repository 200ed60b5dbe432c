"""Which version of the package this is."""

from functools import cache
from importlib import metadata


@cache
def program_version() -> str:
    """Return the version of the installed package."""
    try:
        return metadata.version("photochrom")
    except metadata.PackageNotFoundError:  # Run from a source tree that is not installed.
        return "0+source"
