"""A local Hugging Face checkpoint seen as the GGUF file that llama.cpp's converter would make of it.

Metadata comes from config.json by the converter's own rules (`hf_fields`), the tensor table from `architectures`, and the
checkpoint's tensor headers check both: as many weights in the table as in the files, or the difference is told. Vision and
audio towers become a file of their own (mmproj) and are counted apart.

Left out: GPTQ and AWQ checkpoints, whose packed tensors have other names and counts: the difference shows it.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelUnknown
from hakaru.models.architectures import Dims, tensors_of
from hakaru.models.config_values import ConfigValues
from hakaru.models.hf_fields import ABSENT, CLASSES, hyperparameters
from hakaru.models.hyperparameters import expand
from hakaru.models.metadata import Metadata, MetadataValue

Checkpoint = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name to dtype and shape, as safetensors headers give them."""

_COMPANION: Final = re.compile(
    r"(model\.)?(visual|vision_tower|vision_model|vision_embed_tokens|multi_modal_projector|audio_tower|embed_vision|embed_audio|connector)\."
)
_NOT_WEIGHTS: Final = re.compile(r"(rotary_emb\.inv_freq|_scale_inv|_scales|(weight|input)_scale(_2)?|position_ids)$")
_DROPPED: Final = {"deepseek2": r"model\.layers\.{n}\.", "ernie4_5-moe": r"model\.mtp_", "ernie4_5": r"model\.mtp_"}
_ALWAYS_TIED: Final = frozenset({"gemma", "gemma2", "gemma3", "gemma4", "command-r", "cohere2"})
_TIED_BY_CONFIG: Final = frozenset({"deepseek2", "hunyuan-dense"})
_OPTIONAL: Final = {
    r"self_attn\.q_proj\.bias": ("attn_q.bias",), r"self_attn\.k_proj\.bias": ("attn_k.bias",),
    r"self_attn\.v_proj\.bias": ("attn_v.bias",), r"self_attn\.o_proj\.bias": ("attn_output.bias",),
    r"mlp\.gate_proj\.bias": ("ffn_gate.bias",), r"mlp\.up_proj\.bias": ("ffn_up.bias",),
    r"mlp\.down_proj\.bias": ("ffn_down.bias",), r"self_attn\.q_norm\.weight": ("attn_q_norm.weight",),
    r"(e_score_correction_bias|expert_bias)": ("exp_probs_b.bias",),
    r"layers\.\d+\.embed_tokens\.weight": ("nextn.embed_tokens.weight",),
    r"layers\.\d+\.shared_head\.head\.weight": ("nextn.shared_head_head.weight",),
}  # fmt: skip
_BY_CONVERTER: Final = frozenset({"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The GGUF file that a checkpoint would become.

    `n_params` counts its table without what converters compute, `n_params_found` the checkpoint's own tensors: they are
    equal where both were understood. `companion_bytes` are the towers' bytes as stored.
    """

    architecture: str
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[tuple[str, Dims], ...]
    n_vocab: int
    tied: bool
    n_params: int
    n_params_found: int
    companion_bytes: int

    @property
    def difference(self) -> int:
        """Weights in the checkpoint that the table lacks; below 0: too many in the table."""
        return self.n_params_found - self.n_params


def converted(where: Path | str, config: Mapping[str, Any], checkpoint: Checkpoint) -> Converted:
    """What `config` (the parsed config.json at `where`) and the tensors of `checkpoint` become.

    Raises ModelUnknown for a model class that hakaru cannot derive, ModelDamaged for a config without sense.
    """
    name = ConfigValues(where, config).class_name()
    architecture = CLASSES.get(name or "")
    if architecture is None:
        raise ModelUnknown(
            "{path}: the model class '{found}' cannot be derived; known are {known}.",
            path=where, found=name, known=", ".join(sorted(CLASSES)),
        )  # fmt: skip
    values = ConfigValues(where, config, absent=ABSENT.get(architecture))
    short = hyperparameters(values, architecture, checkpoint)
    if architecture == "granitehybrid" and "ssm.state_size" not in short:
        architecture = "granitemoe" if short.get("expert_count") else "granite"
    rows = next((shape[0] for n, (_, shape) in checkpoint.items() if n.endswith("embed_tokens.weight") and len(shape) == 2), None)
    n_vocab = rows or values.need("vocab_size")
    tied = _is_tied(architecture, values, checkpoint)
    meta = Metadata(where, expand(architecture, short))
    table = tuple(tensors_of(meta, n_vocab=n_vocab, tied=tied, having=_having(architecture, values, short, checkpoint)))
    text = {n: t for n, t in checkpoint.items() if not _COMPANION.match(n)}
    return Converted(
        architecture=architecture,
        metadata=expand(architecture, short),
        tensors=table,
        n_vocab=n_vocab,
        tied=tied,
        n_params=sum(math.prod(shape) for n, shape in table if n not in _BY_CONVERTER),
        n_params_found=_count(architecture, text, short["block_count"], tied),
        companion_bytes=sum(_bytes(*t) for n, t in checkpoint.items() if n not in text),
    )


def _is_tied(architecture: str, config: ConfigValues, names: Collection[str]) -> bool:
    """A converter writes the output matrix if the checkpoint has one, with exceptions."""
    if architecture in _ALWAYS_TIED:
        return True
    stated = config.flag("tie_word_embeddings")
    if architecture in _TIED_BY_CONFIG or not names:
        return bool(stated)
    return not any(n.endswith("lm_head.weight") for n in names)


def _having(architecture: str, config: ConfigValues, short: Mapping[str, Any], names: Collection[str]) -> set[str]:
    found = {optional for pattern, has in _OPTIONAL.items() for optional in has if any(re.search(f"{pattern}$", n) for n in names)}
    if not names and config.flag("attention_bias"):
        found |= {"attn_q.bias", "attn_k.bias", "attn_v.bias"}
    if config.rope_type() == "llama3" or architecture == "gemma4":
        found.add("rope_freqs.weight")
    if config.rope_type() in {"longrope", "su"}:
        found |= {"rope_factors_long.weight", "rope_factors_short.weight"}
    if architecture == "gemma4":
        if config.flag("attention_k_eq_v"):
            found.add("shared values")
        if short["attention.shared_kv_layers"] and any(f"layers.{short['block_count'] - 1}.self_attn.k_proj." in n for n in names):
            found.add("unused keys")
    return found


def _count(architecture: str, text: Checkpoint, n_layer: int, tied: bool) -> int:
    dropped = re.compile(_DROPPED[architecture].format(n=n_layer)) if architecture in _DROPPED else None
    total = 0
    for name, (dtype, shape) in text.items():
        if _NOT_WEIGHTS.search(name) or (dropped and dropped.match(name)) or (tied and name.endswith("lm_head.weight")):
            continue
        packed = 2 if dtype == "U8" and name.endswith("_blocks") else 1  # MXFP4: two weights in a byte
        total += math.prod(shape) * packed
    return total


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    bits = re.match(r"[A-Z]+(\d+)", dtype)
    return math.prod(shape) * (int(bits[1]) if bits else 8) // 8
