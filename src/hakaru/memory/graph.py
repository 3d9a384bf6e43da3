"""A compute graph as an allocator sees it: what each tensor takes, what it is computed from, whose
place it may take.

Sizes are formulas, since the graph of a model is the same for every context and micro-batch: a
shape is made of numbers and of letters, whose values `allocator` fills in. T is the tokens of a
micro-batch, S the conversations, t the tokens of one conversation in a micro-batch (T / S), O the
rows whose logits are kept, C the cells of one conversation, W the cells of a layer with a window, N
the pools of cells: one per conversation, or one for all. Weights and caches lie elsewhere and are
left out; so are tensors without elements.

Source: llama.cpp, ggml/src/ggml.c (order of nodes, views) and ggml/src/ggml-alloc.c
(ggml_op_can_inplace).
"""

from collections.abc import Iterable
from math import prod
from typing import TypeAlias

Dim: TypeAlias = int | str
Shape: TypeAlias = tuple[Dim, ...]
Size: TypeAlias = tuple[tuple[int, str], ...]
"""A sum of terms: bytes times the values of some letters."""


class Tensor:
    """A node or an input. `root` is the tensor whose memory a view shows, None for one that has its
    own.

    `plain` tells that its elements lie one after another, so that a result of the same shape may
    take its place.
    """

    __slots__ = ("in_place", "kept", "name", "plain", "root", "shape", "size", "sources")

    def __init__(
        self,
        name: str,
        shape: Shape,
        size: Size,
        sources: tuple["Tensor", ...] = (),
        *,
        root: "Tensor | None" = None,
        plain: bool = True,
        in_place: bool = False,
        kept: bool = False,
    ) -> None:
        self.name, self.shape, self.size, self.sources = name, shape, size, sources
        self.root, self.plain, self.in_place, self.kept = root, plain, in_place, kept


OUTSIDE = Tensor("outside", (), ())
"""Stands for weights, caches and states: their views take nothing."""


def size_of(shape: Shape, n_bytes: int = 4) -> Size:
    """Bytes of a tensor whose elements take `n_bytes` each."""
    letters = "".join(sorted(d for d in shape if isinstance(d, str)))
    return (
        (
            prod(d for d in shape if isinstance(d, int)) * n_bytes,
            "T" if letters == "St" else letters,
        ),
    )


class Graph:
    """Nodes in the order in which they are computed. The methods are the operations, by their
    effect on memory.
    """

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self._seen: set[Tensor] = set()

    def expand(self, tensor: Tensor) -> Tensor:
        """Append everything that `tensor` needs, sources from left to right, then itself."""
        if tensor not in self._seen:
            self._seen.add(tensor)
            for source in tensor.sources:
                self.expand(source)
            if tensor.sources:
                self.nodes.append(tensor)
        return tensor

    def new(
        self, name: str, shape: Shape, *sources: Tensor, size: Size | None = None, n_bytes: int = 4
    ) -> Tensor:
        """A result with memory of its own."""
        return Tensor(name, shape, size_of(shape, n_bytes) if size is None else size, sources)

    def mul_mat(self, x: Tensor, rows: int, name: str) -> Tensor:
        """A weight matrix of so many rows times `x`."""
        return self.new(name, (rows, *x.shape[1:]), x)

    def like(self, x: Tensor, *others: Tensor, name: str = "") -> Tensor:
        """A result of the same shape, which takes the place of a source that nobody else needs."""
        return Tensor(name or x.name, x.shape, size_of(x.shape), (x, *others), in_place=True)

    def view(self, x: Tensor, shape: Shape, *, plain: bool = False) -> Tensor:
        """Another look at the same memory; `plain` where its elements lie one after another."""
        return Tensor(x.name, shape, (), (x,), root=x.root or x, plain=plain)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """A view of all elements in another shape."""
        return self.view(x, shape, plain=True)

    def store(self, x: Tensor, *indices: Tensor) -> None:
        """Copy `x` into a cache or a state."""
        self.expand(Tensor(x.name, (), (), (x, *indices), root=OUTSIDE))

    def stored(self, tensors: Iterable[Tensor]) -> None:
        """Expand several."""
        for tensor in tensors:
            self.expand(tensor)
