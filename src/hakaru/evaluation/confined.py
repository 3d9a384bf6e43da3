"""The sandbox's inner half: leave the network, the other processes and every writable file behind, then become the program.

Run as a script by `sandbox.py`, with the standard library alone: `python -I -S confined.py SECONDS MEMORY_BYTES FILE_BYTES PROGRAM`. New
namespaces (unshare(2)) take away network, processes and shared memory; all mounts become read-only (mount_setattr(2), Linux
5.12). Ends with CANNOT before the program where the system refuses any of that.
"""

import ctypes
import os
import resource
import signal
import sys

CANNOT = 77
_NEW = 0x10000000 | 0x40000000 | 0x00020000 | 0x20000000 | 0x08000000  # user, network, mounts, processes, shared memory
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _READ_ONLY, _PRIVATE = 442, -100, 0x8000, 1, 1 << 18


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def main() -> None:
    """Confine this process and run the program in a child that is process 1 of its own world."""
    seconds, memory, file_bytes = (int(text) for text in sys.argv[1:4])
    libc = ctypes.CDLL(None, use_errno=True)
    attr = _MountAttr(attr_set=_READ_ONLY, propagation=_PRIVATE)
    if libc.unshare(_NEW) != 0:
        os._exit(CANNOT)
    if libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr)) != 0:
        os._exit(CANNOT)
    libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: with the parent, this ends; with this, process 1 and all of its world
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    libc.prctl(1, signal.SIGKILL)
    for what, limit in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-B", sys.argv[4]])


if __name__ == "__main__":
    main()
