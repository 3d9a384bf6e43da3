"""llama.cpp's graph allocator: where every tensor of a graph lies, and so how large the buffer
becomes.

A tensor gets memory when it is computed, and gives it back after its last use. It gets the smallest
free block that is large enough; without such a block the buffer grows at its end. A result may
overwrite a source of the same shape that no other node needs. The order of these steps does not
depend on sizes, so it is worked out once per graph (`steps_of`). Only the search for free blocks
runs for every setting (`Memory`).

Source: llama.cpp, ggml/src/ggml-alloc.c.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from hakaru.memory.graph import Size, Tensor

ALIGNMENT: Final = 32
ENDLESS: Final = 2**62
GIVE, TAKE_BACK, REUSE = 0, 1, 2

Step: TypeAlias = tuple[int, int, int, int, int]
"""The action, the number of the tensor, and the index of its size in `Steps.sizes`; for REUSE, then
the number of the overwritten tensor, and the index of its size.
"""


class Steps(Struct, frozen=True, eq=False):
    """What one stretch of a graph does to memory. Its tensors are numbered, those from outside
    first.
    """

    steps: tuple[Step, ...]
    sizes: tuple[Size, ...]
    names: tuple[str, ...]  # of all tensors, by their numbers
    exits: tuple[int, ...]  # numbers of the tensors that the next stretch gets


def steps_of(
    nodes: Sequence[Tensor],
    outside: Sequence[Tensor],
    exits: Sequence[Tensor],
    ending: Collection[Tensor],
) -> Steps:
    """The steps of the stretch `nodes`.

    `outside` are tensors from other stretches; those of them in `ending` are used for the last
    time. `exits` are given to the next stretch, so this stretch does not give them back.
    """
    walk = _Walk(nodes, outside, exits, ending)
    for node in nodes:
        if node.root is None:
            walk.place(node)
        for source in node.sources:
            walk.used(source)
    numbers, names = walk.numbers, tuple(tensor.name for tensor in walk.numbers)
    ends = tuple(numbers[tensor.root or tensor] for tensor in exits)
    return Steps(tuple(walk.steps), tuple(walk.sizes), names, ends)


class _Walk:
    """One walk over the nodes of a stretch: who still needs a tensor, and whose memory is held."""

    def __init__(
        self,
        nodes: Sequence[Tensor],
        outside: Sequence[Tensor],
        exits: Sequence[Tensor],
        ending: Collection[Tensor],
    ) -> None:
        self.exits = exits
        self.users: dict[Tensor, int] = {}  # nodes to come that read the tensor
        self.views: dict[Tensor, int] = {}  # views of the tensor that are still read
        for node in nodes:
            if node.root is not None:
                self.views[node.root] = self.views.get(node.root, 0) + 1
            for source in node.sources:
                self.users[source] = self.users.get(source, 0) + 1
        self.numbers = {tensor: i for i, tensor in enumerate(outside)}
        self.sizes: dict[Size, int] = {}
        self.held = {tensor for tensor in outside if tensor in ending}
        self.steps: list[Step] = []

    def place(self, node: Tensor) -> None:
        """A place for what `node` computes: a source's, or one of its own."""
        self.numbers[node] = len(self.numbers)
        place = self._reusable(node)
        if place is None:
            self.steps.append((GIVE, self.numbers[node], self._size(node), 0, 0))
        else:
            size = self._size(node)
            other = self.numbers[place], self._size(place)
            self.steps.append((REUSE, self.numbers[node], size, *other))
            self.held.discard(place)
        self.held.add(node)

    def used(self, source: Tensor) -> None:
        """One of its readers has read `source`; after the last one its place is taken back."""
        users, views = self.users, self.views
        users[source] -= 1
        if users[source] or views.get(source):
            return
        owner = source
        if source.root is not None:
            owner = source.root
            views[owner] -= 1
            if views[owner] or users.get(owner):
                return
        if owner in self.held and not owner.kept and owner not in self.exits:
            self.steps.append((TAKE_BACK, self.numbers[owner], self._size(owner), 0, 0))
            self.held.discard(owner)

    def _size(self, tensor: Tensor) -> int:
        return self.sizes.setdefault(tensor.size, len(self.sizes))

    def _reusable(self, node: Tensor) -> Tensor | None:
        """The source whose place `node` may write into: nobody else reads it."""
        for source in node.sources if node.in_place else ():
            alone = self.users[source] == 1 and not self.views.get(source)
            free = source in self.held and not source.kept and source not in self.exits
            if alone and free and source.shape == node.shape:
                return source
        return None


class Memory:
    """A buffer during one run: its free blocks by address, of which the last is endless, and its
    size so far.
    """

    __slots__ = ("free", "top")

    def __init__(self) -> None:
        self.free: list[tuple[int, int]] = [(0, ENDLESS)]
        self.top = 0

    def give(self, size: int) -> int:
        """The address of a new tensor: in the smallest free block that holds it, else at the
        end.
        """
        free, best, best_size = self.free, -1, ENDLESS
        for i in range(len(free) - 1):
            if size <= free[i][1] <= best_size:
                best, best_size = i, free[i][1]
        address, room = free[best]
        if room == size:
            del free[best]
        else:
            free[best] = (address + size, room - size)
        if best == -1 and address + size > self.top:
            self.top = address + size
        return address

    def take_back(self, address: int, size: int) -> None:
        """Free a block and join it with its neighbours."""
        free, i = self.free, 0
        if not size:
            return
        while free[i][0] < address:
            i += 1
        start, end = address, address + size
        if free[i][0] == end:
            end += free[i][1]
            del free[i]
        if i and sum(free[i - 1]) == start:
            start = free[i - 1][0]
            i -= 1
            del free[i]
        free.insert(i, (start, end - start))

    def run(self, steps: Steps, sizes: Sequence[int], where: list[int]) -> None:
        """Do the steps. `where` has an address for every tensor; at first only those from outside
        are set.
        """
        for step in steps.steps:
            self.run_step(step, sizes, where)

    def run_step(self, step: Step, sizes: Sequence[int], where: list[int]) -> None:
        """Do one step."""
        action, tensor, size, old, old_size = step
        if action == GIVE:
            where[tensor] = self.give(sizes[size])
        elif action == TAKE_BACK:
            self.take_back(where[tensor], sizes[size])
        else:
            where[tensor] = where[old]
            if sizes[old_size] > sizes[size]:
                self.take_back(where[old] + sizes[size], sizes[old_size] - sizes[size])


def bytes_of(size: Size, values: Mapping[str, int]) -> int:
    """A size in bytes, rounded up as the allocator does."""
    n_bytes = 0
    for factor, letters in size:
        for letter in letters:
            factor *= values[letter]
        n_bytes += factor
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
