"""Who may color pictures: API keys, compared in constant time, before a byte of the body is read.

Without keys everyone may. Keys come from the environment, from a file (a mounted secret), or both; several are good for
handing one to each caller, and for changing one without a moment in which nobody gets in.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from service.errors import KeysError, Unauthorized
from service.settings import ENV_PREFIX, Settings

KEY_PATTERN: Final = re.compile(r"[!-~]{16,256}")
"""A key: 16 to 256 printable ASCII characters, no blanks."""

KEY_HEADER: Final = "X-API-Key"
"""Header that may carry a key instead of ``Authorization: Bearer``."""

FINGERPRINT_LENGTH: Final = 8
"""Hexadecimal digits of a key's sha256 that name it in the log."""


class ApiKeys:
    """The keys that open the service; holds their hashes only."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Take keys; none leaves the service open to everyone.

        Args:
            keys: the keys.

        Raises:
            KeysError: something that is no key; the text does not repeat it.
        """
        self._digests: list[bytes] = []
        for number, key in enumerate(keys, start=1):
            if not KEY_PATTERN.fullmatch(key):
                raise KeysError(f"API key number {number} is not 16 to 256 printable ASCII characters without blanks")
            self._digests.append(hashlib.sha256(key.encode()).digest())

    @classmethod
    def of(cls, settings: Settings) -> "ApiKeys":
        """Collect the keys that an operator has set.

        Args:
            settings: the operator's.

        Raises:
            KeysError: the file cannot be read or names no key, or something is no key.
        """
        given = settings.api_keys.get_secret_value()
        keys = [key.strip() for key in given.split(",") if key.strip()]
        if given and not keys:
            raise KeysError(f"{ENV_PREFIX}API_KEYS is set and holds no key: leave it out to let everyone in")
        if settings.api_keys_file is not None:
            from_file = _read_lines(settings.api_keys_file)
            if not from_file:
                raise KeysError(f"{settings.api_keys_file} holds no API key: one a line, # starts a remark")
            keys += from_file
        return cls(keys)

    def renew(self, settings: Settings) -> None:
        """Take the keys that are set now in place of these; they decide about the next request.

        Raises:
            KeysError: as `of`; or there are none any more, which would open the service. These stay.
        """
        fresh = ApiKeys.of(settings)
        if self._digests and not fresh._digests:
            raise KeysError("no API key is left, and the service would be open: start it anew without any")
        self._digests = fresh._digests

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._digests)

    def admit(self, *given: str | None) -> str:
        """Let a caller in.

        Args:
            *given: the keys that came with the request; one that is right is enough.

        Returns:
            The key's fingerprint for the log; empty where no key is needed.

        Raises:
            Unauthorized: keys are needed, and this is none of them.
        """
        if not self._digests:
            return ""
        # Hashes have one length, and every one is compared: time tells nothing of the keys.
        digests = [hashlib.sha256((key or "").encode(errors="replace")).digest() for key in given]
        matches = [digest for digest in digests for known in self._digests if hmac.compare_digest(digest, known)]
        if not matches:
            what = "The API key is none of this service's" if any(given) else "This service needs an API key"
            raise Unauthorized(f"{what}: send it as 'Authorization: Bearer KEY' or '{KEY_HEADER}: KEY'.")
        return matches[0].hex()[:FINGERPRINT_LENGTH]


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysError(f"{ENV_PREFIX}API_KEYS_FILE={path} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
