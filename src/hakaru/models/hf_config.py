"""The GGUF file that llama.cpp's converter would make of a Hugging Face checkpoint.

Metadata comes from config.json by the converter's rules (`hf_fields`), the tensor table from
`architectures`. The headers of the checkpoint's tensors check both: table and files must have
equally many weights, or the difference is told. Vision and audio towers become a separate file
(mmproj) and are counted apart.

The weights of a quantized checkpoint are counted by its packing (`stored_quantization`); the table
is that of the model without quantization.
"""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

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
"""Dtype and shape of every tensor by name, as in safetensors headers."""

_COMPANION: Final = re.compile(
    r"(model\.)?(visual|vision_tower|vision_model|vision_embed_tokens|multi_modal_projector|"
    r"audio_tower|embed_vision|embed_audio|connector)\."
)
_HEADS: Final = re.compile(
    r"(model\.)?(score|classifier|qa_outputs|v_head|value_head|reward_head|regression_head|"
    r"classification_head)\."
)
"""Tensors of a classifier's head, which stands on top of a body."""
_NOT_WEIGHTS: Final = re.compile(
    r"(rotary_emb\.inv_freq|_scale_inv|_scales|(weight|input)_scale(_2)?|position_ids)$"
)
_OPTIONAL: Final = {
    r"self_attn\.q_proj\.bias": "attn_q.bias", r"self_attn\.k_proj\.bias": "attn_k.bias",
    r"self_attn\.v_proj\.bias": "attn_v.bias", r"self_attn\.o_proj\.bias": "attn_output.bias",
    r"mlp\.gate_proj\.bias": "ffn_gate.bias", r"mlp\.up_proj\.bias": "ffn_up.bias",
    r"mlp\.down_proj\.bias": "ffn_down.bias",
    r"self_attn\.q_norm\.weight": "attn_q_norm.weight",
    r"(e_score_correction_bias|expert_bias)": "exp_probs_b.bias",
    r"layers\.\d+\.embed_tokens\.weight": "nextn.embed_tokens.weight",
    r"layers\.\d+\.shared_head\.head\.weight": "nextn.shared_head_head.weight",
}  # fmt: skip
_BY_CONVERTER: Final = frozenset(
    {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"}
)


class Converted(Struct, frozen=True, kw_only=True):
    """The GGUF file that a checkpoint would become."""

    architecture: str
    model_class: ModelClass
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[tuple[str, Dims], ...]
    n_vocab: int
    tied: bool  # the output matrix is the embedding
    n_params: int  # of `tensors`, without those that converters compute
    n_params_found: int | None
    """Weights of the checkpoint's tensors, equal to `n_params` where both were understood. None if
    the tensors were not read, or their packing does not say how many weights they hold.
    """
    companion_bytes: int  # of vision and audio towers, as stored

    @property
    def difference(self) -> int:
        """How many weights the checkpoint has beyond the table (below 0: the table has more); 0
        where the checkpoint's weights could not be counted.
        """
        return 0 if self.n_params_found is None else self.n_params_found - self.n_params


def converted(
    where: Path | str,
    config: Mapping[str, Any],
    checkpoint: Checkpoint,
    quantization: StoredQuantization | None = None,
) -> Converted:
    """The file that llama.cpp would make of `checkpoint`, whose config.json at `where` is `config`.

    Raises ModelUnknown for a model class that hakaru cannot derive, ModelDamaged for a config
    without sense.
    """
    kind = model_class(where, config)
    rules = record_of(kind.architecture).hugging_face
    assert rules is not None, "model classes come from records that have them"
    values = ConfigValues(where, config, absent=rules.absent)
    short = hyperparameters(values, rules, checkpoint)
    architecture = (rules.becomes(short) if rules.becomes else None) or kind.architecture
    embeddings = (
        shape[0]
        for name, (_, shape) in checkpoint.items()
        if name.endswith("embed_tokens.weight") and len(shape) == 2
    )
    n_vocab = next(embeddings, 0) or values.need("vocab_size")
    tied = _is_tied(rules, values, checkpoint)
    metadata = expand(architecture, short)
    having = _having(rules, values, short, checkpoint)
    table = tuple(tensors_of(Metadata(where, metadata), n_vocab=n_vocab, tied=tied, having=having))
    text = {name: stored for name, stored in checkpoint.items() if not _COMPANION.match(name)}
    n_params_found = _count(rules, text, short["block_count"], tied, quantization)
    return Converted(
        architecture=architecture,
        model_class=kind,
        metadata=metadata,
        tensors=table,
        n_vocab=n_vocab,
        tied=tied,
        n_params=sum(math.prod(shape) for name, shape in table if name not in _BY_CONVERTER),
        n_params_found=n_params_found if checkpoint else None,
        companion_bytes=sum(
            _bytes(*stored) for name, stored in checkpoint.items() if name not in text
        ),
    )


def _is_tied(rules: HuggingFace, config: ConfigValues, names: Collection[str]) -> bool:
    """True if the converter writes no output matrix. Without exceptions (`HuggingFace.tied`) that
    is so if the checkpoint has none.
    """
    if rules.tied == "always":
        return True
    stated = config.flag("tie_word_embeddings")
    if rules.tied == "by config" or not names:
        return bool(stated)
    # "lm_head.weight", or packed "lm_head.qweight" and "lm_head.weight_packed"
    return not any("lm_head." in name for name in names)


def _having(
    rules: HuggingFace, config: ConfigValues, short: dict[str, Any], names: Collection[str]
) -> set[str]:
    """The optional tensors that the file will have, by GGUF's names without the block."""
    having = {
        optional
        for pattern, optional in _OPTIONAL.items()
        if any(re.search(f"{pattern}$", name) for name in names)
    }
    if not names and config.flag("attention_bias"):
        having |= {"attn_q.bias", "attn_k.bias", "attn_v.bias"}
    if config.rope_type() == "llama3":
        having.add("rope_freqs.weight")
    if config.rope_type() in {"longrope", "su"}:
        having |= {"rope_factors_long.weight", "rope_factors_short.weight"}
    return having | (rules.having(config, short, names) if rules.having else set())


def _count(
    rules: HuggingFace,
    text: Checkpoint,
    n_layer: int,
    tied: bool,
    quantization: StoredQuantization | None,
) -> int | None:
    """Weights of the tensors that are converted; None where the packing of one does not tell."""
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
        per_element = 2 if dtype == "U8" and name.endswith("_blocks") else 1  # MXFP4
        total += math.prod(shape) * per_element
    return total


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    bits = re.match(r"[A-Z]+(\d+)", dtype)
    return math.prod(shape) * (int(bits[1]) if bits else 8) // 8
