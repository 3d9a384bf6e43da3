"""`hakaru serve --generate systemd`: the command line that was typed, as a service of systemd's for
the person who typed it. Sources: systemd.service(5), systemd.syntax(7).
"""

import shutil
import sys
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Final

from hakaru.deploying.unit_words import quoted
from hakaru.language import say

STOPPING_S: Final = 20
"""Seconds that a service has to end, beside those for answers on their way."""
LOCKS: Final = (
    "NoNewPrivileges=true",
    "RestrictSUIDSGID=true",
    "LockPersonality=true",
    "RestrictRealtime=true",
    "SystemCallArchitectures=native",
    "# bubblewrap needs netlink; with RestrictNamespaces=, or a SystemCallFilter= without @mount,",
    "# the engine would not be isolated",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "LimitCORE=0",
)
"""What a person's own manager can hold everywhere, and what leaves bubblewrap its work. Not here:
ProtectSystem= and its like, which do nothing there without a user namespace of the service's own;
MemoryDenyWriteExecute=, since drivers of GPUs compile (not tried). Source: systemd.exec(5).
"""
STOPPED_WHILE_LOADING: Final = (
    "# stopped while the model was still being loaded",
    "SuccessExitStatus=130",
)


def service_unit(words: Iterable[str], *, model: str, drain_s: float) -> str:
    """The unit that runs `hakaru` with `words`. SIGTERM goes to hakaru alone, which ends the engine
    after the answers on their way; what is left then is killed.
    """
    command = " ".join(map(quoted, (str(program()), *map(absolute, words))))
    return "\n".join(
        (
            "[Unit]",
            f"Description=hakaru serves {model.replace('%', '%%')}",
            "",
            "[Service]",
            f"ExecStart={command}",
            "Restart=on-failure",
            "RestartSec=5",
            "KillMode=mixed",
            f"TimeoutStopSec={stops_within_s(drain_s)}",
            *STOPPED_WHILE_LOADING,
            *LOCKS,
            "",
            "[Install]",
            "WantedBy=default.target",
        )
    )


def stops_within_s(drain_s: float) -> int:
    """Seconds that a service has to end which lets answers go on for `drain_s`."""
    return ceil(drain_s) + STOPPING_S


def how_to_start() -> str:
    """What to do with the unit."""
    return say(
        "Put it into ~/.config/systemd/user/hakaru.service, then: systemctl --user enable --now "
        "hakaru. To start without a login: loginctl enable-linger"
    )


def program() -> Path:
    """The program that runs now, as systemd needs it: by its whole path."""
    ours = Path(sys.argv[0])
    if ours.name == "hakaru" and ours.is_file():
        return ours.absolute()
    beside = Path(sys.executable).with_name("hakaru")
    found = shutil.which("hakaru")
    return beside if beside.is_file() or found is None else Path(found)


def absolute(word: str) -> str:
    """A file by its whole path, since a service starts elsewhere; every other word as it is."""
    path = Path(word)
    return str(path.absolute()) if not word.startswith("-") and path.exists() else word
