"""One value, one place: what a setting is called in evidence, in the lab, in the server and in
llama-server.
"""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.engine.server import EngineServer
from hakaru.errors import Misuse
from hakaru.memory.settings import ContextSettings

SETTINGS = ContextSettings(
    n_ctx=8192,
    n_ubatch=256,
    type_k="q8_0",
    type_v="q4_0",
    n_parallel=2,
    kv_unified=True,
    n_checkpoints=3,
)
OTHERS: dict[str, Any] = {
    "n_ctx": 4096, "n_ubatch": 128, "type_k": "f16", "type_v": "f16", "n_parallel": 4,
    "kv_unified": False, "n_checkpoints": 5, "cache_ram_mib": 7, "n_outputs_max": 64,
}  # fmt: skip
NOT_OF = {
    "as_json": {"n_checkpoints", "cache_ram_mib"},
    "as_lab": {"n_checkpoints", "cache_ram_mib"},
    "as_server": {"n_outputs_max"},
    "as_flags": {"n_outputs_max"},
}
"""A server keeps the logits that it needs. It makes checkpoints and keeps prompts, on which no
figure of the lab or the ledger depends.
"""


@pytest.mark.parametrize("spelling", NOT_OF)
@pytest.mark.parametrize("field", OTHERS)
def test_no_spelling_forgets_a_setting(spelling: str, field: str) -> None:
    """Another value of any field gives another spelling, but of those fields that mean nothing
    there.
    """
    ours, other = (
        getattr(s, spelling)() for s in (SETTINGS, replace(SETTINGS, **{field: OTHERS[field]}))
    )
    assert (ours != other) == (field not in NOT_OF[spelling])


def test_llama_servers_flags() -> None:
    """As llama-server's help spells them."""
    assert (
        " ".join(SETTINGS.as_flags())
        == "-c 8192 -ub 256 -np 2 -ctk q8_0 -ctv q4_0 --kv-unified --ctx-checkpoints 3 "
        "--cache-ram 0"
    )
    rammed = ContextSettings(n_ctx=512, cache_ram_mib=64)
    assert rammed.as_flags()[-4:] == ["-ctv", "f16", "--cache-ram", "64"]
    with pytest.raises(Misuse, match="0 or more"):
        ContextSettings(n_ctx=512, cache_ram_mib=-1)  # the engine's word for: without limit


def test_a_conversation_has_its_part_or_the_pool() -> None:
    """Worked by hand: two conversations in 8192 cells, and 300 tokens padded to 512 cells."""
    assert (SETTINGS.tokens_each, replace(SETTINGS, kv_unified=False).tokens_each) == (8192, 4096)
    assert ContextSettings(n_ctx=300).n_cells == 512


@pytest.mark.engine
def test_a_server_shares_its_pool_if_it_is_told_to(tiny: Path) -> None:
    """Read back from the server's own log: what one conversation may have."""
    settings = ContextSettings(n_ctx=1024, n_parallel=2, kv_unified=True)
    with EngineServer(tiny, settings) as server:
        assert server.log.context_per_slot() == 1024
    with EngineServer(tiny, replace(settings, kv_unified=False)) as server:
        assert server.log.context_per_slot() == 512
