"""Types and bytes by preset, worked by hand or known from llama.cpp's logs; the quantizer itself is
asked in the oracle's tests.
"""

import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import ModelUnknown
from hakaru.formats.gguf import Tensor
from hakaru.formats.metadata import Metadata, Written
from hakaru.formats.quant_types import BY_NAME
from hakaru.models.mixture import more_bits, preset_types
from hakaru.models.presets import BASE_TYPES, FTYPES, NEEDS_IMPORTANCE
from hakaru.models.roster import Facts, Role, Roster, quantizer_facts, roster
from hakaru.models.shape import Shape
from hakaru.testing import llama_tensors, tiny_shape


def tensor(name: str, *shape: int, type_: str = "F16") -> Tensor:
    return Tensor(name=name, shape=shape, type=BY_NAME[type_], offset=0)


def tensors_of(shape: Shape, *, tied: bool = False) -> list[Tensor]:
    """The tensor table of a dense model, row length first."""
    return [
        tensor(name, *reversed(dims), type_="F32" if len(dims) == 1 else "F16")
        for name, dims in llama_tensors(shape, tied=tied)
    ]


def facts(**changes: int | str) -> Facts:
    fields: dict[str, Any] = {
        "architecture": "llama",
        "n_layer": 2,
        "n_expert": 0,
        "n_head": 4,
        "n_head_kv": 2,
    }
    return Facts(**(fields | changes))


def roster_of(shape: Shape, *, tied: bool = False) -> Roster:
    model = facts(
        architecture=shape.architecture,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        n_head_kv=shape.n_head_kv[0],
    )
    return roster(model, tensors_of(shape, tied=tied))


LLAMA_8B = tiny_shape(
    n_layer=32, n_embd=4096, n_ff=14336, n_head=32, n_head_kv=(8,) * 32, n_vocab=128256
)
LLAMA_70B = tiny_shape(
    n_layer=80, n_embd=8192, n_ff=28672, n_head=64, n_head_kv=(8,) * 80, n_vocab=128256
)
SMOLLM2 = tiny_shape(
    n_layer=30, n_embd=576, n_ff=1536, n_head=9, n_head_kv=(3,) * 30, n_vocab=49152
)


def total_bytes(shape: Shape, types: dict[str, str]) -> int:
    return sum(t.bytes_as(BY_NAME[types[t.name]]) for t in tensors_of(shape))


def test_llama_8b_at_q4_k_m_has_the_tensors_of_llama_cpp_s_log() -> None:
    """`f32: 65 tensors, q4_K: 193, q6_K: 33`, and 4403.49 MiB on the GPU beside a Q4_K embedding of
    281.81 MiB.
    """
    model = roster_of(LLAMA_8B)
    assert Counter(preset_types(model, "Q4_K_M").values()) == {"F32": 65, "Q4_K": 193, "Q6_K": 33}
    assert total_bytes(LLAMA_8B, preset_types(model, "Q4_K_M")) / 2**20 == pytest.approx(
        4403.49 + 281.81, abs=0.01
    )


def test_llama_70b_at_q4_k_m_lifts_its_small_attn_v() -> None:
    """40 layers of 80 get more bits: Q6_K for attn_v and ffn_down, and for the output; the other
    attn_v Q5_K, not Q4_K.
    """
    assert Counter(preset_types(roster_of(LLAMA_70B), "Q4_K_M").values()) == {
        "F32": 161,
        "Q4_K": 441,
        "Q5_K": 40,
        "Q6_K": 81,
    }


def test_rows_of_576_fall_back() -> None:
    """576 is no multiple of 256 but one of 32: Q4_K becomes Q5_0 and Q6_K Q8_0; ffn_down's rows of
    1536 need no fallback.

    The embedding is the output too and gets Q8_0: 32 bytes and a scale for each of 49152 x 576 / 32
    blocks.
    """
    types = preset_types(roster_of(SMOLLM2, tied=True), "Q4_K_M")
    assert types["token_embd.weight"] == "Q8_0"
    assert types["blk.5.attn_q.weight"] == types["blk.5.ffn_up.weight"] == "Q5_0"
    assert (types["blk.0.attn_v.weight"], types["blk.3.attn_v.weight"]) == ("Q8_0", "Q5_0")
    assert (types["blk.0.ffn_down.weight"], types["blk.3.ffn_down.weight"]) == ("Q6_K", "Q4_K")


def test_rows_that_no_block_divides_stay_in_f16() -> None:
    """100 is no multiple of 32."""
    model = roster(
        facts(), [tensor("blk.0.ffn_up.weight", 100, 64), tensor("blk.0.ffn_gate.weight", 96, 64)]
    )
    assert preset_types(model, "Q4_K_M") == {
        "blk.0.ffn_up.weight": "F16",
        "blk.0.ffn_gate.weight": "Q5_0",
    }


