"""Tables beside the photographs: CSV files with a header, read row by row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from training import DataError


def read_table(path: Path, columns: Sequence[str], required: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and the wanted columns of each row; what a row or the whole table lacks is empty.

    Raises:
        DataError: the file cannot be read, or lacks a required column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = set(required) - set(header)
            if missing:
                raise DataError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
            places = [header.index(name) if name in header else len(header) for name in columns]
            for number, row in enumerate(reader, 2):
                if row:
                    padded = row + [""] * (len(header) + 1 - len(row))
                    yield number, [padded[place] for place in places]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from error
