"""The blocks of which llama.cpp builds its graphs: norms, attention, feed-forward layers.

Only nodes that change the use of memory are there. A bias, a scale or a rotation by positions
overwrites its source, so it is left out, unless the source is a view that cannot be overwritten.

In all files of graphs `b` is the `Build`, `g` its graph, `m` the shape of the model, and `x` the
tensor that comes in.

Source: llama.cpp, src/llama-graph.cpp (build_norm, build_qkv, build_attn, build_ffn) and
src/models.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.memory.flash_attention import Attention, Backend, scratch
from hakaru.memory.graph import Dim, Graph, Size, Tensor, size_of
from hakaru.models.architectures.parts import blueprint as words
from hakaru.models.shape import Shape

ROTATION_K_MIN, ROTATION_V = 64, 64
PLAIN: Final = words.Attention()


class Layer(NamedTuple):
    """What distinguishes the graph of one layer from another's."""

    n_head: int = 0
    n_head_kv: int = 0
    n_embd_head_k: int = 0
    n_embd_head_v: int = 0
    n_ff: int = 0
    windowed: bool = False  # attention sees a window
    recurrent: bool = False  # the layer keeps a state
    attends: bool = True
    own_kv: bool = True  # False: the layer reads another layer's cache
    indexes: bool = False  # an indexer of the layer's own chooses cells
    number: int = 0  # of the layer, where its graph has a leaf of its own; else 0
    rope: bool = True  # queries and keys are rotated by their positions
    experts: bool = False  # the feed-forward part is a mixture of experts
    first: bool = False  # the first layer, where its graph differs from the others
    sparse: bool = False  # gates keep only values far above the mean
    shared_values: bool = False  # the keys are the values, too
    last: bool = False  # only the rows whose logits are wanted go on
    hands: bool = False  # the next layer gets an extra input from this one
    then: tuple[int, ...] = ()  # widths of dense layers that are computed with this one


class Build(Struct, kw_only=True):
    """A stretch of the graph that is being built: what it is built for, and its nodes so far."""

    model: Shape
    blueprint: words.Blueprint
    layer: Layer = field(default_factory=Layer)
    graph: Graph = field(default_factory=Graph)
    inputs: dict[str, Tensor] = field(default_factory=dict)  # of all stretches, by name
    on_host: dict[str, Size] = field(default_factory=dict)  # one copy of what host memory holds
    one: bool = True  # there is one conversation
    rotate_k: bool = False  # keys are turned before they are stored (see `rotated`)
    rotate_v: bool = False
    cached: bool = True  # False: an encoder, which keeps nothing
    beside: Tensor | None = None  # the extra input from the layer before
    on_device: bool = False  # embeddings are looked up in host memory and copied
    copies: int = 1  # of every input
    normed: bool = False  # the next norm was computed by the device before
    experts_on_host: bool = False
    windows: bool = False  # some layer has a window
    mixed: bool = True  # micro-batches may have tokens and embeddings of images
    backend: Backend = "cpu"
    k_is_f16: bool = True
    v_is_f16: bool = True
    flash: bool = True  # the backend runs flash attention

    def again(self, layer: Layer, beside: Tensor | None = None) -> "Build":
        """The same for another stretch of the graph, which gets the extra input `beside`."""
        return replace(self, layer=layer, graph=Graph(), beside=beside)

    def input(self, name: str, size: Size) -> Tensor:
        """The input of that name; it is made when it is first needed."""
        self.on_host[name] = size
        return self._copied(name, size)

    def host_input(self, name: str, size: Size) -> Tensor | None:
        """The input of that name where the graph runs in host memory; None on a device, for which
        the host keeps it.
        """
        self.on_host[name] = size
        return None if self.on_device else self._copied(name, size)

    def leaf(self, name: str, shape: tuple[Dim, ...]) -> Tensor:
        """A tensor of this layer that the graph itself fills. Like an input it has its place from
        the start on, but on the layer's device.
        """
        key = f"{name} {self.layer.number}"
        return self.inputs.setdefault(key, Tensor(name, shape, size_of(shape)))

    def _copied(self, name: str, size: Size) -> Tensor:
        many = tuple((self.copies * factor, letters) for factor, letters in size)
        return self.inputs.setdefault(name, Tensor(name, (name,), many, kept=self.copies > 1))

    def row(self, name: str) -> Tensor:
        """An input of one row of n_embd per token, computed by another device."""
        x = self.input(name, ((4 * self.model.n_embd, "T"),))
        x.shape = self.model.n_embd, "T"
        return x

    def rows_of(self, name: str, width: int, tokens: str = "tokens") -> Tensor:
        """Rows of an embedding table. The table lies in host memory: a device gets a copy."""
        looked_up = self.host_input(tokens, ((4, "T"),))
        if looked_up is not None:
            return self.graph.new(name, (width, "T"), looked_up)
        x = self._copied(name, ((4 * width, "T"),))
        x.shape = width, "T"
        return x

    def norm(self, x: Tensor) -> Tensor:
        """Normalize. Only a norm that subtracts no mean may overwrite its source."""
        if self.normed:
            self.normed = False
            return self.graph.like(self.row("normed rows from the device before"))
        if self.blueprint.layer_norm:
            return self.graph.new("norm", x.shape, x)
        return self.graph.like(x, name="norm")

    def mm(self, x: Tensor, rows: int, name: str) -> Tensor:
        """A weight matrix times `x`."""
        return self.graph.mul_mat(x, rows, name)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """Add two tensors."""
        return self.graph.like(x, y, name="sum")

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """Multiply element by element."""
        return self.graph.like(x, y, name=x.name)

    def outputs(self, x: Tensor) -> Tensor:
        """The rows whose logits are wanted."""
        ids = self.input("output ids", ((4, "O"),))
        return self.graph.new(x.name, (x.shape[0], "O"), x, ids)

    def positions(self) -> Tensor:
        """The position of every token: four numbers in models with eyes, else one."""
        return self.input("positions", ((4 * self.blueprint.n_positions, "T"),))


