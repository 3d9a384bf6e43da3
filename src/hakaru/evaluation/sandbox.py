"""Python from a model's answer, run with tests (see `program`): without a network, with no files but Python's, with limits of time and memory.

The inner half (`confined.py`) enters Linux namespaces of its own, in which there are no other processes, no network, and of all files
only Python and the system's libraries, read-only; it may start no process and no thread. What is left: the code may read its own
tests and how passing is told, so one that is out to cheat can; and whoever breaks the kernel is out. Where the system allows no such namespaces nothing is run, and the reason is told: a
sandbox that leaks is none.
"""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from hakaru.evaluation import confined, program
from hakaru.language import say

SECONDS: Final = 10
MEMORY_BYTES: Final = 512 * 2**20
FILE_BYTES: Final = 2**20


def why_no_sandbox() -> str | None:
    """Why Python cannot be run safely here, in the language in use; None where it can."""
    if not sys.platform.startswith("linux"):
        return say("{system} has no namespaces", system=sys.platform)
    return None if _works() else say("the system allows no namespaces without network, files and processes")


@cache
def _works() -> bool:
    return passes("", "assert True", checked=False)


def passes(code: str, tests: str, *, before: str = "", seconds: float = SECONDS, checked: bool = True) -> bool:
    """Whether `tests` pass after `before` and `code`. Nothing that happens in there is an error here."""
    assert not checked or why_no_sandbox() is None
    mark = os.urandom(16).hex()  # the last line says it; code that merely ends early, or prints, does not
    reader, writer = os.pipe()
    texts = [ascii(text.encode("utf-8", "replace").decode()) for text in (before, code, tests)]
    call = f"run(before={texts[0]}, code={texts[1]}, tests={texts[2]}, writer={writer}, mark=b'{mark}')"
    try:
        with tempfile.TemporaryDirectory(prefix="hakaru-sandbox-") as folder:
            file = Path(folder) / "program.py"
            file.write_text(f"{Path(program.__file__).read_text(encoding='utf-8')}\n\n{call}\n", encoding="utf-8")
            limits = [str(n) for n in (SECONDS, MEMORY_BYTES, FILE_BYTES)]
            command = [sys.executable, "-I", "-S", "-B", confined.__file__, *limits, str(file)]
            subprocess.run(
                command, cwd=folder, env={}, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
                check=False, pass_fds=(writer,),
            )  # fmt: skip
        os.set_blocking(reader, False)
        return os.read(reader, 1000) == mark.encode()
    except (subprocess.TimeoutExpired, BlockingIOError):
        return False
    finally:
        os.close(reader)
        os.close(writer)
