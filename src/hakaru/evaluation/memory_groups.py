"""Models in groups that are loaded at the same time."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Weighed(Protocol):
    """Whatever has weights."""

    @property
    def weights_bytes(self) -> int: ...


W = TypeVar("W", bound=Weighed)


def in_groups(several: Sequence[W], room: int) -> list[list[W]]:
    """In order, as many in each group as fit into `room` bytes; at least one."""
    groups: list[list[W]] = []
    used = 0
    for each in several:
        if not groups or used + each.weights_bytes > room:
            groups.append([])
            used = 0
        groups[-1].append(each)
        used += each.weights_bytes
    return groups
