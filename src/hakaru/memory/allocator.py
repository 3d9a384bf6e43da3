"""llama.cpp's graph allocator: where every tensor of a graph lies, and so how large the buffer
becomes.

A tensor is given memory when it is computed and gives it back after its last use; the smallest free
block that holds it is taken, and the buffer grows at its end only when none does. A result may take
the place of a source of the same shape that nobody else needs. Who is given and gives back what
does not depend on sizes: it is worked out once per graph (`steps_of`), and only the search for free
blocks runs for every setting (`Memory`).

Source: llama.cpp, ggml/src/ggml-alloc.c.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from hakaru.memory.graph import Size, Tensor

ALIGNMENT: Final = 32
ENDLESS: Final = 2**62
GIVE, TAKE_BACK, REUSE = 0, 1, 2

Step: TypeAlias = tuple[int, int, int, int, int]
"""What to do, the tensor, its size (an index into `sizes`), and for REUSE the tensor whose place is
taken and its size.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What one stretch of a graph does to memory. Tensors are numbered; `inputs` and the entry come
    from outside.
    """

    steps: tuple[Step, ...]
    sizes: tuple[Size, ...]
    names: tuple[str, ...]
    exits: tuple[int, ...]


def steps_of(
    nodes: Sequence[Tensor],
    outside: Sequence[Tensor],
    exits: Sequence[Tensor],
    ending: Collection[Tensor],
) -> Steps:
    """The steps of `nodes`.

    `outside` are tensors that others made and own; those in `ending` are needed here for the last
    time. `exits` are what the next stretch goes on with: nobody gives them back here.
    """
    users: dict[Tensor, int] = {}
    views: dict[Tensor, int] = {}
    for node in nodes:
        if node.root is not None:
            views[node.root] = views.get(node.root, 0) + 1
        for source in node.sources:
            users[source] = users.get(source, 0) + 1
    numbers = {tensor: i for i, tensor in enumerate(outside)}
    sizes: dict[Size, int] = {}
    held = {tensor for tensor in outside if tensor in ending}
    steps: list[Step] = []

    def size(tensor: Tensor) -> int:
        return sizes.setdefault(tensor.size, len(sizes))

    def reusable(node: Tensor) -> Tensor | None:
        for source in node.sources if node.in_place else ():
            alone = users[source] == 1 and not views.get(source)
            if (
                source in held
                and alone
                and not source.kept
                and source not in exits
                and source.shape == node.shape
            ):
                return source
        return None

    for node in nodes:
        if node.root is None:
            numbers[node] = len(numbers)
            place = reusable(node)
            if place is None:
                steps.append((GIVE, numbers[node], size(node), 0, 0))
            else:
                steps.append((REUSE, numbers[node], size(node), numbers[place], size(place)))
                held.discard(place)
            held.add(node)
        for source in node.sources:
            users[source] -= 1
            if users[source] or views.get(source):
                continue
            owner = source
            if source.root is not None:
                owner = source.root
                views[owner] -= 1
                if views[owner] or users.get(owner):
                    continue
            if owner in held and not owner.kept and owner not in exits:
                steps.append((TAKE_BACK, numbers[owner], size(owner), 0, 0))
                held.discard(owner)
    names = tuple(tensor.name for tensor in numbers)
    return Steps(
        tuple(steps), tuple(sizes), names, tuple(numbers[tensor.root or tensor] for tensor in exits)
    )


class Memory:
    """A buffer during one run: its free blocks by address, the last of them endless, and how far it
    has grown.
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
        """Do the steps. `where` has the addresses of what comes from outside, and room for all."""
        for step in steps.steps:
            self.run_step(step, sizes, where)

    def run_step(self, step: Step, sizes: Sequence[int], where: list[int]) -> None:
        """Do one step."""
        what, tensor, size, other, other_size = step
        if what == GIVE:
            where[tensor] = self.give(sizes[size])
        elif what == TAKE_BACK:
            self.take_back(where[tensor], sizes[size])
        else:
            where[tensor] = where[other]
            if sizes[other_size] > sizes[size]:
                self.take_back(where[other] + sizes[size], sizes[other_size] - sizes[size])


def bytes_of(size: Size, values: Mapping[str, int]) -> int:
    """A size in bytes, rounded up as the allocator does."""
    n_bytes = 0
    for factor, letters in size:
        for letter in letters:
            factor *= values[letter]
        n_bytes += factor
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT
