"""A child that dies leaves no image of its memory: what people asked stands in it."""

import resource
import sys
from typing import Final

NONE_AT_ALL: Final = 1
"""Bytes. At this limit Linux also starts no program that would keep the image elsewhere; 0 is left
to that program to respect (fs/coredump.c).
"""


def leave_no_core_dump() -> None:
    """Forbid this process and its children to dump their memory when they crash."""
    limit = NONE_AT_ALL if sys.platform == "linux" else 0
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
