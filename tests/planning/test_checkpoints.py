"""How many context checkpoints a plan has room for, how much RAM for prompts, and where they are
counted.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.hardware.machine import Device, Hardware, named_ram
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.growth import checkpoint_bytes, prompt_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import loaded
from hakaru.models.catalogue import known_models
from hakaru.planning.checkpoints import Growth, with_checkpoints
from hakaru.planning.explain import explain_placement
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import max_context, place
from hakaru.planning.shares import MARGIN, Placement

GIB = 2**30
GEMMA = next(m for m in known_models() if m.id == "gemma-3-27b-it")
TENSORS = tuple(
    loaded(Metadata(GEMMA.id, GEMMA.metadata()), header_tensors(GEMMA.tensors(), "Q4_0"))
)


def task(**settings: Any) -> Task:
    """Gemma 3 27B with every matrix in Q4_0: a checkpoint of it has 416 MiB."""
    return Task(
        load=load_of(TENSORS, GEMMA.shape.n_layer),
        shape=GEMMA.shape,
        settings=ContextSettings(n_ctx=8192, keeps_prompts=True, **settings),
    )


def planned(asked: Task, hardware: Hardware) -> tuple[Placement, ContextSettings]:
    return with_checkpoints(place(asked, hardware), asked)


def in_ram(gibibytes: float) -> Hardware:
    return Hardware(accelerators=(), ram=named_ram(int(gibibytes * GIB)))


@given(gibibytes=st.floats(16, 80), n_parallel=st.integers(1, 4), kv_unified=st.booleans())
def test_the_number_is_the_largest_that_fits(
    gibibytes: float, n_parallel: int, kv_unified: bool
) -> None:
    """One more per conversation would eat into the margin, but for the least, which is always
    counted, and the engine's 32.
    """
    asked = task(n_parallel=n_parallel, kv_unified=kv_unified, cache_ram_mib=0)
    found, settings = planned(asked, in_ram(gibibytes))
    each, n = checkpoint_bytes(asked.shape, settings), settings.n_checkpoints
    assert each and n
    assert found.ram.checkpoints_bytes == n * each * n_parallel
    limit = gibibytes * GIB * (1 - MARGIN)
    assert n == 1 or found.ram.needed_bytes <= limit
    assert n == 32 or found.ram.needed_bytes + each * n_parallel > limit
    assert (found.verdict == "fits") == (place(asked, in_ram(gibibytes)).verdict == "fits")


def test_a_plan_that_held_only_without_them_does_not_hold() -> None:
    """Four conversations take at least 1.6 GiB more than their weights, caches and buffers."""
    asked = task(n_parallel=4)
    bare = place(
        replace(asked, settings=replace(asked.settings, n_checkpoints=0)), in_ram(64)
    ).total_bytes
    assert place(asked, in_ram(bare * 1.04 / GIB)).verdict == "does_not_fit"
    assert place(asked, in_ram(64)).total_bytes - bare == 4 * (
        checkpoint_bytes(asked.shape, asked.settings) or 0
    )


def test_a_draft_is_copied_into_every_checkpoint() -> None:
    """A draft's plain cache goes whole into each: fewer of them have room."""
    asked = task(cache_ram_mib=0)
    bare, settings = planned(asked, in_ram(24))
    copied = 416 * 2**20
    drafted, fewer = planned(replace(asked, copied_bytes=copied), in_ram(24))
    assert settings.n_checkpoints and fewer.n_checkpoints
    assert fewer.n_checkpoints in (settings.n_checkpoints // 2, settings.n_checkpoints // 2 + 1)
    each = checkpoint_bytes(asked.shape, settings) or 0
    assert drafted.ram.checkpoints_bytes == fewer.n_checkpoints * (each + copied)
    assert bare.ram.checkpoints_bytes == settings.n_checkpoints * each


def test_a_number_that_was_asked_for_stays() -> None:
    """Also where it leads to a refusal."""
    found, settings = planned(task(n_checkpoints=32), in_ram(24))
    assert (settings.n_checkpoints, found.verdict) == (32, "does_not_fit")


def test_on_a_card_they_lie_in_ram() -> None:
    """With the RAM named they fill it; without, the least is told, and the card's verdict is its
    own.
    """
    both, settings = planned(task(), parse_hardware("RTX 3090 + 32GB RAM"))
    assert settings.n_checkpoints == 32
    assert [s.checkpoints_bytes for s in both.shares] == [0]
    alone, settings = planned(task(), parse_hardware("RTX 3090"))
    assert settings.n_checkpoints == 1
    assert (alone.ram_known, alone.verdict, alone.ram.checkpoints_bytes) == (
        False,
        "fits",
        checkpoint_bytes(GEMMA.shape, settings),
    )


def test_on_unified_memory_they_lie_on_the_device() -> None:
    """One memory for both."""
    mac = Hardware(
        accelerators=(
            Device(
                name="Apple M3", vendor="apple", total_bytes=22 * GIB, free_bytes=None, unified=True
            ),
        )
    )
    found, settings = planned(task(), mac)
    each = checkpoint_bytes(GEMMA.shape, settings)
    assert settings.n_checkpoints and each and 1 < settings.n_checkpoints < 32
    assert found.shares[0].checkpoints_bytes == settings.n_checkpoints * each
    assert found.shares[0].requests_bytes == requests_bytes(settings)
    assert found.ram.needed_bytes == 0
    assert found.verdict == "fits"


def test_the_longest_context_leaves_room_for_the_least() -> None:
    """The plan at that context fits with one checkpoint, and not with 256 tokens more."""
    hardware = in_ram(20)
    longest = max_context(task(), hardware)
    for n_ctx, verdict in ((longest, "fits"), (longest + 256, "tight")):
        at = replace(task(), settings=replace(task().settings, n_ctx=n_ctx))
        assert planned(at, hardware)[0].verdict == verdict


def test_every_byte_of_them_is_explained() -> None:
    """Lines of their own; all lines sum to the total."""
    asked = task(n_parallel=2)
    found, settings = planned(asked, in_ram(24))
    terms = explain_placement(replace(asked, settings=settings), TENSORS, found)
    assert sum(t.bytes for t in terms) == found.total_bytes
    (checkpoints,) = [t for t in terms if t.part == "checkpoints_bytes"]
    assert checkpoints.bytes == found.ram.checkpoints_bytes
    assert f"{settings.n_checkpoints} × 2 ×" in checkpoints.formula


@pytest.mark.parametrize(
    ("n", "each", "judged", "words"),
    [
        (32, GIB, True, "the engine's own number has room"),
        (5, GIB, True, "as many as there is room for"),
        (1, GIB, True, "the least with which"),
        (1, GIB, False, "told and not judged"),
        (0, GIB, True, "none"),
        (0, None, True, "switched off"),
    ],
)
def test_the_number_is_told_with_its_reason(
    n: int, each: int | None, judged: bool, words: str
) -> None:
    """One sentence for each case."""
    growth = Growth(
        n_checkpoints=n,
        checkpoint_bytes=each,
        n_parallel=1,
        prompts_bytes=0,
        requests_bytes=0,
        judged=judged,
    )
    assert words in (growth.sentence() or "")


@given(gibibytes=st.floats(16, 80), n_parallel=st.integers(1, 4))
def test_prompts_take_what_has_room(gibibytes: float, n_parallel: int) -> None:
    """Never so much that the plan holds no longer, never more than the engine's own 8 GiB or than
    two conversations with their checkpoints; beside them, one checkpoint more would not go in.
    """
    asked = task(n_parallel=n_parallel)
    found, settings = planned(asked, in_ram(gibibytes))
    each, n = checkpoint_bytes(asked.shape, settings), settings.n_checkpoints
    prompt = prompt_bytes(asked.shape, settings, settings.tokens_each)
    assert each and n and prompt and settings.cache_ram_mib is not None
    assert found.ram.prompts_bytes == settings.cache_ram_mib * 2**20
    assert found.verdict == place(asked, in_ram(gibibytes)).verdict
    wanted = min(8 * GIB, 2 * (prompt + n * each))
    assert found.ram.prompts_bytes < wanted + 2**20
    limit = gibibytes * GIB * (1 - MARGIN)
    if found.ram.prompts_bytes >= wanted and 1 < n < 32:
        more = each * n_parallel + min(8 * GIB, 2 * (prompt + (n + 1) * each) + 2**20) - wanted
        assert found.ram.needed_bytes + more > limit


def test_a_model_that_can_go_back_keeps_prompts_alone() -> None:
    """Llama 3.1 8B at 8,192 tokens beside a card: two copies of its cache of 1 GiB, and 12 bytes
    more for each token.
    """
    known = next(m for m in known_models() if m.id == "llama-3.1-8b-instruct")
    tensors = tuple(
        loaded(Metadata(known.id, known.metadata()), header_tensors(known.tensors(), "Q4_0"))
    )
    settings = ContextSettings(n_ctx=8192, keeps_prompts=True)
    asked = Task(load=load_of(tensors, 32), shape=known.shape, settings=settings)
    found, settings = planned(asked, parse_hardware("RTX 3090 + 64GB RAM"))
    assert (settings.n_checkpoints, settings.cache_ram_mib) == (None, 2049)
    assert [s.prompts_bytes for s in found.shares] == [0]
    assert found.ram.prompts_bytes == 2049 * 2**20
    assert found.layout.server_flags(settings)[-4:-2] == ["--cache-ram", "2049"]
    _, alone = planned(asked, parse_hardware("RTX 3090"))
    assert alone.cache_ram_mib == 0


def test_prompts_are_told() -> None:
    """Where the RAM is known."""
    kept = Growth(
        n_checkpoints=1, checkpoint_bytes=0, n_parallel=1, prompts_bytes=GIB, requests_bytes=0,
        judged=True,
    )  # fmt: skip
    assert "up to 1.0 GiB" in (kept.of_prompts() or "")
    assert replace(kept, prompts_bytes=0).of_prompts() is None
    assert replace(kept, judged=False).of_prompts() is None
    assert kept.total_bytes == GIB


def test_models_that_make_none_say_nothing() -> None:
    """Nobody is told of what does not concern him."""
    assert (
        Growth(
            n_checkpoints=1,
            checkpoint_bytes=0,
            n_parallel=1,
            prompts_bytes=0,
            requests_bytes=0,
            judged=True,
        ).sentence()
        is None
    )
