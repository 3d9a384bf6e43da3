"""What a `llama-server` that somebody else made tells of itself: its version and its options."""

import hashlib
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hakaru.engine.build_id import LIBRARIES
from hakaru.engine.environment import engine_environment
from hakaru.engine.log import last_words
from hakaru.errors import EngineRefused, system_reason
from hakaru.language import listed

ANSWERS_WITHIN_S: Final = 60.0  # the first start of a build for a GPU may compile its kernels
_VERSION: Final = re.compile(r"^version: (.+)$", re.MULTILINE)


def version_of_binary(path: Path) -> str:
    """The version of llama.cpp that `--version` prints. Raises EngineRefused if it prints none."""
    output = what_it_says(path, "--version")
    if not (version := _VERSION.search(output)):
        raise EngineRefused(
            "{path} --version gave '{found}', expected the version of a llama-server; name "
            "another program.",
            path=path,
            found=last_words(output.splitlines())[:100],
        )
    return version[1].strip()


def check_options(path: Path, flags: Iterable[str]) -> None:
    """Raises EngineRefused where the program at `path` lacks one of the options that hakaru starts
    a server with.
    """
    options = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", what_it_says(path, "--help")))
    if missing := sorted(flag for flag in flags if flag.startswith("-") and flag not in options):
        raise EngineRefused(
            "{path} does not know {options}; take a newer llama-server, or: hakaru engine use "
            "wheel",
            path=path,
            options=listed(missing),
        )


def identity_of_binary(path: Path) -> str:
    """What the ledger calls a person's program: its file and the libraries beside it, by size and
    time of change.

    A copy with other times is another build: the worst that follows is one measurement too many.
    """
    beside = [
        file
        for file in path.resolve().parent.iterdir()
        if any(end in file.name for end in LIBRARIES)
    ]
    stats = {file.name: file.stat() for file in [path, *beside] if file.is_file()}
    facts = "\n".join(
        f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in sorted(stats.items())
    )
    return f"llama-server own+{hashlib.sha256(facts.encode()).hexdigest()[:8]}"


def what_it_says(path: Path, option: str) -> str:
    """What the program at `path` prints for one option. Raises EngineRefused where it does not
    answer.
    """
    try:
        done = subprocess.run(
            [str(path), option],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=engine_environment(),
            timeout=ANSWERS_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineRefused(
            "{path} {option}: does not answer ({reason}); name another program.",
            path=path,
            option=option,
            reason=_reason(error),
        ) from error
    return done.stdout


def _reason(error: Exception) -> str:
    return system_reason(error) if isinstance(error, OSError) else f"{ANSWERS_WITHIN_S:.0f} s"
