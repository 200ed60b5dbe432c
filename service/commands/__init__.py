"""The command line: photochrom serve, colorize, compare, doctor and bench.

Exit codes: 0 all done; 1 something failed, or nothing could start; 2 misuse; 130 and 143 ended by Ctrl-C and SIGTERM.
docs/cli.md has the rest. What is heavy is imported inside the commands, so that ``--help`` is instant and OpenCV's own
limits, which it reads when it is imported, can be set first.
"""

from service.commands import bench, colorize, compare, doctor, serve
from service.commands.shared import app

__all__ = ["bench", "colorize", "compare", "doctor", "main", "serve"]


def main() -> None:
    """Run the command line."""
    app()
