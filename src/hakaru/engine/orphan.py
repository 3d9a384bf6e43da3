"""A child process must not outlive its parent, whatever it is doing and however the parent ends."""

import ctypes
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process when the thread that started it ends.

    Closing stdin is the portable sign and is watched too, but not while C code holds the interpreter.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
