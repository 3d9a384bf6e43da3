"""The compute buffers of a vision or audio projector (mmproj): an estimate from its header. Pure.

The engine lays a projector out for one picture of a fixed number of tokens (`WARMUP_TOKENS`) or one
clip of 30 seconds, and again when a larger picture comes. With flash attention the buffer grows
with the patches: at its fullest it holds for every patch a few rows of the model's width and of the
feed-forward layer. For 17 projectors the estimate lies 0 to 15% above the engine's own figure
(docs/memory.md), which is taken instead where the engine can be asked. Left out: encoders other
than plain transformers (DeepSeek's OCR, Gemma 3n's).

Source: llama.cpp, tools/mtmd/clip.cpp (load_hparams, warmup), tools/mtmd/models.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from hakaru.formats.gguf import Tensor
from hakaru.formats.header_values import Array
from hakaru.formats.metadata import Metadata, Written

WARMUP_TOKENS: Final = {
    "qwen2vl_merger": 46**2, "qwen2.5vl_merger": 46**2, "qwen3vl_merger": 46**2, "ling3vl": 46**2,
    "glm4v": 46**2, "glm5v": 46**2, "dots_ocr": 46**2, "dots3note_v": 46**2, "mimovl": 46**2,
    "exaone4_5": 46**2, "hunyuanvl": 32**2, "muse-glimmer": 32**2, "paddleocr": 28**2,
    "phi4": 16**2, "pixtral": 16**2, "lightonocr": 16**2, "kimivl": 16**2, "gemma4v": 16**2,
    "gemma4uv": 16**2, "minimax_m3": 16**2, "youtuvl": 16**2, "deepseek4v": 16**2, "lfm2": 16**2,
    "d1omni_v": 16**2, "kimik25": 4096,
}  # fmt: skip
"""Tokens of the picture at start, by type of projector; other types take pictures of one size."""
LARGEST_TOKENS: Final = {
    "qwen2vl_merger": 4096, "qwen2.5vl_merger": 4096, "qwen3vl_merger": 4096, "ling3vl": 4096,
    "glm4v": 4096, "pixtral": 1024, "kimivl": 1024, "gemma4v": 1120, "gemma4uv": 1120, "lfm2": 256,
    "d1omni_v": 256, "minimax_m3": 576, "muse-glimmer": 4096, "hunyuanvl": 16384, "youtuvl": 62500,
    "deepseek4v": 384, "kimik25": 4096,
}  # fmt: skip
"""Tokens of the largest picture, where the header does not state pixels."""
MERGED: Final = {"gemma3": 4, "gemma4v": 3, "gemma4uv": 3, "pixtral": 1, "lightonocr": 1, "phi4": 1}
"""Patches a side that become one token, where the header does not state it; 2 for other types."""
LARGEST_PIXELS: Final = 2**22
"""Larger pictures (4.2 million pixels) are not planned for. --image-max-tokens limits them."""
AUDIO_POSITIONS: Final = 1500  # 30 seconds in frames of 10 ms, halved
BYTES_PER_PIXEL: Final = 12  # three colours in F32


class Headed(Protocol):
    """What has the header of a projector: a file, or a tower of `models.towers`."""

    @property
    def metadata(self) -> Mapping[str, Written]:
        """Its keys."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensor table."""


class ProjectorCompute(Struct, frozen=True, kw_only=True):
    """The compute buffers of a projector."""

    start_bytes: int  # for the picture or the clip at start
    growth_bytes: int  # more than that for the largest picture
    host_bytes: int = 0  # copies of the picture in RAM


def projector_compute(
    where: str, header: Headed, *, start_bytes: int | None = None
) -> ProjectorCompute:
    """The estimate; `start_bytes` is the engine's own figure, if it was asked. Raises
    ModelDamaged.
    """
    meta = Metadata(where, header.metadata)
    vision = ProjectorCompute(start_bytes=0, growth_bytes=0)
    if _has(meta, "vision"):
        vision = _vision(meta, header)
    audio_bytes = 4 * AUDIO_POSITIONS * _floats(meta, header, "audio") if _has(meta, "audio") else 0
    estimate = vision.start_bytes + audio_bytes
    start_bytes = estimate if start_bytes is None else start_bytes
    growth_bytes = int(vision.growth_bytes * max(1.0, start_bytes / max(1, estimate)))
    return replace(vision, start_bytes=start_bytes, growth_bytes=growth_bytes)


def _has(meta: Metadata, kind: str) -> bool:
    return meta.integer(f"clip.{kind}.block_count") is not None


def _vision(meta: Metadata, header: Headed) -> ProjectorCompute:
    """The compute buffers for pictures, by the patches of the picture at start and of the largest
    picture.
    """
    kind = meta.text("clip.vision.projector_type") or meta.text("clip.projector_type") or ""
    patch = meta.need("clip.vision.patch_size", high=2**12)
    side = meta.integer("clip.vision.image_size") or 0
    merged = (
        meta.integer("clip.vision.spatial_merge_size")
        or meta.integer("clip.vision.projector.scale_factor")
        or MERGED.get(kind, 2)
    )
    tokens = WARMUP_TOKENS.get(kind)
    start = tokens * merged**2 if tokens else (side // patch) ** 2
    pixels = (
        meta.integer("clip.vision.image_max_pixels")
        or LARGEST_TOKENS.get(kind, 0) * (merged * patch) ** 2
    )
    largest = max(start, min(pixels, LARGEST_PIXELS) // patch**2)

    def n_bytes(patches: int) -> int:
        windows = patches // 2 if meta.integer("clip.vision.n_wa_pattern") else 0  # a mask in F16
        return 4 * patches * (_floats(meta, header, "vision") + windows)

    more = n_bytes(largest) - n_bytes(start)
    copies = BYTES_PER_PIXEL * largest * patch**2
    return ProjectorCompute(start_bytes=n_bytes(start), growth_bytes=more, host_bytes=copies)


def _floats(meta: Metadata, header: Headed, kind: str) -> int:
    """How many numbers the buffer holds for each position at its fullest, which is in attention or
    in the feed-forward layer.
    """
    n_embd = meta.need(f"clip.{kind}.embedding_length", high=2**20)
    n_ff = meta.integer(f"clip.{kind}.feed_forward_length") or 4 * n_embd
    inputs = 3 * (meta.integer("clip.vision.patch_size") or 0) ** 2 if kind == "vision" else 0
    gated = any(t.name.endswith(f"{kind[0]}.blk.0.ffn_gate.weight") for t in header.tensors)
    in_place = any(header.metadata.get(f"clip.use_{name}") is True for name in ("gelu", "silu"))
    wide = 3 * n_ff + 4 * n_embd + inputs if gated else (1 if in_place else 2) * n_ff + 3 * n_embd
    return max(wide, 6 * n_embd + inputs) + (_deepstack(meta) if kind == "vision" else 0)


def _deepstack(meta: Metadata) -> int:
    """Numbers per position that several layers hand to the language model, which stay in the buffer
    until the end; 0 if only the last layer does.
    """
    flags = meta.values.get("clip.vision.is_deepstack_layers")
    values = flags.values if isinstance(flags, Array) else flags
    n = sum(map(bool, values)) if isinstance(values, list | tuple) else 0
    merged = meta.integer("clip.vision.spatial_merge_size") or 2
    if not n:
        return 0
    kept = (n + 1) * (meta.integer("clip.vision.projection_dim") or 0) // merged**2
    return kept + meta.need("clip.vision.embedding_length", high=2**20) // 2
