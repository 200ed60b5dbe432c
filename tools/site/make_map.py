"""The map in docs/architecture.md: rooms and their files from docstrings, layers from pyproject.toml.

python tools/site/make_map.py
"""

import ast
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "architecture.md"
START: Final = "<!-- map: start, written by tools/site/make_map.py -->"
END: Final = "<!-- map: end -->"
PACKAGES: Final = ("photochrom", "chroma", "training", "export", "service")


def rooms(package: str, root: Path = ROOT) -> list[tuple[str, str, list[str]]]:
    """Return the rooms of a package: path, what it is for, and the names of its files.

    Args:
        package: name of a top-level package.
        root: of the repository.
    """
    found = []
    for initial in sorted((root / package).rglob("__init__.py")):
        folder = initial.parent
        text = ast.get_docstring(ast.parse(initial.read_text())) or ""
        files = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("__"))
        found.append((folder.relative_to(root).as_posix(), text.split("\n\n")[0].replace("\n", " "), files))
    return found


def layers(root: Path = ROOT) -> list[tuple[str, list[str]]]:
    """Return the layers inside each package that has some, the outermost first.

    Args:
        root: of the repository.
    """
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [
        (contract["containers"][0], [layer.translate({40: None, 41: None}) for layer in contract["layers"]])
        for contract in contracts
        if contract["type"] == "layers" and "containers" in contract
    ]


def render(root: Path = ROOT) -> str:
    """Return the part of the page between the marks.

    Args:
        root: of the repository.
    """
    rows = [
        f"| `{path}/` | {what} | {', '.join(files)} |"
        for package in PACKAGES
        for path, what, files in rooms(package, root)
    ]
    lines = ["| room | what | files |", "| --- | --- | --- |", *rows, ""]
    for package, order in layers(root):
        shown = " > ".join(f"`{layer}`" for layer in order)
        lines += [f"Layers of `{package}`, each importing only from those after it: {shown}.", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the map anew."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{render()}\n{END}{after}")


if __name__ == "__main__":
    main()
