"""How many prompts are answered side by side: as many as their part of the KV cache allows. Pure,
so that it is tested without llama.cpp.

llama.cpp gives every sequence of a context the same number of cells, so that one long prompt makes
all of them long, and takes no more than 256 sequences (LLAMA_MAX_SEQ).
"""

from collections.abc import Sequence
from typing import Final

N_CELLS: Final = 2**14
"""Cells of the KV cache that answers take at once; one that needs more stands alone."""
N_SEQUENCES: Final = 64


def groups_of(cells: Sequence[int]) -> list[range]:
    """The places of those that are answered together, in order; `cells` is what each of them
    needs.
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
