"""Headers of vision and audio projectors as llama.cpp takes them: true shapes, and a hole where the
weights would be.
"""

from pathlib import Path
from typing import Any

from hakaru.formats.header_file import write_header_only

MIB = 2**20


def vision(
    path: Path,
    kind: str,
    *,
    n_layer: int,
    n_embd: int,
    n_ff: int,
    n_head: int,
    image: int,
    patch: int,
    gate: bool = False,
    **more: Any,
) -> Path:
    """A transformer over patches of a picture, with a projector of that kind. `more` are further
    keys of `clip.vision`.
    """
    keys = _keys("vision", kind, n_layer=n_layer, n_embd=n_embd, n_ff=n_ff, n_head=n_head) | {
        "clip.vision.image_size": image,
        "clip.vision.patch_size": patch,
        "clip.vision.image_mean": [0.5] * 3,
        "clip.vision.image_std": [0.5] * 3,
    }
    keys |= {f"clip.vision.{key}": value for key, value in more.items()}
    start = [("v.patch_embd.weight", (patch, patch, 3, n_embd)), ("v.patch_embd.bias", (n_embd,))]
    start += [("v.position_embd.weight", (n_embd, (image // patch) ** 2))]
    return _written(
        path,
        keys,
        [*start, *_norm("v.post_ln", n_embd), *_layers("v", n_layer, n_embd, n_ff, gate)],
    )


def qwen3vl(path: Path, *, width: int, deepstack: tuple[int, ...] = ()) -> Path:
    """The vision tower of Qwen3-VL and Qwen3.5 to 3.8: 27 layers of 1,152; some layers are handed
    on apart (deepstack).
    """
    n_layer, n_embd, n_ff, patch = 27, 1152, 4304, 16
    keys = _keys("vision", "qwen3vl_merger", n_layer=n_layer, n_embd=n_embd, n_ff=n_ff,
        n_head=16) | {
        "clip.vision.image_size": 768, "clip.vision.patch_size": patch,
        "clip.vision.spatial_merge_size": 2, "clip.vision.image_mean": [0.5] * 3,
        "clip.vision.image_std": [0.5] * 3, "clip.vision.projection_dim": width,
        "clip.vision.is_deepstack_layers": [i in deepstack for i in range(n_layer)],
    }  # fmt: skip
    rows: list[tuple[str, tuple[int, ...]]] = [
        ("v.patch_embd.weight", (patch, patch, 3, n_embd)),
        ("v.patch_embd.weight.1", (patch, patch, 3, n_embd)), ("v.patch_embd.bias", (n_embd,)),
        ("v.position_embd.weight", (n_embd, 48**2)), *_norm("v.post_ln", n_embd),
    ]  # fmt: skip
    for i in range(n_layer):
        b = f"v.blk.{i}"
        rows += [
            *_norm(f"{b}.ln1", n_embd),
            *_norm(f"{b}.ln2", n_embd),
            *_matrix(f"{b}.attn_qkv", n_embd, 3 * n_embd),
        ]
        rows += [
            *_matrix(f"{b}.attn_out", n_embd, n_embd),
            *_matrix(f"{b}.ffn_up", n_embd, n_ff),
            *_matrix(f"{b}.ffn_down", n_ff, n_embd),
        ]
        if i in deepstack:
            d = f"v.deepstack.{i}"
            rows += [*_norm(f"{d}.norm", 4 * n_embd), *_matrix(f"{d}.fc1", 4 * n_embd, 4 * n_embd)]
            rows += _matrix(f"{d}.fc2", 4 * n_embd, width)
    rows += [*_matrix("mm.0", 4 * n_embd, 4 * n_embd), *_matrix("mm.2", 4 * n_embd, width)]
    return _written(path, keys, rows)


def gemma3(path: Path) -> Path:
    """SigLIP as in Gemma 3: pictures of 896 pixels a side, always."""
    n_embd = 1152
    keys = _keys("vision", "gemma3", n_layer=27, n_embd=n_embd, n_ff=4304, n_head=16) | {
        "clip.vision.image_size": 896, "clip.vision.patch_size": 14,
        "clip.vision.projection_dim": 2560, "clip.vision.image_mean": [0.5] * 3,
        "clip.vision.image_std": [0.5] * 3,
    }  # fmt: skip
    rows = [
        ("v.patch_embd.weight", (14, 14, 3, n_embd)),
        ("v.patch_embd.bias", (n_embd,)),
        ("v.position_embd.weight", (n_embd, 4096)),
    ]
    rows += [
        *_norm("v.post_ln", n_embd),
        ("mm.input_projection.weight", (2560, n_embd)),
        ("mm.soft_emb_norm.weight", (n_embd,)),
    ]
    return _written(path, keys, [*rows, *_layers("v", 27, n_embd, 4304, False)])


def whisper(path: Path) -> Path:
    """Whisper's encoder as in Voxtral: 32 layers of 1,280 over 30 seconds of sound."""
    n_embd, width = 1280, 3072
    keys = _keys("audio", "voxtral", n_layer=32, n_embd=n_embd, n_ff=5120, n_head=20) | {
        "clip.audio.num_mel_bins": 128,
        "clip.audio.projection_dim": width,
        "clip.audio.projector.stack_factor": 4,
    }
    rows = [
        ("a.position_embd.weight", (n_embd, 1500)),
        ("a.conv1d.1.weight", (3, 128, n_embd)),
        ("a.conv1d.1.bias", (1, n_embd)),
    ]
    rows += [
        ("a.conv1d.2.weight", (3, n_embd, n_embd)),
        ("a.conv1d.2.bias", (1, n_embd)),
        *_norm("a.post_ln", n_embd),
    ]
    rows += [("mm.a.mlp.1.weight", (4 * n_embd, width)), ("mm.a.mlp.2.weight", (width, width))]
    layers = [
        row for row in _layers("a", 32, n_embd, 5120, False) if not row[0].endswith("attn_k.bias")
    ]
    return _written(path, keys, [*rows, *layers])


def _written(path: Path, keys: dict[str, Any], rows: list[tuple[str, tuple[int, ...]]]) -> Path:
    """Matrices in F16; vectors and positions in F32, as the converter writes them."""
    types = {
        name: "F32" if len(dims) == 1 or "position" in name or name.endswith("bias") else "F16"
        for name, dims in rows
    }
    return write_header_only(path, keys, rows, types)


def _keys(
    kind: str, projector: str, *, n_layer: int, n_embd: int, n_ff: int, n_head: int
) -> dict[str, Any]:
    own = f"clip.{kind}"
    return {
        "general.architecture": "clip", f"clip.has_{kind}_encoder": True,
        "clip.projector_type": projector, "clip.use_gelu": True, f"{own}.block_count": n_layer,
        f"{own}.embedding_length": n_embd, f"{own}.feed_forward_length": n_ff,
        f"{own}.attention.head_count": n_head, f"{own}.attention.layer_norm_epsilon": 1e-6,
    }  # fmt: skip


def _layers(
    letter: str, n_layer: int, n_embd: int, n_ff: int, gate: bool
) -> list[tuple[str, tuple[int, ...]]]:
    rows: list[tuple[str, tuple[int, ...]]] = []
    for i in range(n_layer):
        b = f"{letter}.blk.{i}"
        rows += [*_norm(f"{b}.ln1", n_embd), *_norm(f"{b}.ln2", n_embd)]
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            rows += _matrix(f"{b}.{name}", n_embd, n_embd)
        rows += [*_matrix(f"{b}.ffn_up", n_embd, n_ff), *_matrix(f"{b}.ffn_down", n_ff, n_embd)]
        if gate:
            rows += _matrix(f"{b}.ffn_gate", n_embd, n_ff)
    return rows


def _norm(name: str, n: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}.weight", (n,)), (f"{name}.bias", (n,))]


def _matrix(name: str, columns: int, rows: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}.weight", (columns, rows)), (f"{name}.bias", (rows,))]
