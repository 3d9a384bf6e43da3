"""The sandbox's inner half: leave the network, the other processes and every file but Python behind, then become the program.

Run as a script by `sandbox.py`, with the standard library alone: `python -I -S confined.py SECONDS MEMORY_BYTES FILE_BYTES PROGRAM`, in
an empty folder in which PROGRAM lies. New namespaces (unshare(2)) take away network, processes and shared memory. The root
becomes a small file system of its own in which Python, the libraries of the system and PROGRAM are, read-only (pivot_root(2),
mount_setattr(2), Linux 5.12). A seccomp filter refuses new processes, also to root, and new namespaces, mounts and sockets. Ends with CANNOT before the program where
the system refuses any of that.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig

CANNOT = 77
_NEW = 0x10000000 | 0x40000000 | 0x00020000 | 0x20000000 | 0x08000000  # user, network, mounts, processes, shared memory
_NOBODY = 65534
_READ_ONLY, _NO_SUID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE, _DETACH = 1, 2, 4, 4096, 16384, 1 << 18, 2
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_SYSCALLS = {
    # audit architecture, pivot_root, and what is refused: clone, fork, vfork, clone3; unshare, setns, mount; memfd_create, socket
    "x86_64": (0xC000003E, 155, (56, 57, 58, 435, 272, 308, 165, 319, 41)),
    "aarch64": (0xC00000B7, 41, (220, 435, 97, 268, 40, 279, 198)),
}
"""linux/audit.h, and the kernel's tables of system calls."""

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


class _Filter(ctypes.Structure):
    _fields_ = [("n", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def main() -> None:
    """Confine this process and run the program in a child that is process 1 of its own world."""
    seconds, memory, file_bytes = (int(text) for text in sys.argv[1:4])
    python, program = os.path.realpath(sys.executable), os.path.realpath(sys.argv[4])
    try:
        architecture, pivot_root, refused = _SYSCALLS[platform.machine()]
        enter_namespaces()
        shrink_root(program, pivot_root)
    except (OSError, KeyError):
        os._exit(CANNOT)
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: with the parent, this ends; with this, process 1 and all of its world
    pid = os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
    _libc.prctl(1, signal.SIGKILL)
    for what, limit in (
        (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_NOFILE, 64),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))
    try:
        refuse(architecture, refused)
    except OSError:
        os._exit(CANNOT)
    os.execv(python, [python, "-I", "-S", "-B", program])  # as nobody, so that the capabilities in here are lost


def enter_namespaces() -> None:
    """New namespaces in which this process is nobody."""
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(_NEW))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{_NOBODY} {user} 1"), ("gid_map", f"{_NOBODY} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def shrink_root(program: str, pivot_root: int) -> None:
    """A root that holds what Python needs and the program, and nothing else; read-only, without devices."""
    root = os.path.join(os.path.dirname(program), "root")
    os.mkdir(root)
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("hakaru", root, "tmpfs", _NO_SUID | _NO_DEVICES)
    for path in [*needed(), program]:
        place = root + path
        if os.path.isdir(path):
            os.makedirs(place, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
        _mount(path, place, None, _BIND | _RECURSIVE)
    for path in ("/lib", "/lib64"):
        if os.path.islink(path) and not os.path.lexists(root + path):
            os.symlink(os.readlink(path), root + path)
    attr = _MountAttr(attr_set=_READ_ONLY | _NO_SUID | _NO_DEVICES)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, root.encode(), _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr)))
    os.chdir(root)
    _check(_libc.syscall(pivot_root, b".", b"."))
    _check(_libc.umount2(b".", _DETACH))
    os.chdir("/")


def needed() -> list[str]:
    """The folders that Python and its libraries lie in, none inside another."""
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    folders |= {os.path.realpath(sys.base_prefix), os.path.dirname(os.path.realpath(sys.executable))}
    folders |= {path for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if os.path.isdir(path) and not os.path.islink(path)}
    with open("/proc/self/maps") as maps:
        folders |= {os.path.dirname(line.split(None, 5)[5].strip()) for line in maps if line.count("/")}
    folders -= {"/", ""}
    return sorted(f for f in folders if os.path.isdir(f) and not any(f.startswith(other + "/") for other in folders))


def refuse(architecture: int, numbers: tuple[int, ...]) -> None:
    """A seccomp filter for this process and what it becomes: these system calls are not permitted, and those of another architecture
    end it.
    """
    load, jump_if, jump_if_at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, error, kill = 0x7FFF0000, 0x00050001, 0x80000000  # error: EPERM
    n = len(numbers)
    rows = [(load, 0, 0, 4), (jump_if, 1, 0, architecture), (answer, 0, 0, kill), (load, 0, 0, 0)]
    rows += [(jump_if_at_least, n + 1, 0, 0x40000000)]  # the other numbers of x86_64 (x32)
    rows += [(jump_if, n - i, 0, number) for i, number in enumerate(numbers)]
    rows += [(answer, 0, 0, allow), (answer, 0, 0, error)]
    program = _Filter(n=len(rows), instructions=b"".join(struct.pack("HBBI", *row) for row in rows))
    _check(_libc.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS
    _check(_libc.prctl(22, 2, ctypes.byref(program), 0, 0))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def _mount(what: str | None, where: str, kind: str | None, flags: int) -> None:
    source, file_system = (text.encode() if text else None for text in (what, kind))
    _check(_libc.mount(source, where.encode(), file_system, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "the system refused")


if __name__ == "__main__":
    main()