def embedded(b: Build) -> Tensor:
    """The embeddings of tokens, with room for what images add to the first layers (Qwen3-VL).

    The graph also has inputs for embeddings from outside, and if `mixed`, for a micro-batch with
    tokens and images, be they used or not. The copy that a mixed micro-batch is written into is
    never given back. Source: llama.cpp, src/llama-graph.cpp (build_inp_embd).
    """
    g, m = b.graph, b.model
    width = m.n_embd * (1 + m.n_deepstack_layers)
    b.host_input("tokens", ((4, "T"),))
    if b.mixed:
        b.host_input("tokens among images", ((4, "T"),))
    b.host_input("embeddings from outside", ((4 * width, "T"),))
    if not b.mixed:
        return with_room(b, g.expand(b.rows_of("embeddings", m.n_embd)))
    places, images = (
        b.input("places among images", ((8, "T"),)),
        b.input("embeddings of images", ((4 * width, "T"),)),
    )
    rows = g.expand(b.rows_of("embeddings", m.n_embd))
    among_images = g.expand(b.rows_of("embeddings among images", m.n_embd, "tokens among images"))
    rows, among_images = with_room(b, rows), with_room(b, among_images)
    copy = g.new("embeddings of images", (width, "T"), images)
    g.expand(Tensor(copy.name, copy.shape, (), (among_images, places, copy), root=copy))
    return rows


def with_room(b: Build, rows: Tensor) -> Tensor:
    """The rows with room for what images add to the first layers (Qwen3-VL), or as they are."""
    n = b.model.n_deepstack_layers
    return (
        b.graph.expand(
            b.graph.new("embeddings with room for images", (b.model.n_embd * (1 + n), "T"), rows)
        )
        if n
        else rows
    )


def scaled(b: Build, x: Tensor) -> Tensor:
    """Embeddings by a factor that is 1 for an image's, as Gemma 3 and 4 have it."""
    return b.graph.like(x, b.input("factors of embeddings", ((4, "T"),)))


def rotated(b: Build, x: Tensor, n: int, of: str) -> Tensor:
    """Turned by a Hadamard matrix, as queries, keys and values are before they are stored with few
    bits.
    """
    matrix = b.input(f"rotation of {of}" + _of_window(b), ((4 * n * n, ""),))
    if not x.plain:
        x = b.graph.new(x.name, x.shape, x)
    turned = b.graph.new(
        x.name,
        ("rotated", *x.shape),
        matrix,
        b.graph.reshape(x, ("flat", *x.shape)),
        size=size_of(x.shape),
    )
    return b.graph.reshape(turned, x.shape)


