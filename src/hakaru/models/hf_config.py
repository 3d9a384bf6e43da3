"""A local Hugging Face checkpoint seen as the GGUF file that llama.cpp's converter would make of
it.

Metadata comes from config.json by the converter's own rules (`hf_fields`), the tensor table from
`architectures`, and the checkpoint's tensor headers check both: as many weights in the table as in
the files, or the difference is told. Vision and audio towers become a file of their own (mmproj)
and are counted apart.

Quantized checkpoints (`stored_quantization`) are counted as their packing tells; the table is that
of the model itself.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.models.architectures import Dims, tensors_of
from hakaru.models.architectures import architecture as record_of
from hakaru.models.architectures.record import HuggingFace
from hakaru.models.config_values import ConfigValues
from hakaru.models.hf_classes import ModelClass, model_class
from hakaru.models.hf_fields import hyperparameters
from hakaru.models.hyperparameters import expand
from hakaru.models.stored_quantization import StoredQuantization

Checkpoint = Mapping[str, tuple[str, tuple[int, ...]]]
"""Name to dtype and shape, as safetensors headers give them."""

_COMPANION: Final = re.compile(
    r"(model\.)?(visual|vision_tower|vision_model|vision_embed_tokens|multi_modal_projector|audio_tower|embed_vision|embed_audio|connector)\."
)
_HEADS: Final = re.compile(
    r"(model\.)?(score|classifier|qa_outputs|v_head|value_head|reward_head|regression_head|classification_head)\."
)
"""What classifiers have on top of a body."""
_NOT_WEIGHTS: Final = re.compile(
    r"(rotary_emb\.inv_freq|_scale_inv|_scales|(weight|input)_scale(_2)?|position_ids)$"
)
_OPTIONAL: Final = {
    r"self_attn\.q_proj\.bias": ("attn_q.bias",), r"self_attn\.k_proj\.bias": ("attn_k.bias",),
    r"self_attn\.v_proj\.bias": ("attn_v.bias",), r"self_attn\.o_proj\.bias": ("attn_output.bias",),
    r"mlp\.gate_proj\.bias": ("ffn_gate.bias",), r"mlp\.up_proj\.bias": ("ffn_up.bias",),
    r"mlp\.down_proj\.bias": ("ffn_down.bias",),
    r"self_attn\.q_norm\.weight": ("attn_q_norm.weight",),
    r"(e_score_correction_bias|expert_bias)": ("exp_probs_b.bias",),
    r"layers\.\d+\.embed_tokens\.weight": ("nextn.embed_tokens.weight",),
    r"layers\.\d+\.shared_head\.head\.weight": ("nextn.shared_head_head.weight",),
}  # fmt: skip
_BY_CONVERTER: Final = frozenset(
    {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The GGUF file that a checkpoint would become.

    `n_params` counts its table without what converters compute, `n_params_found` the checkpoint's
    own tensors: they are equal where both were understood. That of a quantized checkpoint whose
    packing does not tell is None, and of a checkpoint whose tensors were not read.
    `companion_bytes` are the towers' bytes as stored.
    """

    architecture: str
    model_class: ModelClass
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[tuple[str, Dims], ...]
    n_vocab: int
    tied: bool
    n_params: int
    n_params_found: int | None
    companion_bytes: int

    @property
    def difference(self) -> int:
        """Weights in the checkpoint that the table lacks; below 0: too many in the table; 0 where
        they could not be counted.
        """
        return 0 if self.n_params_found is None else self.n_params_found - self.n_params


def converted(
    where: Path | str,
    config: Mapping[str, Any],
    checkpoint: Checkpoint,
    quantization: StoredQuantization | None = None,
) -> Converted:
    """What `config` (the parsed config.json at `where`) and the tensors of `checkpoint`, quantized
    so, become.

    Raises ModelUnknown for a model class that hakaru cannot derive, ModelDamaged for a config
    without sense.
    """
    kind = model_class(where, config)
    rules = record_of(kind.architecture).hugging_face
    assert rules is not None, "model classes come from records that have them"
    values = ConfigValues(where, config, absent=rules.absent)
    short = hyperparameters(values, rules, checkpoint)
    architecture = (rules.becomes(short) if rules.becomes else None) or kind.architecture
    rows = next(
        (
            shape[0]
            for n, (_, shape) in checkpoint.items()
            if n.endswith("embed_tokens.weight") and len(shape) == 2
        ),
        None,
    )
    n_vocab = rows or values.need("vocab_size")
    tied = _is_tied(rules, values, checkpoint)
    meta = Metadata(where, expand(architecture, short))
    table = tuple(
        tensors_of(
            meta, n_vocab=n_vocab, tied=tied, having=_having(rules, values, short, checkpoint)
        )
    )
    text = {n: t for n, t in checkpoint.items() if not _COMPANION.match(n)}
    return Converted(
        architecture=architecture,
        model_class=kind,
        metadata=expand(architecture, short),
        tensors=table,
        n_vocab=n_vocab,
        tied=tied,
        n_params=sum(math.prod(shape) for n, shape in table if n not in _BY_CONVERTER),
        n_params_found=_count(rules, text, short["block_count"], tied, quantization)
        if checkpoint
        else None,
        companion_bytes=sum(_bytes(*t) for n, t in checkpoint.items() if n not in text),
    )


def _is_tied(rules: HuggingFace, config: ConfigValues, names: Collection[str]) -> bool:
    """A converter writes the output matrix if the checkpoint has one, with exceptions."""
    if rules.tied == "always":
        return True
    stated = config.flag("tie_word_embeddings")
    if rules.tied == "by config" or not names:
        return bool(stated)
    return not any(
        "lm_head." in n for n in names
    )  # packed ones are called lm_head.qweight or lm_head.weight_packed


def _having(
    rules: HuggingFace, config: ConfigValues, short: dict[str, Any], names: Collection[str]
) -> set[str]:
    found = {
        optional
        for pattern, has in _OPTIONAL.items()
        for optional in has
        if any(re.search(f"{pattern}$", n) for n in names)
    }
    if not names and config.flag("attention_bias"):
        found |= {"attn_q.bias", "attn_k.bias", "attn_v.bias"}
    if config.rope_type() == "llama3":
        found.add("rope_freqs.weight")
    if config.rope_type() in {"longrope", "su"}:
        found |= {"rope_factors_long.weight", "rope_factors_short.weight"}
    return found | (rules.having(config, short, names) if rules.having else set())


def _count(
    rules: HuggingFace,
    text: Checkpoint,
    n_layer: int,
    tied: bool,
    quantization: StoredQuantization | None,
) -> int | None:
    dropped = re.compile(rules.dropped.format(n=n_layer)) if rules.dropped else None
    total = 0
    for name, (dtype, shape) in text.items():
        if (
            _NOT_WEIGHTS.search(name)
            or (dropped and dropped.match(name))
            or (tied and "lm_head." in name)
            or _HEADS.match(name)
        ):
            continue
        if quantization:
            stored = quantization.weights_in(name, dtype, shape)
            if stored is None:
                return None
            total += stored
            continue
        packed = (
            2 if dtype == "U8" and name.endswith("_blocks") else 1
        )  # MXFP4: two weights in a byte
        total += math.prod(shape) * packed
    return total


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    bits = re.match(r"[A-Z]+(\d+)", dtype)
    return math.prod(shape) * (int(bits[1]) if bits else 8) // 8
