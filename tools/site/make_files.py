"""The tables in docs/files.md: what is read of a file's metadata, what is kept, what is lost, from the code.

python tools/site/make_files.py
"""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from service.pictures.answer_formats import SUFFIXES  # noqa: E402 - the project need not be installed
from service.pictures.metadata.kept import KEPT, READ  # noqa: E402

PAGE: Final = ROOT / "docs" / "files.md"
START: Final = "<!-- kept: start, written by tools/site/make_files.py -->"
END: Final = "<!-- kept: end -->"
NAMES: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}


def render() -> str:
    """Return the part of the page between the marks."""
    lines = [
        f"| | read from | {' | '.join(NAMES[name] for name in SUFFIXES)} |",
        "| --- |" + " --- |" * (1 + len(SUFFIXES)),
    ]
    for kind, row in KEPT.items():
        lines.append(f"| {kind} | {READ.get(kind, '')} | {' | '.join(row[name] for name in SUFFIXES)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the tables anew."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{render()}\n{END}{after}")


if __name__ == "__main__":
    main()
