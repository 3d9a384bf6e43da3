"""A checkpoint's config.json becomes the metadata of the file that a converter would write."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakaru.engine.lab import Lab
from hakaru.errors import ModelDamaged, ModelError, ModelUnknown
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.hf_classes import model_class
from hakaru.models.hf_config import Checkpoint, converted
from public_models import OTHERS

KNOWN = {m.id: m for m in [*known_models(), *OTHERS]}
QWEN_LINEAR = {
    "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32, "full_attention_interval": 4,
}  # fmt: skip


def config(
    class_: str, layers: int, embd: int, ff: int, heads: int, kv: int, vocab: int, **more: Any
) -> dict[str, Any]:
    """The fields that every config.json has, and more."""
    return {
        "architectures": [class_], "num_hidden_layers": layers, "hidden_size": embd,
        "intermediate_size": ff, "num_attention_heads": heads, "num_key_value_heads": kv,
        "vocab_size": vocab, "max_position_embeddings": 4096, **more,
    }  # fmt: skip


def moe(n: int, used: int, ff: int, **more: Any) -> dict[str, Any]:
    return {"num_experts": n, "num_experts_per_tok": used, "moe_intermediate_size": ff, **more}


def every(
    n: int, of: int, layers: int, full: str = "full_attention", other: str = "sliding_attention"
) -> list[str]:
    """Layer types: the n-th of each `of` is `full`."""
    return [full if i % of == n else other for i in range(layers)]


TIED = {"tie_word_embeddings": True}
PUBLIC = {
    "llama-3.1-8b-instruct": config("LlamaForCausalLM", 32, 4096, 14336, 32, 8, 128256,
        rope_scaling={"rope_type": "llama3"}),
    "ministral-3-8b-instruct-2512": {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "text_config": config("-", 34, 4096, 14336, 32, 8, 131072, head_dim=128),
    },
    "qwen2.5-7b-instruct": config("Qwen2ForCausalLM", 28, 3584, 18944, 28, 4, 152064,
        sliding_window=131072),
    "qwen3-8b": config("Qwen3ForCausalLM", 36, 4096, 12288, 32, 8, 151936, head_dim=128),
    "qwen3-30b-a3b": config("Qwen3MoeForCausalLM", 48, 2048, 6144, 32, 4, 151936, head_dim=128,
        **moe(128, 8, 768)),
    "qwen3-next-80b-a3b-instruct": config(
        "Qwen3NextForCausalLM", 48, 2048, 5120, 16, 2, 151936, head_dim=256,
        shared_expert_intermediate_size=512, **moe(512, 10, 512), **QWEN_LINEAR,
    ),
    "qwen3.5-9b": {
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        "text_config": config(
            "-", 32, 4096, 12288, 16, 4, 248320, head_dim=256, **QWEN_LINEAR,
            rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.25},
            layer_types=every(3, 4, 32, other="linear_attention"),
        ),
    },
    "qwen3.5-35b-a3b": {
        "architectures": ["Qwen3_5MoeForConditionalGeneration"],
        "text_config": config(
            "-", 40, 2048, 0, 16, 2, 248320, head_dim=256, shared_expert_intermediate_size=512,
            **moe(256, 8, 512), **QWEN_LINEAR,
            rope_parameters={"rope_type": "default", "partial_rotary_factor": 0.25},
        ),
    },
    "gemma-2-9b-it": config("Gemma2ForCausalLM", 42, 3584, 14336, 16, 8, 256000, head_dim=256,
        sliding_window=4096),
    "gemma-3-4b-it": {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {
            "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "sliding_window": 1024, "vocab_size": 262208,
        },
    },
    "gemma-4-26b-a4b-it": {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": config(
            "-", 30, 2816, 2112, 16, 8, 262144, head_dim=256, global_head_dim=512,
            num_global_key_value_heads=2, attention_k_eq_v=True, sliding_window=1024,
            layer_types=every(5, 6, 30), num_experts=128, top_k_experts=8,
            expert_intermediate_size=704, num_kv_shared_layers=0, hidden_size_per_layer_input=0,
        ),
    },
    "gemma-4-e2b-it": {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "text_config": config(
            "-", 35, 1536, 6144, 8, 1, 262144, head_dim=256, global_head_dim=512,
            sliding_window=512, use_double_wide_mlp=True, layer_types=every(4, 5, 35),
            num_kv_shared_layers=20, hidden_size_per_layer_input=256,
        ),
    },
    "phi-4-mini-instruct": config(
        "Phi3ForCausalLM", 32, 3072, 8192, 24, 8, 200064, rope_scaling={"type": "longrope"},
        partial_rotary_factor=0.75, **TIED
    ),
    "gpt-oss-20b": config(
        "GptOssForCausalLM", 24, 2880, 2880, 64, 8, 201088, head_dim=64, num_local_experts=32,
        num_experts_per_tok=4, sliding_window=128, layer_types=every(1, 2, 24),
    ),
    "deepseek-v2-lite": config(
        "DeepseekV2ForCausalLM", 27, 2048, 10944, 16, 16, 102400, n_routed_experts=64,
        num_experts_per_tok=6, n_shared_experts=2, moe_intermediate_size=1408,
        first_k_dense_replace=1, q_lora_rank=None, kv_lora_rank=512, qk_nope_head_dim=128,
        qk_rope_head_dim=64, v_head_dim=128,
    ),
    "glm-4.5-air": config(
        "Glm4MoeForCausalLM", 46, 4096, 10944, 96, 8, 151552, head_dim=128, n_routed_experts=128,
        num_experts_per_tok=8, n_shared_experts=1, moe_intermediate_size=1408,
        first_k_dense_replace=1, num_nextn_predict_layers=1, partial_rotary_factor=0.5,
    ),
    "glm-4-32b-0414": config(
        "Glm4ForCausalLM", 61, 6144, 23040, 48, 2, 151552, head_dim=128, partial_rotary_factor=0.5
    ),
    "granite-3.3-8b-instruct": config("GraniteForCausalLM", 40, 4096, 12800, 32, 8, 49159, **TIED),
    "granite-4.0-h-tiny": config(
        "GraniteMoeHybridForCausalLM", 40, 1536, 512, 12, 4, 100352, num_local_experts=64,
        num_experts_per_tok=6, shared_intermediate_size=1024,
        layer_types=every(5, 10, 40, "attention", "mamba"), mamba_n_heads=48, mamba_d_head=64,
        mamba_d_conv=4, mamba_d_state=128, mamba_n_groups=1, **TIED,
    ),
    "granite-4.0-1b": config(
        "GraniteMoeHybridForCausalLM", 40, 2048, 4096, 16, 4, 100352, num_local_experts=0,
        shared_intermediate_size=4096, layer_types=["attention"] * 40, **TIED,
    ),
    "olmo-2-1124-7b-instruct": config("Olmo2ForCausalLM", 32, 4096, 11008, 32, 32, 100352),
    "olmo-3-7b-instruct": config(
        "Olmo3ForCausalLM", 32, 4096, 11008, 32, 32, 100278, sliding_window=4096,
        layer_types=every(3, 4, 32)
    ),
    "smollm3-3b": config("SmolLM3ForCausalLM", 36, 2048, 11008, 16, 4, 128256, **TIED),
    "c4ai-command-r7b-12-2024": config("Cohere2ForCausalLM", 32, 4096, 14336, 32, 8, 256000,
        head_dim=128, sliding_window=4096),
    "aya-expanse-8b": config("CohereForCausalLM", 32, 4096, 14336, 32, 8, 256000),
    "lfm2-1.2b": config(
        "Lfm2ForCausalLM", 16, 2048, 12288, 32, 8, 65536, conv_L_cache=3, block_ff_dim=12288,
        block_auto_adjust_ff_dim=True, block_ffn_dim_multiplier=1.0, block_multiple_of=256,
        layer_types=["full_attention" if i in {2, 5, 8, 10, 12, 14} else "conv" for i in range(16)],
        **TIED,
    ),
    "exaone-4.0-1.2b": config(
        "Exaone4ForCausalLM", 30, 2048, 4096, 32, 8, 102400, head_dim=64, sliding_window=None,
        rope_scaling={"rope_type": "llama3"}, **TIED,
    ),
    "ernie-4.5-0.3b": config("Ernie4_5ForCausalLM", 18, 1024, 3072, 16, 2, 103424, head_dim=128,
        **TIED),
    "llama-4-scout-17b-16e-instruct": {
        "architectures": ["Llama4ForConditionalGeneration"],
        "text_config": config(
            "-", 48, 5120, 8192, 40, 8, 202048, head_dim=128, intermediate_size_mlp=16384,
            num_local_experts=16, num_experts_per_tok=1, interleave_moe_layer_step=1,
            rope_scaling={"rope_type": "llama3"},
        ),
    },
    "trinity-mini": config(
        "AfmoeForCausalLM", 32, 2048, 6144, 32, 4, 200192, head_dim=128, num_shared_experts=1,
        num_dense_layers=2, sliding_window=2048, **moe(128, 8, 1024),
    ),
    "step-3.5-flash": config(
        "Step3p5ForCausalLM", 45, 4096, 11264, 64, 8, 128896, num_attention_groups=8, head_dim=128,
        moe_num_experts=288, moe_top_k=8, moe_intermediate_size=1280, share_expert_dim=1280,
        moe_layers_enum=",".join(map(str, range(3, 45))), num_nextn_predict_layers=3,
        sliding_window=512, layer_types=every(0, 4, 48), rope_scaling={"rope_type": "llama3"},
        attention_other_setting={"num_attention_heads": 96, "num_attention_groups": 8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("id_", PUBLIC)
def test_public_configs_give_the_catalogue_s_models(id_: str) -> None:
    """The same number of weights, the same architecture and the same rotated part of a head as the
    catalogue or the card; here without a checkpoint to look at.
    """
    found, known = converted("config.json", PUBLIC[id_], {}), KNOWN[id_]
    assert found.architecture == known.architecture
    assert found.n_params == known.n_params
    rotated = f"{found.architecture}.rope.dimension_count"
    assert found.metadata.get(rotated) == known.metadata().get(rotated)


@pytest.mark.engine
@pytest.mark.parametrize(
    "id_",
    ["qwen3.5-35b-a3b", "granite-4.0-h-tiny", "gemma-4-e2b-it", "lfm2-1.2b", "phi-4-mini-instruct"],
)
def test_llama_cpp_loads_what_a_config_becomes(id_: str, tmp_path: Path) -> None:
    """The metadata is enough for its loader, too."""
    found = converted("config.json", PUBLIC[id_], {})
    path = write_header_only(
        tmp_path / "x.gguf", without_vocabulary(found.metadata, found.n_vocab), found.tensors
    )
    assert Lab().dry_run(path, ContextSettings(n_ctx=512)).weights_bytes >= 2 * found.n_params


def layer(i: int, *, bias: bool = False) -> dict[str, tuple[str, tuple[int, ...]]]:
    """A layer of Qwen2's checkpoint: 64 wide, four heads of 16, two for keys."""
    rows = {
        "self_attn.q_proj": (64, 64),
        "self_attn.k_proj": (32, 64),
        "self_attn.v_proj": (32, 64),
    }
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in rows.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in rows.items()} if bias else {}
    shapes |= {
        "self_attn.o_proj.weight": (64, 64), "mlp.gate_proj.weight": (96, 64),
        "mlp.up_proj.weight": (96, 64), "mlp.down_proj.weight": (64, 96),
        "input_layernorm.weight": (64,), "post_attention_layernorm.weight": (64,),
    }  # fmt: skip
    return {f"model.layers.{i}.{name}": ("BF16", shape) for name, shape in shapes.items()}


