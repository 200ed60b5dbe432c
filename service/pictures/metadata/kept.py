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

READ: Final[dict[str, str]] = {
    "resolution": "JFIF, `pHYs`, TIFF tags, BMP header, EXIF",
    "EXIF, with place and maker's notes": "JPEG, PNG (`eXIf` anywhere, `Raw profile type` texts), WebP, TIFF, DNG",
    "XMP": "JPEG (extended too), PNG, WebP, TIFF; `.xmp` beside the file (command line)",
    "IPTC-IIM": "JPEG, TIFF, PNG (`Raw profile type`)",
    "texts and comments": "PNG texts, JPEG comments",
}
"""Where each kind is looked for."""

KEPT: Final[dict[str, dict[OutputFormat, str]]] = {
    "resolution": {"png": "kept", "jpeg": "kept, whole dpi", "webp": "kept, in EXIF", "tiff": "kept"},
    "EXIF, with place and maker's notes": {
        "png": "kept",
        "jpeg": "kept; above 64 kB without maker's notes",
        "webp": "kept",
        "tiff": "kept",
    },
    "XMP": {"png": "kept", "jpeg": "kept, extended above 64 kB", "webp": "kept", "tiff": "kept"},
    "IPTC-IIM": {"png": "kept; captions in XMP too", "jpeg": "kept", "webp": "captions, in XMP", "tiff": "kept"},
    "texts and comments": {
        "png": "kept",
        "jpeg": "kept as comments; title, author, description, copyright in XMP too",
        "webp": "title, author, description, copyright, in XMP; a comment where nothing else is a caption",
        "tiff": "as WebP",
    },
    "thumbnail": dict.fromkeys(("png", "jpeg", "webp", "tiff"), "lost: it is gray"),
    "color profile": dict.fromkeys(("png", "jpeg", "webp", "tiff"), "sRGB's instead"),
    "other Photoshop resources, PNG `tIME`": dict.fromkeys(("png", "jpeg", "webp", "tiff"), "lost"),
}
"""What becomes of each kind in an answer of each format."""
