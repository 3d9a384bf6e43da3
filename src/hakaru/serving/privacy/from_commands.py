"""Whether hakaru's commands call anybody: each runs in an empty network namespace, where the kernel
counts what wants to leave.

Where there is no route, Linux refuses a connection or a packet and counts it (`OutNoRoutes` in
/proc/net/snmp and snmp6). A packet to this machine itself is no leak, but UDP is counted as one,
since a name may be asked of a resolver here; the sockets of resolvers are hidden. A command that
works there needs no network; one that also counts nothing asked for none.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hakaru.engine.bubblewrap import program, why_no_bubblewrap
from hakaru.language import say
from hakaru.serving.privacy.leaks import Finding

WITHIN_S: Final = 120.0
RESOLVERS: Final = ("/run/systemd/resolve", "/run/nscd", "/var/run/nscd", "/run/avahi-daemon")
"""Unix sockets by which another process would ask for a name."""
RUN: Final = 'f=$1; shift; "$@"; code=$?; cat /proc/net/snmp /proc/net/snmp6 > "$f"; exit $code'
COUNTED: Final = ("IpOutNoRoutes", "Ip6OutNoRoutes", "UdpOutDatagrams", "Udp6OutDatagrams")
PROXIES: Final = dict.fromkeys(
    ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    "http://192.0.2.1:3128",
) | {"no_proxy": "", "NO_PROXY": ""}
"""Of every command's environment: one elsewhere (RFC 5737), as companies have it. A question that
goes there, though it is for this machine, is counted.
"""


def command_findings(commands: Sequence[tuple[str, Sequence[str]]]) -> list[Finding]:
    """What each command, by its name, asked of the network. The commands are hakaru's arguments."""
    if reason := why_no_bubblewrap():
        return [
            Finding(of="command", name=name, verdict="unknown", evidence=reason)
            for name, _ in commands
        ]
    hakaru = [sys.executable, "-P", "-m", "hakaru"]
    return [counted(name, [*hakaru, *arguments]) for name, arguments in commands]


def counted(name: str, command: Sequence[str]) -> Finding:
    """What one program asked of the network."""
    hidden = [word for path in RESOLVERS if os.path.isdir(path) for word in ("--tmpfs", path)]
    with tempfile.TemporaryDirectory(prefix="hakaru-") as folder:
        kept = Path(folder, "counts")
        kept.touch()
        # servers that run here are out of reach without a network: nobody is to find them
        alone = os.environ | PROXIES | {"XDG_RUNTIME_DIR": folder}
        cut = [program(), "--unshare-net", "--die-with-parent", "--dev-bind", "/", "/", *hidden]
        try:
            done = subprocess.run(
                [*cut, "--", "sh", "-c", RUN, "sh", kept, *command],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=WITHIN_S, check=False, env=alone,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            late = say("it did not end within {seconds:.0f} s", seconds=WITHIN_S)
            return Finding(of="command", name=name, verdict="unknown", evidence=late)
        counts = counts_of(kept.read_text(encoding="ascii"))
    told = ", ".join(f"{key} {counts[key]}" for key in COUNTED if key in counts)
    if any(counts.get(key) for key in COUNTED):
        return Finding(of="command", name=name, verdict="fail", evidence=told)
    if done.returncode != 0 or not counts:
        words = done.stderr.strip().rpartition("\n")[2]
        failed = say("exit code {code}: {words}", code=done.returncode, words=words)
        return Finding(of="command", name=name, verdict="unknown", evidence=failed)
    return Finding(of="command", name=name, verdict="pass", evidence=told)


def counts_of(text: str) -> dict[str, int]:
    """The counters of both files: `Ip: A B` above `Ip: 1 2` -> IpA 1, IpB 2, and `Ip6A 3`."""
    counts: dict[str, int] = {}
    heads: dict[str, list[str]] = {}
    for line in text.splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            counts[first] = int(rest[0])
        elif first in heads:
            counts |= {
                first[:-1] + key: int(n) for key, n in zip(heads.pop(first), rest, strict=True)
            }
        else:
            heads[first] = rest
    return counts
