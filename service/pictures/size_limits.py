"""How large a picture may be, in pixels and in bytes: whoever hits one limit is told both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from service.errors import PictureTooLarge, UploadTooLarge
from service.settings import Settings


@dataclass(frozen=True)
class SizeLimits:
    """The two limits.

    Attributes:
        max_megapixels: largest picture, millions of pixels.
        max_bytes: largest file, bytes.
    """

    max_megapixels: float
    max_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return those of the operator."""
        return cls(settings.max_megapixels, settings.max_upload_bytes)

    def __str__(self) -> str:
        """Both, for people."""
        return f"{self.max_megapixels:g} megapixels and {self.max_bytes / 1e6:g} MB"

    @property
    def facts(self) -> dict[str, Any]:
        """Both, as members of a problem."""
        return {"max_megapixels": self.max_megapixels, "max_bytes": self.max_bytes}

    def check_bytes(self, size: float) -> None:
        """Refuse a file that is too large.

        Args:
            size: of the file, or of as much of it as has come, bytes.

        Raises:
            UploadTooLarge: it is.
        """
        if size > self.max_bytes:
            raise self.too_many_bytes()

    def too_many_bytes(self) -> UploadTooLarge:
        """Return what a file that is too large is refused with."""
        detail = f"The file has too many bytes: at most {self} are taken."
        return UploadTooLarge(detail, limit=self.max_bytes, unit="bytes", **self.facts)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Have a picture with too many pixels refused with both limits.

        Yields:
            Nothing.

        Raises:
            PictureTooLarge: it has.
        """
        try:
            yield
        except PictureTooLarge as error:
            error.detail += f" The limits here are {self}."
            error.args = (error.detail,)
            error.facts |= self.facts
            raise
