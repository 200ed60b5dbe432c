"""What a file is, by its suffix: a photograph, a film, a kind that is not read and what to do about it, or neither."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.pictures.formats import READABLE_SUFFIXES

SUFFIXES: Final = READABLE_SUFFIXES
"""Photographs, in folders and patterns; a file that is named is taken whatever its suffix."""

FILM_SUFFIXES: Final = (
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".wmv", ".asf", ".flv"),
    *(".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".mod", ".tod", ".ts", ".mts", ".m2ts", ".ogv", ".ogm", ".dv", ".mxf"),
)
"""Films, in folders and when they are named."""


@dataclass(frozen=True)
class Unread:
    """Pictures that are not read.

    Attributes:
        what: they are, in words.
        remedy: what to do about it, in words.
    """

    what: str
    remedy: str

    @property
    def reason(self) -> str:
        """Both in a sentence."""
        return f"{self.what} are not read: {self.remedy}"


_GROUPS: Final = (
    (
        Unread("raw files of cameras", "develop them, and save them as TIFF"),
        ".cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .orf .rw2 .rwl .pef .srw .x3f .3fr .fff .iiq .mos .mrw .erf .kdc "
        ".dcr .raw",
    ),
    (Unread("documents of paint programs", "save them as TIFF or PNG"), ".psd .psb .xcf .kra .afphoto .pdn .cpt"),
    (Unread("documents", "extract their pictures, for instance by pdfimages -all"), ".pdf .djvu .djv"),
    (Unread("drawings", "export them as PNG"), ".svg .svgz .eps .ps .ai .wmf .emf .cdr"),
    (Unread("pictures of high dynamic range", "map them to sRGB, and save them as TIFF"), ".exr .hdr .rgbe .pfm"),
    (Unread("animations", "save one frame as PNG"), ".mng .apng .swf"),
    (Unread("raw films of cameras", "render them, for instance as ProRes"), ".braw .r3d .ari .crm"),
    (
        Unread("pictures of these kinds", "convert them to PNG or TIFF, for instance by ImageMagick"),
        ".tga .pcx .sgi .ras .dpx .cin .fit .fits .dds .jxr .wdp .hdp .jng "
        ".pict .pct .xbm .xpm .wbmp .fpx .pcd .ico .icns .bpg .qoi .jbg .jb2 .iff",
    ),
)

UNREAD: Final = {suffix: unread for unread, suffixes in _GROUPS for suffix in suffixes.split()}
"""Pictures and films that are not read, by suffix."""


def is_film(path: Path) -> bool:
    """Return whether a file is taken for a film, by its suffix."""
    return path.suffix.lower() in FILM_SUFFIXES


def unread_kind(path: Path) -> Unread | None:
    """Return what kind of picture that is not read a file is, by its suffix; None where it is no picture."""
    return UNREAD.get(path.suffix.lower())