WHOLE: Checkpoint = {
    "model.embed_tokens.weight": ("BF16", (320, 64)),
    "model.norm.weight": ("BF16", (64,)),
    **layer(0, bias=True),
    **layer(1, bias=True),
}
SMALL = config("Qwen2ForCausalLM", 2, 64, 96, 4, 2, 300)


def test_the_checkpoint_decides_what_a_config_leaves_open() -> None:
    """A padded embedding, tied or not, biases: read from the tensors; every weight is accounted
    for.
    """
    found = converted("config.json", SMALL, WHOLE)
    assert (found.n_vocab, found.tied, found.difference) == (320, True, 0)
    untied = converted("config.json", SMALL, {**WHOLE, "lm_head.weight": ("BF16", (320, 64))})
    assert (untied.tied, untied.difference) == (False, 0)
    assert ("output.weight", (64, 320)) in untied.tensors
    biased = converted("config.json", SMALL | {"architectures": ["LlamaForCausalLM"]}, WHOLE)
    assert ("blk.0.attn_q.bias", (64,)) in biased.tensors
    assert biased.difference == 0


def test_towers_are_counted_apart_and_scales_not_at_all() -> None:
    """A vision tower's bytes as stored; FP8's scales are no weights."""
    extra = {
        "visual.blocks.0.attn.qkv.weight": ("BF16", (30, 10)),
        "model.vision_tower.x.weight": ("F32", (5,)),
        "model.layers.0.mlp.up_proj.weight_scale_inv": ("F32", (2, 2)),
    }
    found = converted("config.json", SMALL, {**WHOLE, **extra})
    assert (found.companion_bytes, found.difference) == (620, 0)


