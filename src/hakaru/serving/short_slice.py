"""A thread that works little and often runs as soon as it wakes, though every processor is busy.

The engine's threads wait for each other by spinning, so a processor is never free while it answers.
Linux lets a thread that wakes wait until the running one has used its slice, some milliseconds, and
a token that should be on its way to a client waits with it. From Linux 6.12 on, a thread may ask
for a shorter slice: the scheduler then lets it in at once, and takes the processor away as much
sooner. It gets no more of the processor than before, and needs no privilege. Source: Linux,
kernel/sched/fair.c (PREEMPT_SHORT) and sched_setattr(2).
"""

import ctypes
import os
import platform
import struct
import sys
from typing import Final

SLICE_NS: Final = 100_000
"""The shortest slice that there is."""
SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""The number of the system call, which the C library does not know before glibc 2.41."""
_ATTRIBUTES: Final = "=IIQiIQQQII"
"""`struct sched_attr`: its size, policy, flags, niceness, priority, runtime (the slice), deadline,
period, and two bounds of utilization. Source: linux/sched/types.h.
"""


def take_short_slices() -> None:
    """Ask for short slices for this thread. Other systems, and an older Linux, go on as before."""
    number = SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and number:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        size = struct.calcsize(_ATTRIBUTES)
        wanted = struct.pack(_ATTRIBUTES, size, 0, 0, nice, 0, SLICE_NS, 0, 0, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, wanted, 0)