def _of_window(b: Build) -> str:
    return " of the window" if b.layer.windowed else ""


def rotation_of_k(head: int) -> int:
    """The side of the matrix for keys: the largest power of two that divides a head."""
    side = ROTATION_K_MIN
    while head % (2 * side) == 0:
        side *= 2
    return side


def attend(
    b: Build,
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    *,
    out: int | None,
    latent: Tensor | None = None,
    narrowed: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Store keys and values, attend over the cache, project to `out` rows.

    Without keys and values another layer's cache is read. `latent` is MLA's compressed row, of
    which the values are read. `narrowed` makes of the mask one that hides more cells.
    """
    g, layer = b.graph, b.layer
    cached = b.cached
    turn_k, turn_v = (turn and cached and latent is None for turn in (b.rotate_k, b.rotate_v))
    if turn_k:
        side = rotation_of_k(layer.n_embd_head_k)
        q = rotated(b, q, side, "keys")
        k = rotated(b, k, side, "keys") if k else None
    if turn_v and v is not None:
        v = rotated(b, v, ROTATION_V, "values")
    order = [q, k, v] if b.windows or not cached else [q, v, k]
    g.stored(t for t in order if t is not None)
    sources, mask = _cells(b, q, k, v, latent)
    if narrowed:
        mask = narrowed(mask)
    length = b.model.n_lora_kv if latent is not None else layer.n_embd_head_v
    shape = length, layer.n_head, "T"
    if not b.flash:
        return _by_scores(
            b, sources, mask, shape, out=out, turn_v=turn_v, latent=latent is not None
        )
    cur = g.new(
        "attention", shape, *sources, mask, size=(*size_of(shape), *_scratch(b, latent is not None))
    )
    if latent is not None:
        values = g.new(
            "attention", (b.model.n_embd_head_v_mla, "T", layer.n_head), g.view(cur, ("heads",))
        )
        cur = g.new(
            "attention", (b.model.n_embd_head_v_mla, layer.n_head, "T"), g.view(values, ("heads",))
        )
        length = b.model.n_embd_head_v_mla
    cur = g.expand(g.reshape(cur, (length * layer.n_head, "T")))
    if turn_v:
        cur = rotated(b, cur, ROTATION_V, "values")
    return b.mm(cur, out, "attention output") if out else cur


def _cells(
    b: Build, q: Tensor, k: Tensor | None, v: Tensor | None, latent: Tensor | None
) -> tuple[list[Tensor], Tensor]:
    """What the attention reads, and its mask: the cells of the cache, into which keys and values go
    first. A model without a cache reads its own keys and values, in F16.
    """
    g = b.graph
    if not b.cached:
        assert k is not None and v is not None
        mask = b.input("mask" + _of_window(b), ((2, "TT"),))
        sources = [g.view(q, ("queries",))]
        sources += [
            g.new(t.name + " in F16", t.shape, g.view(t, ("heads",)), n_bytes=2) for t in (k, v)
        ]
        return sources, mask
    for t, name in ((k, "K indices"), (v, "V indices")):
        if t is not None and t is not latent:
            ids = b.input(name + _of_window(b), ((8, "T"),))
            g.store(g.view(t, ("row", "T")), ids)
    sources = [g.view(q, ("queries",))]
    cells = "TW" if b.layer.windowed else "TC"
    return sources, b.input("mask" + _of_window(b), ((2 if b.flash else 4, cells),))


def _by_scores(
    b: Build,
    sources: list[Tensor],
    mask: Tensor,
    shape: tuple[int, int, str],
    *,
    out: int | None,
    turn_v: bool,
    latent: bool,
) -> Tensor:
    """Attention without flash attention: the scores of every head over all cells are written
    down.
    """
    g, (length, n_head, _) = b.graph, shape
    cells = "W" if b.layer.windowed else "C"
    scores = g.new("scores", (cells, "T", n_head), *sources, size=((4 * n_head, "T" + cells),))
    weights = Tensor("scores", scores.shape, scores.size, (scores, mask), in_place=True)
    cur = g.new("attention", (length, "T", n_head), weights)
    if latent:
        length = b.model.n_embd_head_v_mla
        cur = g.new("attention", (length, "T", n_head), cur)
    cur = g.expand(g.new("attention", (length * n_head, "T"), g.view(cur, ("heads",))))
    if turn_v:
        cur = rotated(b, cur, ROTATION_V, "values")
    return b.mm(cur, out, "attention output") if out else cur


def _scratch(b: Build, latent: bool) -> Size:
    """What the device keeps behind the attention's result. MLA's values are a part of its keys."""
    m, y = b.model, b.layer
    of_layer = Attention(
        k=m.n_lora_kv + m.n_rot if latent else y.n_embd_head_k * y.n_head_kv,
        v=0 if latent else y.n_embd_head_v * y.n_head_kv,
        n_head=y.n_head,
        n_embd_head_v=m.n_lora_kv if latent else y.n_embd_head_v,
        cells="W" if y.windowed else "C",
    )
    return (
        scratch(b.backend, of_layer, k_is_f16=b.k_is_f16, v_is_f16=b.v_is_f16) if b.cached else ()
    )


def heads(b: Build, x: Tensor, word: words.Attention) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values."""
    g, y = b.graph, b.layer
    shapes = [
        (y.n_embd_head_k, y.n_head, "T"),
        (y.n_embd_head_k, y.n_head_kv, "T"),
        (y.n_embd_head_v, y.n_head_kv, "T"),
    ]
    rows = [length * n for length, n, _ in shapes]
    if word.fused:
        qkv = b.mm(x, sum(rows), "queries, keys, values")
        q, k, v = (g.view(qkv, shape) for shape in shapes)
    else:
        made = [
            b.mm(x, n, name) for n, name in zip(rows, ("queries", "keys", "values"), strict=True)
        ]
        if word.whole:
            made[:2] = [b.norm(t) for t in made[:2]]
        q, k, v = (g.reshape(t, shape) for t, shape in zip(made, shapes, strict=True))
    if word.rope and y.rope:
        q, k = (g.like(t, b.positions(), name=name) for t, name in ((q, "queries"), (k, "keys")))
    elif word.scaled:
        q = g.like(q, b.input("attention scale", ((4, "T"),)))
    return q, k, v


def attention(b: Build, x: Tensor, word: words.Attention = PLAIN) -> Tensor:
    """Attention with shared keys (GQA)."""
    q, k, v = heads(b, x, word)
    return attend(b, q, k, v, out=b.model.n_embd)


def separately_gated_attention(b: Build, x: Tensor, word: words.Attention) -> Tensor:
    """Attention whose output is multiplied by a gate from a matrix of its own (Laguna, AFMoE)."""
    g, y = b.graph, b.layer
    q, k, v = heads(b, x, word)
    cur = attend(b, q, k, v, out=None)
    length = y.n_embd_head_v if word.gate == "per element" else 1
    gate = g.like(b.mm(x, length * y.n_head, "gate"))
    cur = b.mul(
        g.reshape(cur, (y.n_embd_head_v, y.n_head, "T")), g.reshape(gate, (length, y.n_head, "T"))
    )
    return b.mm(
        g.reshape(cur, (y.n_embd_head_v * y.n_head, "T")), b.model.n_embd, "attention output"
    )


def dense(b: Build, x: Tensor, n_ff: int | None = None) -> Tensor:
    """Gate and up, their product, down."""
    n_ff = n_ff or b.layer.n_ff
    gate, up = b.mm(x, n_ff, "gate"), b.mm(x, n_ff, "up")
    return b.mm(b.graph.new("gated", (n_ff, x.shape[-1]), gate, up), b.model.n_embd, "feed-forward")


def fused_dense(b: Build, x: Tensor) -> Tensor:
    """Gate and up as one matrix."""
    both = b.mm(x, 2 * b.layer.n_ff, "gate and up")
    return b.mm(
        b.graph.new("gated", (b.layer.n_ff, x.shape[-1]), both), b.model.n_embd, "feed-forward"
    )


def ungated(b: Build, x: Tensor, n_ff: int | None = None) -> Tensor:
    """Up and down, without a gate."""
    up = b.mm(x, n_ff or b.layer.n_ff, "up")
    return b.mm(b.graph.like(up, name="activated"), b.model.n_embd, "feed-forward")