def test_a_missing_or_a_strange_tensor_shows_as_a_difference() -> None:
    """Nothing is guessed away."""
    short = {
        name: tensor
        for name, tensor in WHOLE.items()
        if not name.endswith("1.mlp.down_proj.weight")
    }
    assert converted("config.json", SMALL, short).difference == -64 * 96
    assert (
        converted(
            "config.json", SMALL, {**WHOLE, "model.extra.weight": ("BF16", (7, 3))}
        ).difference
        == 21
    )


def test_a_llama_without_a_gate_is_arcee_s() -> None:
    """Its class has an architecture of its own, whose feed-forward part is two matrices."""
    found = converted("config.json", config("ArceeForCausalLM", 1, 64, 96, 4, 2, 300), {})
    feed_forward = [name for name, _ in found.tensors if "ffn_" in name and "norm" not in name]
    assert (found.architecture, feed_forward) == (
        "arcee",
        ["blk.0.ffn_up.weight", "blk.0.ffn_down.weight"],
    )


def test_blocks_for_multi_token_prediction_are_appended_if_the_checkpoint_has_them() -> None:
    """Qwen3.5: one block more in the file than layers in the config."""
    plain = converted("config.json", PUBLIC["qwen3.5-9b"], {})
    names: Checkpoint = {"mtp.fc.weight": ("BF16", (4096, 8192))}
    more = converted("config.json", PUBLIC["qwen3.5-9b"], names)
    assert plain.metadata["qwen35.block_count"] == 32
    assert more.metadata["qwen35.block_count"] == 33
    assert more.metadata["qwen35.nextn_predict_layers"] == 1
    assert (
        sum(math.prod(s) for n, s in more.tensors if n.startswith("blk.32."))
        == KNOWN["qwen3.5-9b"].n_params_mtp
    )


