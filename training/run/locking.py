"""One process a run folder."""

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from training import RunFolderError

log = logging.getLogger(__name__)

LOCK: Final = "lock"

_NO_LOCKS_HERE: Final = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a run folder for the length of the body.

    The lock is the operating system's: it ends with the process, however that ends. The empty file stays.

    Args:
        folder: of the run; made if missing.

    Raises:
        RunFolderError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    except OSError as error:
        raise RunFolderError(f"cannot write to {folder}: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(f"{folder} is in use by another process: stop it, or give another --run") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise RunFolderError(f"cannot lock {folder}: {error}") from error
            log.warning("%s is on a disk without locks: do not start two processes on it", folder)
        yield
