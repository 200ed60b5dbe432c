"""The programs that the package installs; each says in a line which extra it lacks."""

import sys
from importlib import import_module

from photochrom import missing


def photochrom() -> None:
    """Run ``photochrom``."""
    _run("service.commands", "photochrom", "service")


def photochrom_train() -> None:
    """Run ``photochrom-train``."""
    _run("training.cli", "photochrom-train", "training")


def photochrom_export() -> None:
    """Run ``photochrom-export``."""
    _run("export.__main__", "photochrom-export", "export")


def _run(module: str, program: str, extra: str) -> None:
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        sys.exit(f"{program}: {missing(program, extra, error)}")
    main()