def test_blocks_for_multi_token_prediction_may_have_windows_and_heads_of_their_own() -> None:
    """Step 3.5: three blocks more, which the list of layer types names, too."""
    matrix = "BF16", (128896, 4096)
    names: Checkpoint = {
        "model.layers.45.transformer.shared_head.output.weight": matrix,
        "lm_head.weight": matrix,
    }
    found = converted("config.json", PUBLIC["step-3.5-flash"], names)
    known = KNOWN["step-3.5-flash"]
    assert found.n_params == known.n_params + known.n_params_mtp
    assert found.metadata["step35.nextn_predict_layers"] == 3
    for key in ("attention.head_count", "attention.sliding_window_pattern"):
        assert found.metadata[f"step35.{key}"] == known.metadata()[f"step35.{key}"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("BertForSequenceClassification", "a classifier or reranker"),
        ("NewForTokenClassification", "a token classifier"),
        ("XLMRobertaModel", "an embedding model"),
        ("WhisperForConditionalGeneration", "a model of speech"),
        ("T5ForConditionalGeneration", "an encoder with a decoder"),
        ("Florence2ForConditionalGeneration", "a language model with eyes or ears"),
        ("CLIPModel", "a model of pictures"),
        ("InternLM2ForCausalLM", "a language model"),
        ("NoSuchThing", "of a kind unknown"),
    ],
)
def test_a_class_that_cannot_be_derived_says_what_it_is(name: str, kind: str) -> None:
    """By the custom of its name, with the way to a GGUF file."""
    with pytest.raises(
        ModelUnknown,
        match=rf"model class '{name}' cannot be derived.*it is {kind}.*convert_hf_to_gguf",
    ):
        converted("config.json", {"architectures": [name]}, {})


