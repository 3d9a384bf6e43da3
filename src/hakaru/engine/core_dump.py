"""A child that dies leaves no image of its memory: what people asked stands in it."""

import resource
import sys
from typing import Final

NONE_AT_ALL: Final = 1
"""Bytes. At this limit Linux also starts no program that would keep the image elsewhere; 0 is left
to that program to respect (fs/coredump.c).
"""


def leave_no_core_dump() -> None:
    """Forbid this process and its children to dump their memory when they crash. Where the system
    allows no byte already, 0 stays: nobody may raise it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = NONE_AT_ALL if sys.platform == "linux" and most != 0 else 0
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
