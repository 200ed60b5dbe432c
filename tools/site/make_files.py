"""The tables in docs/files.md: which files are read, what of them is kept and what is lost, from the code.

python tools/site/make_files.py
"""

import sys
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from service.pictures.answer_formats import SUFFIXES  # noqa: E402 - the project need not be installed
from service.pictures.formats import FORMATS, ROUTES  # noqa: E402
from service.pictures.metadata.kept import KEPT, READ  # noqa: E402
from service.pictures.tiff.layout import COLORS, COMPRESSIONS, UNREAD_COLORS  # noqa: E402

PAGE: Final = ROOT / "docs" / "files.md"
START: Final = "<!-- {name}: start, written by tools/site/make_files.py -->"
END: Final = "<!-- {name}: end -->"
LIBRARIES: Final = {
    "opencv": "OpenCV",
    "pillow": "Pillow",
    "imagecodecs": "imagecodecs",
    "pi-heif": "pi-heif",
    "own": "Photochrom",
    "tiff": "Photochrom, imagecodecs",
}
"""Of the decoders that `service.pictures.formats` names."""
NAMES: Final = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}


def render_read() -> str:
    """Return which files are read, and by what."""
    titles = {each.name: each.title for each in FORMATS}
    lines = ["| | | by | because |", "| --- | --- | --- | --- |"]
    lines += [f"| {titles[each.format]} | {each.what} | {LIBRARIES[each.decoder]} | {each.why} |" for each in ROUTES]
    colors = "; ".join(each.name for each in COLORS.values())
    read = dict.fromkeys(_plain(each.name) for each in COMPRESSIONS.values() if each.packing)
    refused = [each.name for each in COMPRESSIONS.values() if not each.packing]
    others = [name.partition(":")[0] for name in UNREAD_COLORS.values()]
    text = f"**TIFF**: {colors}. Compressions: {', '.join(read)}. Refused by name: {', '.join([*others, *refused])}."
    lines += ["", textwrap.fill(text, width=120, break_long_words=False, break_on_hyphens=False)]
    return "\n".join([*lines, ""])


def _plain(name: str) -> str:
    """Return a compression's name without its variant or number."""
    return name.partition(" (")[0]


def render_kept() -> str:
    """Return what is kept of a file, by the format of the answer."""
    lines = [
        f"| | read from | {' | '.join(NAMES[name] for name in SUFFIXES)} |",
        "| --- |" + " --- |" * (1 + len(SUFFIXES)),
    ]
    for kind, row in KEPT.items():
        lines.append(f"| {kind} | {READ.get(kind, '')} | {' | '.join(row[name] for name in SUFFIXES)} |")
    return "\n".join([*lines, ""])


def rewritten(page: str) -> str:
    """Return the page with its tables written anew."""
    for name, table in (("read", render_read()), ("kept", render_kept())):
        start, end = START.format(name=name), END.format(name=name)
        before, _, rest = page.partition(start)
        page = f"{before}{start}\n\n{table}\n{end}{rest.partition(end)[2]}"
    return page


def main() -> None:
    """Write the tables anew."""
    PAGE.write_text(rewritten(PAGE.read_text()))


if __name__ == "__main__":
    main()
