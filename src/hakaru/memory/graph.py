"""A compute graph as an allocator sees it: for each tensor its size, its sources, and whether the
result may overwrite a source.

Sizes are formulas, since the graph of a model is the same for every context and micro-batch: a
shape has numbers and letters, and `allocator.bytes_of` puts values in the place of letters.

    T  tokens of a micro-batch          C  cells of one conversation
    S  conversations                    W  cells of a layer with a window
    t  T / S                            N  pools of cells: one per conversation, or one for all
    O  rows whose logits are kept       K  cells that an indexer chooses

Left out: weights and caches, which lie in other buffers, and tensors without elements.

Source: llama.cpp, ggml/src/ggml.c (order of nodes, views) and ggml/src/ggml-alloc.c
(ggml_op_can_inplace).
"""

from collections.abc import Iterable
from functools import lru_cache
from math import prod
from typing import TypeAlias

Dim: TypeAlias = int | str
Shape: TypeAlias = tuple[Dim, ...]
Size: TypeAlias = tuple[tuple[int, str], ...]
"""A sum of terms: bytes times the values of some letters."""


class Tensor:
    """A node or an input.

    `root` is the tensor whose memory a view shows; None for a tensor with memory of its own.
    `plain`: the elements lie one after another, so that a result of the same shape may overwrite
    the tensor. `in_place`: the tensor may overwrite a source. `kept`: the memory is never given
    back.
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
"""Stands for weights, caches and states, which lie in other buffers."""


@lru_cache(maxsize=8192)  # graphs have thousands of tensors, of few shapes
def size_of(shape: Shape, n_bytes: int = 4) -> Size:
    """Bytes of a tensor whose elements take `n_bytes` each."""
    letters = "".join(sorted(dim for dim in shape if isinstance(dim, str)))
    n_elements = prod(dim for dim in shape if isinstance(dim, int))
    return ((n_elements * n_bytes, "T" if letters == "St" else letters),)


class Graph:
    """Nodes in the order in which they are computed. Each method is a kind of operation, told apart
    by what it does to memory.
    """

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self._expanded: set[Tensor] = set()

    def expand(self, tensor: Tensor) -> Tensor:
        """Append the sources of `tensor` from left to right, with all that they need, and then
        `tensor` itself.
        """
        if tensor not in self._expanded:
            self._expanded.add(tensor)
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
        """A weight matrix of `rows` rows times `x`."""
        return self.new(name, (rows, *x.shape[1:]), x)

    def like(self, x: Tensor, *others: Tensor, name: str = "") -> Tensor:
        """A result of the shape of `x`, which overwrites a source that no other node needs."""
        return Tensor(name or x.name, x.shape, size_of(x.shape), (x, *others), in_place=True)

    def view(self, x: Tensor, shape: Shape, *, plain: bool = False) -> Tensor:
        """The memory of `x` in another shape, or a part of that memory. `plain`: the elements lie
        one after another.
        """
        return Tensor(x.name, shape, (), (x,), root=x.root or x, plain=plain)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """All elements of `x` in another shape."""
        return self.view(x, shape, plain=True)

    def store(self, x: Tensor, *indices: Tensor) -> None:
        """Copy `x` into a cache or a state."""
        self.expand(Tensor(x.name, (), (), (x, *indices), root=OUTSIDE))

    def stored(self, tensors: Iterable[Tensor]) -> None:
        """Expand several tensors."""
        for tensor in tensors:
            self.expand(tensor)
