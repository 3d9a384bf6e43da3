"""Python from a model's answer, run with tests (see `program`) where it can do no harm.

`bwrap` (bubblewrap) gives the program Linux namespaces of its own, in which there are no other
processes, no network, and of all files only Python and the system's libraries, read-only. A filter
of system calls (libseccomp) refuses new processes, threads, sockets and namespaces, to root as
well, and the program begins with limits of time, memory and file size. Not prevented:
code may read its own tests and how passing is told, and so pass by cheating; code that breaks the
kernel gets out. Where any part of this is missing or refused, no code is run, and the reason is
told: a sandbox that leaks is none.
"""

import errno
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from hakaru.engine import bubblewrap
from hakaru.evaluation import program
from hakaru.language import say

SECONDS: Final = 10
"""Of processor time, and of waiting for the program."""
MEMORY_BYTES: Final = 512 * 2**20
FILE_BYTES: Final = 2**20
REFUSED: Final = (
    "clone", "clone3", "fork", "vfork", "unshare", "setns", "mount", "memfd_create", "socket",
)  # fmt: skip
"""System calls that the program is not permitted to make."""


def why_no_sandbox() -> str | None:
    """Why Python cannot be run safely here, in the language in use; None where it can."""
    if reason := bubblewrap.why_no_bubblewrap():
        return reason
    if not _filter():
        return say("libseccomp is missing: sudo apt install libseccomp2")
    reason = _refusal()
    return reason and say("the system refuses bubblewrap ({reason})", reason=reason)


def passes(code: str, tests: str, *, before: str = "", seconds: float = SECONDS) -> bool:
    """Whether `tests` pass after `before` and `code`. Whatever the code does inside, no error is
    raised here.
    """
    assert why_no_sandbox() is None
    return _run(code, tests, before=before, seconds=seconds)[0]


@cache
def _refusal() -> str | None:
    """Why bwrap cannot work here, in its words; None where it can. Tried once."""
    has_passed, complaint = _run("", "assert True", is_heard=True)
    return None if has_passed else complaint


def _run(
    code: str, tests: str, *, before: str = "", seconds: float = SECONDS, is_heard: bool = False
) -> tuple[bool, str]:
    """Whether the tests pass; and if `is_heard`, the last line that bwrap wrote to stderr. No
    answer's code is heard, because it may write without end.
    """
    mark = os.urandom(16).hex()  # written by the last line; code that ends early never writes it
    reader, writer = os.pipe()
    texts = [ascii(text.encode("utf-8", "replace").decode()) for text in (before, code, tests)]
    limits = f"limit(seconds={SECONDS}, memory_bytes={MEMORY_BYTES}, file_bytes={FILE_BYTES})"
    sources = f"before={texts[0]}, code={texts[1]}, tests={texts[2]}"
    call = f"run({sources}, writer={writer}, mark=b'{mark}')"
    try:
        with tempfile.TemporaryFile() as rules, tempfile.TemporaryDirectory() as folder:
            rules.write(_filter())
            rules.seek(0)
            file = Path(folder, "program.py")
            source = Path(program.__file__).read_text(encoding="utf-8")
            file.write_text(f"{source}\n\n{limits}\n{call}\n", encoding="utf-8")
            done = subprocess.run(
                _command(file, rules.fileno()),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE if is_heard else subprocess.DEVNULL,
                timeout=seconds,
                check=False,
                pass_fds=(writer, rules.fileno()),
            )
        complaint = (done.stderr or b"").decode(errors="replace").strip().rpartition("\n")[2]
        os.set_blocking(reader, False)
        return os.read(reader, 1000) == mark.encode(), complaint
    except subprocess.TimeoutExpired:
        return False, ""
    except BlockingIOError:
        return False, complaint
    finally:
        os.close(reader)
        os.close(writer)


def _command(file: Path, rules: int) -> list[str]:
    """The command that runs the program in `file` inside bwrap. `rules` is the file descriptor of
    the filter of system calls.
    """
    mounts = [
        word for path in bubblewrap.python_and_libraries() for word in ("--ro-bind-try", path, path)
    ]
    return [
        bubblewrap.program(), *bubblewrap.ALONE,
        "--clearenv", "--uid", "65534", "--gid", "65534", "--seccomp",
        str(rules), *mounts, "--ro-bind", str(file), "/program.py", "--remount-ro", "/", "--chdir",
        "/", os.path.realpath(sys.executable), "-I", "-S", "-B", "/program.py",
    ]  # fmt: skip


@cache
def _filter() -> bytes:
    """The filter of system calls, as the kernel takes it; empty where libseccomp is missing."""
    try:
        from pyseccomp import ALLOW, ERRNO, SyscallFilter
    except (ImportError, RuntimeError, OSError):
        return b""
    rules = SyscallFilter(ALLOW)
    for name in REFUSED:
        rules.add_rule(ERRNO(errno.EPERM), name)
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
