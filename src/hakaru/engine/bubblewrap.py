"""bubblewrap (`bwrap`), which runs a program in Linux namespaces of its own: whether it works here,
and what every program in it may read.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Final

from hakaru.language import say

ALONE: Final = (
    "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
)  # fmt: skip
"""No network, no other processes, no terminal, no capabilities; `bwrap` itself adds that no
privileges can be gained. It ends with its parent.
"""
ANSWERS_WITHIN_S: Final = 10.0


def why_no_bubblewrap(*options: str) -> str | None:
    """Why programs cannot be isolated here, in the language in use; None where they can. `options`
    are more of `bwrap`, which must work, too.
    """
    if not sys.platform.startswith("linux"):
        return say("{system} has no namespaces", system=sys.platform)
    if shutil.which("bwrap") is None:
        return say("bubblewrap is missing: sudo apt install bubblewrap")
    complaint = _complaint(options)
    if complaint is None:
        return None
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return say("AppArmor forbids user namespaces ({reason})", reason=complaint)
    if "0" in (_setting("kernel/unprivileged_userns_clone"), _setting("user/max_user_namespaces")):
        return say("user namespaces are switched off ({reason})", reason=complaint)
    return say("the system refuses bubblewrap ({reason})", reason=complaint)


def program() -> str:
    """The path of `bwrap`, or its name where it is missing."""
    return shutil.which("bwrap") or "bwrap"


def python_and_libraries() -> list[str]:
    """The folders of Python and of the system's libraries, outer ones first, and the loader's
    cache.
    """
    python = {sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))}
    python |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    libraries = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/etc/ld.so.cache"}
    return sorted({os.path.realpath(path) for path in python} - {"/"} | libraries)


@cache
def _complaint(options: tuple[str, ...]) -> str | None:
    """Why bwrap does not start a program, in its words; None where it does. Tried once."""
    try:
        done = subprocess.run(
            [program(), "--ro-bind", "/", "/", *ALONE, *options, "true"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", timeout=ANSWERS_WITHIN_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]


def _setting(name: str) -> str | None:
    """A setting of the kernel; None where it does not exist."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None
