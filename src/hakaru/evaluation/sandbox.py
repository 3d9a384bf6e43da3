"""Python that nobody trusts, run with tests: without network, with limits of time, memory, files and processes.

The code runs in a process of its own, in an empty folder that is removed, with Python's isolated mode, as a user of a namespace of
its own that has no network (unshare(2), Linux). Where the system allows no such namespace, nothing is run and the reason is told: a
sandbox that leaks is none. Left out: what a namespace does not hide, such as files that everybody may read.
"""

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

SECONDS: Final = 10
MEMORY_BYTES: Final = 512 * 2**20
FILE_BYTES: Final = 2**20
PROCESSES: Final = 0
_NEWUSER: Final = 0x10000000
_NEWNET: Final = 0x40000000


@cache
def why_no_sandbox() -> str | None:
    """Why Python cannot be run safely here; None where it can."""
    if not sys.platform.startswith("linux"):
        return f"no namespaces on {sys.platform}"
    done = subprocess.run([sys.executable, "-I", "-c", "pass"], preexec_fn=_enter_or_exit, capture_output=True, check=False)
    return None if done.returncode == 0 else "the system allows no namespace without a network"


def passes(code: str, tests: str, *, seconds: float = SECONDS) -> bool:
    """Whether `tests` run to their end after `code`. Nothing that happens in there is an error here."""
    assert why_no_sandbox() is None
    mark = os.urandom(16).hex()  # the last line says it; code that ends early, or prints, cannot
    reader, writer = os.pipe()
    program = f"{code}\n\n{tests}\n\nimport os as _os\n_os.write({writer}, b'{mark}')\n"
    try:
        with tempfile.TemporaryDirectory(prefix="hakaru-sandbox-") as folder:
            (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
            subprocess.run(
                [sys.executable, "-I", "-S", "-B", "program.py"], cwd=folder, env={}, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds, check=False, pass_fds=(writer,),
                preexec_fn=_confine,
            )  # fmt: skip
        os.set_blocking(reader, False)
        return os.read(reader, 1000) == mark.encode()
    except (subprocess.TimeoutExpired, BlockingIOError):
        return False
    finally:
        os.close(reader)
        os.close(writer)


def _confine() -> None:
    """In the child: no network, and the limits."""
    _enter_or_exit()
    for what, limit in (
        (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NPROC, PROCESSES),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))


def _enter_or_exit() -> None:
    if ctypes.CDLL(None).unshare(_NEWUSER | _NEWNET) != 0:
        os._exit(1)