def test_what_is_small_or_no_matrix_keeps_its_type() -> None:
    """Norms, biases, routers, convolutions and a matrix of one row, which ggml takes for a
    vector.
    """
    kept = [
        tensor("blk.0.attn_norm.weight", 256, type_="F32"),
        tensor("blk.0.attn_q_norm.weight", 256, 4, type_="F32"),
        tensor("blk.0.attn_q.bias", 256, type_="F32"),
        tensor("blk.0.ffn_up_exps.bias", 256, 8, type_="F32"),
        tensor("blk.0.ffn_gate_inp.weight", 256, 8, type_="F32"),
        tensor("blk.0.ssm_conv1d.weight", 4, 512, type_="F32"),
        tensor("blk.0.ffn_gate_inp_shexp.weight", 256, 1, type_="F32"),
        tensor("position_embd.weight", 256, 512, type_="F16"),
    ]
    model = roster(facts(), [*kept, tensor("blk.0.attn_q.weight", 256, 256)])
    assert {t.name for t in model.kept} == {t.name for t in kept}
    assert preset_types(model, "Q8_0") == {t.name: t.type.name for t in kept} | {
        "blk.0.attn_q.weight": "Q8_0"
    }


def test_layers_are_counted_by_number_not_by_spelling() -> None:
    """Layer 10 comes after layer 2: of 16 layers the first two get more bits, whatever the order in
    the file.
    """
    names = [f"blk.{i}.ffn_down.weight" for i in (10, 1, 0, 15, 2, 12, *range(3, 10), 11, 13, 14)]
    types = preset_types(
        roster(facts(n_layer=16), [tensor(name, 256, 256) for name in names]), "Q4_K_S"
    )
    assert {name for name, type_ in types.items() if type_ == "Q5_K"} == {
        "blk.0.ffn_down.weight",
        "blk.1.ffn_down.weight",
    }


def test_every_third_layer_between_the_eighths_gets_more_bits() -> None:
    """Of 32: 0 to 3, 28 to 31, and 6, 9, …, 27."""
    assert [i for i in range(32) if more_bits(i, 32)] == [
        0,
        1,
        2,
        3,
        *range(6, 28, 3),
        28,
        29,
        30,
        31,
    ]


def test_experts_are_counted_by_their_layer() -> None:
    """Layer 1 of 16 is in the first eighth for its shared expert and its experts alike."""
    tensors = [
        tensor(f"blk.{i}.ffn_down_{kind}.weight", 256, 256, *tail)
        for i in range(16)
        for kind, tail in (("exps", (64,)), ("shexp", ()))
    ]
    types = preset_types(roster(facts(n_layer=16, n_expert=64), tensors), "Q4_K_S")
    assert sum(type_ == "Q5_K" for type_ in types.values()) == 4
    assert types["blk.1.ffn_down_shexp.weight"] == types["blk.1.ffn_down_exps.weight"] == "Q5_K"


def test_eight_experts_make_small_matrices_precise() -> None:
    """Mixtral's K and V are small beside its experts: Q8_0; its attn_output Q5_K."""
    tensors = [tensor(f"blk.0.attn_{name}.weight", 256, 256) for name in ("q", "k", "v", "output")]
    types = preset_types(roster(facts(n_expert=8), tensors), "Q4_K_M")
    assert [types[t.name] for t in tensors] == ["Q4_K", "Q8_0", "Q8_0", "Q5_K"]


def test_mxfp4_is_for_experts() -> None:
    """Stacks of matrices get MXFP4, all else Q8_0."""
    tensors = [
        tensor("blk.0.ffn_up_exps.weight", 2880, 2880, 32),
        tensor("blk.0.attn_q.weight", 2880, 4096),
        tensor("output.weight", 2880, 64),
    ]
    types = preset_types(roster(facts(architecture="gpt-oss", n_expert=32), tensors), "MXFP4_MOE")
    assert [types[t.name] for t in tensors] == ["MXFP4", "Q8_0", "Q8_0"]


def test_importance_data_changes_the_first_ffn_down() -> None:
    """IQ4_XS guards the first eighth with Q5_K where there are no importance data; Q4_0 becomes
    Q4_1 where there are.
    """
    model = roster_of(LLAMA_8B)
    first = "blk.0.ffn_down.weight"
    assert [preset_types(model, "IQ4_XS", has_imatrix=has)[first] for has in (False, True)] == [
        "Q5_K",
        "IQ4_XS",
    ]
    assert [preset_types(model, "Q4_0", has_imatrix=has)[first] for has in (False, True)] == [
        "Q4_0",
        "Q4_1",
    ]


@pytest.mark.parametrize("name", ["enc.blk.0.ffn_up.weight", "blk.2.ffn_up.weight"])
def test_an_expert_model_s_tensor_outside_the_layers_is_refused(name: str) -> None:
    """As the quantizer refuses it, which parses the layer from the name."""
    model = roster(facts(n_expert=4), [tensor(name, 256, 256)])
    with pytest.raises(ModelUnknown, match=f"{name} belongs to none of the model's 2 layers"):
        preset_types(model, "Q4_K_M")


