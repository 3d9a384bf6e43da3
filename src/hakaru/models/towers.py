"""The vision towers of the catalogue's models: what their projector files (mmproj) hold, so that
memory is known before anybody fetched one.

A tower is a transformer over the patches of a picture; behind it stands a projection to the width
of the language model. A tower stands here only if the number of its weights is what the published
number of the whole model leaves beside the language model, to one in ten thousand (two models'
numbers also count the scales of FP8 matrices). docs/facts.md tells where the numbers come from.
The types are those of converters for a file in F16: vectors and tables of positions in F32.

Left out: encoders that are no plain transformer (Gemma 3n's), models that also hear, and models
without an encoder (Gemma 4 12B). Source: llama.cpp, tools/mtmd/clip.cpp (load_tensors).
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.formats.gguf import Dims, Tensor
from hakaru.formats.header_file import header_tensors, write_header_only
from hakaru.formats.metadata import MetadataValue

Row = tuple[str, Dims]


class Tower(Struct, frozen=True, kw_only=True):
    """A vision tower, and which projection stands behind it."""

    projector: str  # as llama.cpp names the kind
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    patch: int  # pixels a side
    image: int  # pixels a side, as in the header
    n_positions: int = 0  # of the table of positions; 0: positions are computed
    n_patch_embd: int = 1  # 2: pictures are read in pairs, as those of a film
    is_gated: bool = False
    norms_alone: bool = False  # norms without a bias
    biased: bool = True  # matrices with a bias
    fused: bool = False  # Q, K and V in one matrix
    patch_bias: bool = True
    norms: tuple[str, ...] = ("ln1", "ln2")  # of each layer
    head_norms: tuple[str, ...] = ()  # of the length of a head
    around: tuple[str, ...] = ("v.post_ln",)  # norms before and behind the layers
    deepstack: tuple[int, ...] = ()  # layers that hand on apart
    activation: str = "gelu"
    types_f32: tuple[str, ...] = ()  # matrices that a file in F16 has in F32
    keys: Mapping[str, MetadataValue] = field(default_factory=dict)  # of `clip.vision`


class TowerHeader(Struct, frozen=True, kw_only=True):
    """The header of a projector file that nobody has fetched."""

    metadata: Mapping[str, MetadataValue]
    tensors: tuple[Tensor, ...]

    def write(self, path: Path) -> Path:
        """Write it to `path`, then a hole as large as its weights. Returns `path`. Raises
        MachineError where the disk refuses.
        """
        return write_header_only(
            path,
            self.metadata,
            [(tensor.name, tensor.shape) for tensor in self.tensors],
            {tensor.name: tensor.type.name for tensor in self.tensors},
        )


_QWEN3: Final = Tower(
    projector="qwen3vl_merger", n_layer=27, n_embd=1152, n_ff=4304, n_head=16, patch=16, image=768,
    n_positions=48**2, n_patch_embd=2, fused=True, keys={"spatial_merge_size": 2},
)  # fmt: skip
_QWEN3_24: Final = replace(_QWEN3, n_layer=24, n_embd=1024, n_ff=4096)
_PIXTRAL: Final = Tower(
    projector="pixtral", n_layer=24, n_embd=1024, n_ff=4096, n_head=16, patch=14, image=1540,
    is_gated=True, norms_alone=True, biased=False, patch_bias=False, around=("v.pre_ln",),
    activation="silu", keys={"spatial_merge_size": 2},
)  # fmt: skip
TOWERS: Final[Mapping[str, Tower]] = {
    "gemma3": Tower(
        projector="gemma3", n_layer=27, n_embd=1152, n_ff=4304, n_head=16, patch=14, image=896,
        n_positions=64**2, types_f32=("v.patch_embd.weight",),
    ),
    "gemma4": Tower(
        projector="gemma4v", n_layer=27, n_embd=1152, n_ff=4304, n_head=16, patch=16, image=768,
        n_positions=2 * 10240, is_gated=True, norms_alone=True, biased=False, patch_bias=False,
        norms=("ln1", "attn_post_norm", "ln2", "ffn_post_norm"),
        head_norms=("attn_q_norm", "attn_k_norm"), around=(),
    ),
    "kimi-k2.6": Tower(
        projector="kimik25", n_layer=27, n_embd=1152, n_ff=4304, n_head=16, patch=14, image=896,
        n_positions=64**2, fused=True, keys={"projector.scale_factor": 2},
    ),
    "llama4": Tower(
        projector="llama4", n_layer=34, n_embd=1408, n_ff=5632, n_head=16, patch=14, image=336,
        n_positions=24**2 + 1, patch_bias=False, around=("v.pre_ln", "v.post_ln"),
        keys={"projector.scale_factor": 2},
    ),
    "pixtral-24": _PIXTRAL,
    "pixtral-48": replace(_PIXTRAL, n_layer=48, n_embd=1664, n_ff=8192),
    "qwen2.5-vl": Tower(
        projector="qwen2.5vl_merger", n_layer=32, n_embd=1280, n_ff=3420, n_head=16, patch=14,
        image=560, n_patch_embd=2, is_gated=True, norms_alone=True, patch_bias=False,
        activation="silu", keys={"spatial_merge_size": 2, "n_wa_pattern": 8},
    ),
    "qwen3-vl-24": replace(_QWEN3_24, deepstack=(5, 11, 17)),
    "qwen3-vl-27": replace(_QWEN3, deepstack=(8, 16, 24)),
    "qwen3.5-12": replace(_QWEN3, n_layer=12, n_embd=768, n_ff=3072, n_head=12),
    "qwen3.5-24": _QWEN3_24,
    "qwen3.5-27": _QWEN3,
}  # fmt: skip
"""By the name that an entry of the catalogue has in `tower`."""


@cache
def tower_header(name: str, width: int) -> TowerHeader:
    """The header of the projector file in F16 of a tower that stands here, for a language model of
    this width.
    """
    return header_of_tower(TOWERS[name], width)


def header_of_tower(tower: Tower, width: int) -> TowerHeader:
    """The same of any tower."""
    rows = tuple(tower_rows(tower, width))
    tensors = header_tensors(rows, {name: _type(tower, name, dims) for name, dims in rows})
    return TowerHeader(metadata=tower_keys(tower, width), tensors=tensors)


def tower_keys(tower: Tower, width: int) -> Mapping[str, MetadataValue]:
    """The metadata of its projector file."""
    own: dict[str, MetadataValue] = {
        "block_count": tower.n_layer, "embedding_length": tower.n_embd,
        "feed_forward_length": tower.n_ff, "attention.head_count": tower.n_head,
        "attention.layer_norm_epsilon": 1e-6, "projection_dim": width, "patch_size": tower.patch,
        "image_size": tower.image, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **tower.keys,
    }  # fmt: skip
    if tower.fused and tower.projector == "qwen3vl_merger":
        own["is_deepstack_layers"] = [i in tower.deepstack for i in range(tower.n_layer)]
    return {
        "general.architecture": "clip", "general.type": "mmproj",
        "clip.has_vision_encoder": True, "clip.projector_type": tower.projector,
        f"clip.use_{tower.activation}": True,
        **{f"clip.vision.{key}": value for key, value in own.items()},
    }  # fmt: skip


def tower_rows(tower: Tower, width: int) -> Iterator[Row]:
    """Name and shape (row length first) of every tensor of its projector file."""
    n, patch = tower.n_embd, tower.patch
    flat = tower.projector == "llama4"
    yield "v.patch_embd.weight", (3 * patch * patch, n) if flat else (patch, patch, 3, n)
    if tower.n_patch_embd > 1:
        yield "v.patch_embd.weight.1", (patch, patch, 3, n)
    if tower.patch_bias:
        yield "v.patch_embd.bias", (n,)
    if flat:
        yield "v.class_embd", (n,)
    if tower.projector == "gemma4v":
        yield "v.position_embd.weight", (n, tower.n_positions // 2, 2)
    elif tower.n_positions:
        yield "v.position_embd.weight", (n, tower.n_positions)
    for norm in tower.around:
        yield from _norm(norm, n, tower)
    for i in range(tower.n_layer):
        yield from _layer(f"v.blk.{i}", tower)
    for i in tower.deepstack:
        yield from _norm(f"v.deepstack.{i}.norm", 4 * n, tower)
        yield from _matrix(f"v.deepstack.{i}.fc1", 4 * n, 4 * n)
        yield from _matrix(f"v.deepstack.{i}.fc2", 4 * n, width)
    yield from _projection(tower, width)


def _layer(name: str, tower: Tower) -> Iterator[Row]:
    n, n_ff, biased = tower.n_embd, tower.n_ff, tower.biased
    for norm in tower.norms:
        yield from _norm(f"{name}.{norm}", n, tower)
    for norm in tower.head_norms:
        yield from _norm(f"{name}.{norm}", n // tower.n_head, tower)
    if tower.fused:
        yield from _matrix(f"{name}.attn_qkv", n, 3 * n, biased=biased)
    else:
        for part in ("attn_q", "attn_k", "attn_v"):
            yield from _matrix(f"{name}.{part}", n, n, biased=biased)
    yield from _matrix(f"{name}.attn_out", n, n, biased=biased)
    if tower.is_gated:
        yield from _matrix(f"{name}.ffn_gate", n, n_ff, biased=biased)
    yield from _matrix(f"{name}.ffn_up", n, n_ff, biased=biased)
    yield from _matrix(f"{name}.ffn_down", n_ff, n, biased=biased)


def _projection(tower: Tower, width: int) -> Iterator[Row]:
    """From the tower's width to that of the language model."""
    n, kind = tower.n_embd, tower.projector
    if kind == "gemma3":
        yield from (("mm.input_projection.weight", (width, n)), ("mm.soft_emb_norm.weight", (n,)))
    elif kind == "gemma4v":
        yield from (("v.std_bias", (n,)), ("v.std_scale", (n,)))
        yield "mm.input_projection.weight", (n, width)
    elif kind == "pixtral":
        yield from (("mm.input_norm.weight", (n,)), ("v.token_embd.img_break", (width,)))
        yield "mm.patch_merger.weight", (4 * n, n)
        yield from _matrix("mm.1", n, width, biased=False)
        yield from _matrix("mm.2", width, width, biased=False)
    elif kind == "llama4":
        yield "mm.model.mlp.1.weight", (4 * n, 4096)
        yield "mm.model.mlp.2.weight", (4096, 4096)
        yield "mm.model.fc.weight", (4096, width)
    elif kind == "kimik25":
        yield from _norm("mm.input_norm", n, tower)
        yield from _matrix("mm.1", 4 * n, 4 * n)
        yield from _matrix("mm.2", 4 * n, width)
    else:
        yield from _matrix("mm.0", 4 * n, 4 * n)
        yield from _matrix("mm.2", 4 * n, width)


def _norm(name: str, n: int, tower: Tower) -> Iterator[Row]:
    yield f"{name}.weight", (n,)
    if not tower.norms_alone:
        yield f"{name}.bias", (n,)


def _matrix(name: str, columns: int, rows: int, *, biased: bool = True) -> Iterator[Row]:
    yield f"{name}.weight", (columns, rows)
    if biased:
        yield f"{name}.bias", (rows,)


def _type(tower: Tower, name: str, dims: Dims) -> str:
    is_f32 = len(dims) == 1 or "position_embd" in name or name in tower.types_f32
    return "F32" if is_f32 else "F16"