def test_a_config_without_a_class_takes_its_model_type() -> None:
    """The usual class of that type; none is told as such."""
    made = converted(
        "config.json",
        config("", 2, 64, 128, 4, 2, 100, model_type="qwen3") | {"architectures": None},
        {},
    )
    assert (made.architecture, made.model_class.is_converted) == ("qwen3", False)
    with pytest.raises(ModelUnknown, match=r"names no model class .*model_type 'None'"):
        converted("config.json", {}, {})


@pytest.mark.parametrize(
    ("name", "architecture", "kind", "is_converted"),
    [
        ("Qwen3ForSequenceClassification", "qwen3", "classifier", False),
        ("LlamaForTokenClassification", "llama", "token classifier", False),
        ("Qwen2ForRewardModel", "qwen2", "reward model", False),
        ("MistralModel", "llama", "embedding model", False),
        ("Qwen2Model", "qwen2", "embedding model", True),
        ("Gemma3TextModel", "gemma3", "embedding model", True),
        ("Qwen3ForCausalLM", "qwen3", "language model", True),
    ],
)
def test_a_class_that_scores_or_embeds_has_the_body_of_one_that_writes(
    name: str, architecture: str, kind: str, is_converted: bool
) -> None:
    """And is told what it is."""
    found = model_class("config.json", {"architectures": [name]})
    assert (found.architecture, found.kind, found.is_converted) == (
        architecture,
        kind,
        is_converted,
    )


def test_the_language_model_s_own_class_counts() -> None:
    """A model with eyes whose outer class is unknown: its text_config names the body, as
    llama.cpp's converter reads it.
    """
    outer = {
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"architectures": ["MistralForCausalLM"]},
    }
    assert model_class("config.json", outer).architecture == "llama"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": "wide"}, 'hidden_size is "wide", expected a whole number'),
        ({"num_hidden_layers": None}, "lacks the field num_hidden_layers, expected a whole"),
        ({"num_hidden_layers": 2**31}, "num_hidden_layers is 2147483648"),
        ({"num_hidden_layers": 2**30}, "num_hidden_layers is 1073741824, expected at most 512"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings is 1, expected true or false"),
    ],
)
def test_a_config_without_sense_is_damage(change: dict[str, Any], words: str) -> None:
    """Where, what was found, what was expected."""
    with pytest.raises(ModelDamaged, match=words):
        converted("config.json", SMALL | change, {})


FIELDS = sorted(
    {key for c in PUBLIC.values() for key in {**c, **c.get("text_config", {})}}
    - {"architectures", "text_config"}
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 70),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.sampled_from(["full_attention", "mamba", "conv", "attention"]), max_size=70),
    st.dictionaries(st.text(), st.none()),
)


@settings(max_examples=300, deadline=None)
@given(
    id_=st.sampled_from(sorted(PUBLIC)),
    changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=4),
)
def test_no_config_raises_anything_but_a_sentence(id_: str, changes: dict[str, Any]) -> None:
    """A config is a stranger's: whatever stands in it, the answer is a table or a ModelError."""
    base = PUBLIC[id_]
    with suppress(ModelError):
        converted(
            "config.json",
            {
                **base,
                **base.get("text_config", {}),
                **changes,
                "architectures": base["architectures"],
                "text_config": None,
            },
            {},
        )
