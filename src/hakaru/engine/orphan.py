"""A child process must not outlive its parent, whatever it is doing and however the parent ends."""

import ctypes
import os
import select
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process when the thread that started it ends.

    Closing stdin is the portable sign and is watched too, but not while C code holds the
    interpreter. A parent that is gone already can send no signal any more: then this process ends
    here.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        stdin = select.poll()
        stdin.register(0, 0)
        if any(event & (select.POLLHUP | select.POLLERR) for _, event in stdin.poll(0)):
            os._exit(0)