def test_facts_are_the_first_layer_s() -> None:
    """An array of heads counts by its first entry; without KV heads there are as many as heads;
    without heads, none.
    """
    keys: dict[str, Written] = {"general.architecture": "x", "x.block_count": 2}
    arrays = quantizer_facts(
        Metadata(
            "x", keys | {"x.attention.head_count": [12, 20], "x.attention.head_count_kv": [3, 10]}
        )
    )
    assert arrays.n_gqa == 4
    assert quantizer_facts(Metadata("x", keys | {"x.attention.head_count": 8})).n_gqa == 1
    assert quantizer_facts(Metadata("x", keys)).n_gqa == 0


@pytest.mark.parametrize(
    ("changes", "is_70b"),
    [
        ({"architecture": "llama"}, True),
        ({"architecture": "llama", "n_head_kv": 64}, False),
        ({"architecture": "llama", "n_expert": 8}, False),
        ({"architecture": "qwen2", "n_head_kv": 64}, True),
        ({"architecture": "qwen3"}, False),
        ({"architecture": "jais2", "n_layer": 68}, True),
    ],
)
def test_a_70b_is_what_llama_cpp_calls_so(changes: dict[str, int | str], is_70b: bool) -> None:
    """By architecture and number of layers."""
    fields: dict[str, int | str] = {"n_layer": 80, "n_head": 64, "n_head_kv": 8}
    assert facts(**(fields | changes)).is_70b is is_70b


def test_every_preset_has_a_base_type() -> None:
    """And none of them is unknown."""
    assert set(BASE_TYPES) == set(FTYPES) | set(NEEDS_IMPORTANCE)
    assert set(BASE_TYPES.values()) <= set(BY_NAME)


@given(
    n_layer=st.integers(1, 40),
    n_embd=st.sampled_from([64, 100, 256, 576, 896, 2880]),
    n_ff=st.sampled_from([32, 48, 512, 4864]),
    n_expert=st.sampled_from([0, 1]),
    tied=st.booleans(),
    preset=st.sampled_from(sorted(BASE_TYPES)),
    has_imatrix=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_blocks_divide_rows_and_nothing_follows_from_the_order(
    n_layer: int,
    n_embd: int,
    n_ff: int,
    n_expert: int,
    tied: bool,
    preset: str,
    has_imatrix: bool,
    random: Random,
) -> None:
    """Every tensor has one type whose blocks divide its rows; the file's order is of no matter."""
    shape = tiny_shape(n_layer=n_layer, n_embd=n_embd, n_ff=n_ff)
    tensors = tensors_of(shape, tied=tied)
    shuffled = random.sample(tensors, len(tensors))
    model = roster(facts(n_layer=n_layer, n_expert=n_expert), shuffled)
    types = preset_types(model, preset, has_imatrix=has_imatrix)
    assert set(types) == {t.name for t in tensors}
    assert all(t.shape[0] % BY_NAME[types[t.name]].block == 0 for t in tensors)
    assert types == preset_types(roster(model.facts, tensors), preset, has_imatrix=has_imatrix)


def n_calls(work: Callable[[], object]) -> int:
    """How many functions, of Python and of C, `work` calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("preset", ["Q8_0", "Q4_K_M", "IQ2_XS"])
def test_eight_times_the_layers_are_eight_times_the_work(preset: str) -> None:
    """Nothing is quadratic."""

    def plan(n_layer: int) -> Callable[[], object]:
        tensors = tensors_of(tiny_shape(n_layer=n_layer))
        model = facts(n_layer=n_layer)
        return lambda: preset_types(roster(model, tensors), preset)

    plan(50)()
    assert n_calls(plan(400)) <= 8.2 * n_calls(plan(50))


def test_roles_are_told_by_the_first_part_that_matches() -> None:
    """Fused matrices that hold V count as V; a shared expert's gate is a gate."""
    roles = {
        "blk.0.attn_qkv.weight": Role.ATTN_V,
        "blk.0.attn_kv_b.weight": Role.ATTN_V,
        "blk.0.attn_v_b.weight": Role.OTHER,
        "blk.0.attn_q_a.weight": Role.OTHER,
        "dec.blk.0.cross_attn_v.weight": Role.ATTN_V,
        "blk.0.ffn_gate_shexp.weight": Role.FFN_GATE,
        "per_layer_token_embd.weight": Role.TOKEN_EMBD,
        "output.weight": Role.OUTPUT,
        "blk.0.time_mix_output.weight": Role.OTHER,
    }
    groups = roster(facts(), [tensor(name, 256, 256) for name in roles]).groups
    assert {name: group.role for group in groups for name in group.names} == roles
