"""What of a question's metadata an answer keeps, by its format: the table that the code obeys and the docs show."""

from typing import Final

from service.pictures.answer_formats import OutputFormat

HOLDS: Final[dict[OutputFormat, frozenset[str]]] = {
    "png": frozenset({"iptc", "texts"}),
    "jpeg": frozenset({"iptc", "texts"}),
    "webp": frozenset(),
    "tiff": frozenset({"iptc"}),
}
"""Of what not every format has a place for: which do."""

RESOLUTION, EXIF, XMP, IPTC, TEXTS = "resolution", "EXIF, place included", "XMP", "IPTC-IIM", "texts, comments"

READ: Final[dict[str, str]] = {
    RESOLUTION: "JPEG, PNG, TIFF, BMP, JPEG 2000, EXIF",
    EXIF: "all but BMP, GIF, PNM",
    XMP: "all but BMP, PNM; extended XMP too",
    IPTC: "JPEG, TIFF, PNG, JPEG 2000",
    TEXTS: "PNG, JPEG, GIF",
}
"""Where each kind is looked for."""

KEPT: Final[dict[str, dict[OutputFormat, str]]] = {
    RESOLUTION: {"png": "kept", "jpeg": "kept", "webp": "in EXIF", "tiff": "kept"},
    EXIF: {
        "png": "kept; above 8 MB without maker's note",
        "jpeg": "kept; above 64 kB without maker's note",
        "webp": "kept",
        "tiff": "kept",
    },
    XMP: dict.fromkeys(HOLDS, "kept") | {"png": "kept up to 7 MB"},
    IPTC: {"png": "kept", "jpeg": "kept", "webp": "captions, in XMP", "tiff": "kept"},
    TEXTS: {"png": "kept", "jpeg": "as comments", "webp": "captions, in XMP", "tiff": "captions, in XMP"},
    "thumbnail, profile, `tIME`": dict.fromkeys(HOLDS, "lost"),
}
"""What becomes of each kind in an answer of each format."""
