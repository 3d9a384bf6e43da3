"""The gateway's thread runs as soon as a token comes."""

import ctypes
import os
import platform
import struct
import sys
import threading

import pytest

from hakaru.serving.short_slice import SLICE_NS, take_short_slices

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
LINUX = tuple(int(n) for n in platform.release().split(".")[:2]) if sys.platform == "linux" else ()


def slice_and_nice() -> tuple[int, int]:
    """Of this thread, as the kernel has them."""
    told = ctypes.create_string_buffer(56)
    number = SCHED_GETATTR[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, 0, told, len(told), 0) == 0
    return struct.unpack_from("=Q", told, 24)[0], struct.unpack_from("=i", told, 16)[0]


@pytest.mark.skipif(
    LINUX < (6, 12) or platform.machine() not in SCHED_GETATTR,
    reason="Linux 6.12 is the first that gives slices",
)
def test_the_kernel_gives_the_thread_a_short_slice_and_no_other() -> None:
    """Its niceness stays, and so do the slices of other threads."""
    found: list[tuple[int, int]] = []

    def work() -> None:
        take_short_slices()
        found.append(slice_and_nice())

    before = slice_and_nice()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(SLICE_NS, os.getpriority(os.PRIO_PROCESS, 0))]
    assert slice_and_nice() == before != found[0]
