"""Where a tensor stands in a model: its role and its relative depth.

The role is the tensor's own name in GGUF without layer and suffix: attn_q, ffn_down, ffn_down_exps,
ssm_in, output, token_embd. Tensors of one role at a similar depth share what is known about one of
them. An embedding that also serves as the output (there is no output.weight) has the role of both,
since its damage is that of an output matrix.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

N_DEPTHS: Final = 8
TIED: Final = "output"
HEADS: Final = ("output", "token_embd")
_NAME: Final = re.compile(r"^(?:blk\.([0-9]{1,5})\.)?(.+?)(?:\.weight)?$")


class Place(Struct, frozen=True, kw_only=True):
    """A role and a depth from 0 (first layer) to 1 (last); None stands outside the layers."""

    role: str
    depth: float | None

    def step(self, n_depths: int = N_DEPTHS) -> int:
        """The number of the depth's step, of `n_depths` equal steps; 0 outside the layers."""
        return 0 if self.depth is None else min(int(self.depth * n_depths), n_depths - 1)


def places(names: Iterable[str]) -> dict[str, Place]:
    """The place of every tensor, by name. `names` are all quantized matrices of a model: depth is
    relative to the last layer among them.
    """
    parts = {name: _parts(name) for name in names}
    n_layer = max((layer for layer, _ in parts.values() if layer is not None), default=0) + 1
    is_tied = not any(role == "output" for _, role in parts.values())
    by_name = {}
    for name, (layer, role) in parts.items():
        tied_role = TIED if is_tied and role == "token_embd" else role
        by_name[name] = Place(
            role=tied_role, depth=None if layer is None else (layer + 0.5) / n_layer
        )
    return by_name


def _parts(name: str) -> tuple[int | None, str]:
    """Layer and role in a tensor's name."""
    match = _NAME.match(name)
    if not match:
        return None, name
    return (int(match[1]) if match[1] else None), match[2]
