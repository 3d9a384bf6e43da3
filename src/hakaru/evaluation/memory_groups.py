"""Models in groups that are loaded at the same time."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Weighed(Protocol):
    """Something with weights that are loaded."""

    @property
    def weights_bytes(self) -> int: ...


W = TypeVar("W", bound=Weighed)


def in_groups(models: Sequence[W], room_bytes: int) -> list[list[W]]:
    """The models in their order: as many in each group as fit into `room_bytes`, at least one."""
    groups: list[list[W]] = []
    used = 0
    for model in models:
        if not groups or used + model.weights_bytes > room_bytes:
            groups.append([])
            used = 0
        groups[-1].append(model)
        used += model.weights_bytes
    return groups
