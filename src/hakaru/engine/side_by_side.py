"""How many prompts are answered side by side: as many as their part of the KV cache allows. Pure,
so that it is tested without llama.cpp.

llama.cpp gives every sequence of a context the same number of cells, so that one long prompt makes
all of them long, and takes no more than 256 sequences (LLAMA_MAX_SEQ).
"""

from collections.abc import Sequence
from typing import Final

N_CELLS: Final = 2**14
"""KV cells that a run takes at most; a prompt that needs more is answered alone."""
N_SEQUENCES: Final = 64


def groups_of(cells: Sequence[int]) -> list[range]:
    """Runs of prompts that are answered together, in order. `cells`: the KV cells of each prompt
    with its answer.
    """
    groups: list[range] = []
    longest = 0
    for i, needed in enumerate(cells):
        longest, n = max(longest, needed), len(groups[-1]) + 1 if groups else 1
        if not groups or n > N_SEQUENCES or n * longest > N_CELLS:
            groups.append(range(i, i))
            longest = needed
        groups[-1] = range(groups[-1].start, i + 1)
    return groups
