"""Who gets a core first: the thread that answers callers, before those that work on pictures."""

import os
import sys
import threading
from contextlib import suppress
from typing import Final

NICENESS: Final = 5
"""What working threads give way by: about a third of the share of the others where all cores are taken."""


def give_way() -> None:
    """Lower the priority of the calling thread, and of all that it starts from now on.

    Under load every core is busy; whoever is refused or asks for health must not wait for one. On Linux a thread has a
    niceness of its own. Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
