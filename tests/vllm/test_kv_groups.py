"""How vLLM keeps what layers remember of a user. Figures that are not worked by hand are those of
vLLM 0.32's own `get_kv_cache_configs` (`test_real_vllm.py` asks it again).
"""

import pytest

from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.find import find_model
from hakaru.vllm.kv_groups import KvGroups, kv_groups, kv_layers
from hakaru.vllm.parallel import Parallel, stages, why_not
from hakaru.vllm.served_type import SERVED_TYPES


def known(name: str) -> Model:
    """A model of the catalogue."""
    return read_language_model(find_model(name).path)


def groups(name: str, tp: int = 1) -> KvGroups:
    """Of a model on cards."""
    return kv_groups(known(name).shape, tp, on_cards=True)


def sizes(kept: KvGroups) -> list[tuple[str, int]]:
    """What each group keeps, and of how many layers."""
    return [(group.keeps, len(group.layers)) for group in kept.groups]


def test_latent_attention_keeps_one_row_of_a_token_on_every_rank() -> None:
    """512 values and 64 with positions, 16 bits each, in 61 layers; not divided by 8 ranks."""
    one, eight = groups("deepseek-v3-0324"), groups("deepseek-v3-0324", tp=8)
    assert one == eight
    assert one.block_bytes(range(61)) == 61 * 64 * (512 + 64) * 2


def test_layers_with_a_window_are_sorted_into_groups_of_as_many_as_those_without() -> None:
    """Gemma 3 1B: 4 of 26 layers see everything, so groups have 4 places."""
    kept = groups("gemma-3-1b-it")
    assert sorted(sizes(kept)) == [("all", 4), *[("window", 3)] * 2, *[("window", 4)] * 4]
    assert kept.block_bytes(range(26)) == 4 * 16 * 2 * 2 * 256


def test_nearly_as_many_layers_of_both_kinds_make_two_groups() -> None:
    """LFM2 1.2B has 6 of one and 10 of the other kind: more than one and a half times as many."""
    assert sizes(groups("gpt-oss-20b")) == [("window", 12), ("all", 12)]
    assert sorted(sizes(groups("lfm2-1.2b"))) == [("all", 6), ("state", 5), ("state", 5)]


def test_a_window_bounds_what_a_user_takes() -> None:
    """A group with a window of 512 takes the tokens on their way, too, and a block more; at a short
    context no more than all tokens and that block.
    """
    kept = groups("gemma-3-1b-it")
    assert kept.blocks_each(32_768, in_flight=4_096) == 32_768 // 16 + 6 * (4_607 // 16 + 2)
    assert kept.blocks_each(1_024, in_flight=4_096) == 64 + 6 * 65


@pytest.mark.parametrize(
    ("name", "block_tokens", "state_blocks"),
    [
        ("qwen3-next-80b-a3b-instruct", 544, 2),
        ("granite-4.0-h-tiny", 400, 3),
        ("nemotron-nano-9b-v2", 1312, 3),
        ("lfm2-1.2b", 16, 2),
    ],
)
def test_a_block_has_as_many_tokens_as_a_state_is_large(
    name: str, block_tokens: int, state_blocks: int
) -> None:
    """In steps of 16; what lacks is padded. A user keeps the state, that before it, and with Mamba
    2 one more.
    """
    shape, kept = known(name).shape, groups(name)
    states = [
        layer.n_bytes for layer in kv_layers(shape, 1, on_cards=True) if layer.keeps == "state"
    ]
    per_token = kept.page_bytes // kept.block_tokens
    assert (kept.block_tokens, kept.state_blocks) == (block_tokens, state_blocks)
    assert kept.page_bytes - 16 * per_token < max(states) <= kept.page_bytes or block_tokens == 16


def test_a_stage_has_its_part_of_each_group() -> None:
    """Layers of a group are spread, so that a block is half as large on each of two stages."""
    kept = groups("gpt-oss-20b")
    first, second = (kept.block_bytes(part) for part in stages(24, 2))
    assert first == second == kept.block_bytes(range(24)) // 2


def test_a_stage_of_states_alone_is_refused() -> None:
    """Its ranks would make blocks of another size than the others."""
    shape = known("nemotron-nano-9b-v2").shape
    why = why_not(shape, SERVED_TYPES["bf16"], Parallel(pp=4))
    assert why == "of 4 stages, some have no layer of attention"
    assert why_not(shape, SERVED_TYPES["bf16"], Parallel(pp=2)) is None
