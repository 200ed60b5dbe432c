"""What belongs to a picture beside its pixels, as it goes from a question's file into an answer's."""

from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 16 << 20
"""All that is taken of one file; depth maps in XMP have some MB, everything else some kB."""

PROBED_BYTES: Final = 1 << 20
"""All that is looked at for an orientation, before there is room for a picture."""

INCHES_A_METER: Final = 39.3701


@dataclass(frozen=True)
class Text:
    """A text of a PNG, or the comment of a JPEG.

    Attributes:
        keyword: what it is; of comments `COMMENT`.
        text: the text.
    """

    keyword: str
    text: str


COMMENT: Final = "Comment"


@dataclass(frozen=True)
class Metadata:
    """What is carried over.

    Attributes:
        exif: a TIFF structure, without the prefix that JPEG wants; may be empty.
        xmp: an XMP packet; may be empty.
        extended: the segments of extended XMP that belong to it, until they are joined.
        iptc: the datasets of IPTC-IIM; may be empty.
        texts: of PNG, and comments.
        dpi: pixels an inch, across and down; None when the file does not say.
        orientation: by which decoding turns the pixels, 1 to 8 as in EXIF; 0 until it is known.
    """

    exif: bytes = b""
    xmp: bytes = b""
    extended: tuple[bytes, ...] = ()
    iptc: bytes = b""
    texts: tuple[Text, ...] = ()
    dpi: tuple[float, float] | None = None
    orientation: int = 0

    @property
    def nbytes(self) -> int:
        """What it takes in a file at most, but for odd characters; captions are written twice."""
        return len(self.exif) + len(self.xmp) + 3 * len(self.iptc) + sum(8 * len(text.text) for text in self.texts)


NOTHING: Final = Metadata()


@dataclass(frozen=True)
class Note:
    """That colors are computed, and how.

    Attributes:
        software: name and version of the program.
        parameters: model and options, in words.
    """

    software: str
    parameters: str

    @property
    def sentence(self) -> str:
        """The same for where there is room for a text only."""
        return f"Colors computed by {self.software}: {self.parameters}"


def inches(pixels_a_meter: float) -> float:
    """Return a resolution in px an inch, whole where it was whole before somebody wrote it in px a meter."""
    whole = round(pixels_a_meter / INCHES_A_METER)
    return float(whole) if round(whole * INCHES_A_METER) == pixels_a_meter else pixels_a_meter / INCHES_A_METER


def dpi_of(across: float, down: float) -> tuple[float, float] | None:
    """Return a resolution, px an inch, unless it cannot be one."""
    return (across, down) if all(1 <= value <= 65_535 for value in (across, down)) else None
