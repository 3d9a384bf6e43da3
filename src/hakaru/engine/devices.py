"""The accelerators that a build of llama.cpp can use, as the build itself lists them."""

import json
import re
import subprocess
from typing import Final

from msgspec import Struct

from hakaru.engine.binary import ANSWERS_WITHIN_S, what_it_says
from hakaru.engine.builds import Build
from hakaru.engine.environment import child_environment
from hakaru.engine.log import last_words
from hakaru.engine.process import child_command
from hakaru.errors import EngineRefused

_LISTED: Final = re.compile(r"^ +(\w+): (.+) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)


class EngineDevice(Struct, frozen=True, kw_only=True):
    """An accelerator that a build can use."""

    name: str  # as the build calls it: CUDA0
    description: str  # NVIDIA L4
    total_bytes: int
    free_bytes: int

    def as_json(self) -> dict[str, object]:
        """The device as it stands in `--json`."""
        return {
            "name": self.name,
            "description": self.description,
            "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes,
        }


def devices_of(build: Build) -> list[EngineDevice]:
    """The accelerators that `build` can use; empty for one that computes on the processor. Raises
    EngineRefused.
    """
    if build.server is None:
        return _of_wheel()
    return [
        EngineDevice(
            name=name,
            description=text,
            total_bytes=int(total) * 2**20,
            free_bytes=int(free) * 2**20,
        )
        for name, text, total, free in _LISTED.findall(what_it_says(build.server, "--list-devices"))
    ]


def _of_wheel() -> list[EngineDevice]:
    done = subprocess.run(
        child_command("hakaru.engine.devices_child"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=child_environment(),
        timeout=ANSWERS_WITHIN_S,
        check=False,
    )
    if done.returncode:
        raise EngineRefused(
            "the installed wheel does not start ({reason}); install it again: run make",
            reason=last_words(done.stderr.splitlines())[:300],
        )
    return [EngineDevice(**device) for device in json.loads(done.stdout)]
