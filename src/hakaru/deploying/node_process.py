"""One process that a cluster needs: on which node, with which command line. Pure.

All targets that start programs by themselves are made of the same processes: a shell script, a
systemd unit and a container are three ways to write one down.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from hakaru.clusters.cluster import LOOPBACK, Node
from hakaru.clusters.ssh import OPTIONS, host_of

Role = Literal["worker", "tunnel", "server"]


class Process(Struct, frozen=True, kw_only=True):
    """A program that runs on a node until it is stopped."""

    node: Node
    role: Role
    name: str  # unique on its node, such as "tunnel-attic"
    command: tuple[str, ...]  # the words, unquoted; it stays in the foreground
    environment: Mapping[str, str] = field(default_factory=dict)
    replica: int = 0  # for which of them it works

    def as_json(self) -> dict[str, object]:
        """The process as it stands in `hakaru deploy --json`."""
        return {
            "node": self.node.name,
            "address": self.node.address,
            "role": self.role,
            "name": self.name,
            "command": list(self.command),
            "environment": dict(self.environment),
        }


def tunnel(
    head: Node, node: Node, *, name: str, begins: str, port: int, replica: int = 0
) -> Process:
    """On `head`, from where it `begins` (HOST:PORT) to `port` on the loopback of `node`."""
    way = f"{begins}:{LOOPBACK}:{port}"
    return Process(
        node=head,
        role="tunnel",
        name=name,
        command=("ssh", "-N", "-T", *OPTIONS, "-L", way, "--", host_of(node)),
        replica=replica,
    )
