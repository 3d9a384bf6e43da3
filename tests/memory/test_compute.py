"""Compute buffers: the allocator by hand, figures seen in dry runs, and llama.cpp itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.formats.quant_types import BY_NAME
from hakaru.memory.allocator import ENDLESS, Memory, bytes_of, steps_of
from hakaru.memory.compute import compute_bytes, device_compute, explain_compute
from hakaru.memory.graph import Graph, Tensor, size_of
from hakaru.memory.graph_names import NAMES
from hakaru.memory.latent_attention import ZEROS
from hakaru.memory.schedule import Place, schedule
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.testing import tiny_shape
from public_models import one_of_each, one_per_graph


def model(id_: str) -> KnownModel:
    return next(m for m in known_models() if m.id == id_)


def test_the_smallest_hole_that_fits_is_taken() -> None:
    """Holes of 64 and 32 bytes: 32 bytes go to the second, 64 to the first, and the buffer does not
    grow.
    """
    memory = Memory()
    a, _, c, _ = (memory.give(size) for size in (64, 32, 32, 32))
    memory.take_back(a, 64)
    memory.take_back(c, 32)
    assert memory.give(32) == c
    assert memory.give(64) == a
    assert memory.top == 160


def test_neighbouring_holes_become_one() -> None:
    """Three blocks given back in any order leave one endless hole."""
    memory = Memory()
    addresses = [memory.give(32) for _ in range(3)]
    for address in (addresses[1], addresses[0], addresses[2]):
        memory.take_back(address, 32)
    assert memory.free == [(0, ENDLESS)]


def test_a_sum_takes_the_place_of_a_source_that_nobody_else_needs() -> None:
    """y = norm(x); y + x: the sum lies where y lay, and x is given back. A view's memory is never
    taken over.
    """
    graph = Graph()
    x = Tensor("x", (8, "T"), size_of((8, "T")))
    y = graph.like(x, name="y")
    total = graph.expand(graph.like(y, x, name="total"))
    memory, where = Memory(), [0, 0, 0, 0]
    where[0] = memory.give(64)
    steps = steps_of(graph.nodes, [x], [total], {x})
    memory.run(steps, [bytes_of(size, {"T": 2}) for size in steps.sizes], where)
    assert where[steps.exits[0]] == 64
    assert memory.top == 128
    seen = Graph()
    moved = seen.expand(seen.like(seen.reshape(seen.mul_mat(x, 8, "y"), (8, "T"))))
    assert [step[0] for step in steps_of(seen.nodes, [x], [moved], {x}).steps] == [0, 1, 0, 1]


def test_llama_8b_by_hand() -> None:
    """At the peak three rows of n_ff (gate, up, their product), five of n_embd, the mask, positions
    and indices.

    Of the five one is the residual. Two are inputs that stay: embeddings from outside, and the copy
    that images are written into. Two are the place of the input that was copied, and of the
    embeddings, which nothing needs any more.
    """
    rows = 3 * 14336 + 5 * 4096
    small = (
        3 * 512 * 4 + 2 * 512 * 8 - 512 * 4 + 32
    )  # positions and K, V indices; the tokens' place is free, yet below the rest
    among_images = 512 * (4 + 8)  # tokens and their places, in a micro-batch that mixes both
    expected = 4 * 512 * rows + 2 * 512 * 4096 + small + among_images + 512 * 4 - 2048
    assert (
        compute_bytes(model("llama-3.1-8b-instruct").shape, ContextSettings(n_ctx=4096))
        == expected
        == 134_236_192
    )


@pytest.mark.parametrize(
    ("id_", "settings", "expected"),
    [
        (
            "llama-3.1-8b-instruct",
            ContextSettings(n_ctx=4096, type_k="q8_0", type_v="q8_0"),
            134_318_112,
        ),
        (
            "qwen3-30b-a3b",
            ContextSettings(n_ctx=32768, n_ubatch=2048, type_k="q8_0", type_v="q8_0"),
            503_472_160,
        ),
        ("gemma-3-4b-it", ContextSettings(n_ctx=131072), 224_948_256),
        ("deepseek-v3-0324", ContextSettings(n_ctx=32768, n_ubatch=2048), 1_837_162_528),
        ("gpt-oss-20b", ContextSettings(n_ctx=4096, type_k="q4_0", type_v="q4_0"), 105_343_008),
        ("qwen3-next-80b-a3b-instruct", ContextSettings(n_ctx=131072, n_ubatch=2048), 914_432_064),
        ("nemotron-nano-9b-v2", ContextSettings(n_ctx=8192, n_parallel=4), 187_252_800),
        ("gemma-3n-e4b-it", ContextSettings(n_ctx=32768), 197_163_040),
        ("deepseek-v3.2", ContextSettings(n_ctx=131072), 1_218_529_312),
        ("glm-5.2", ContextSettings(n_ctx=131072, n_parallel=4), 700_532_768),
        ("step-3.5-flash", ContextSettings(n_ctx=131072, n_ubatch=2048), 1_268_883_488),
        ("bge-large-en-v1.5", ContextSettings(n_ctx=4096), 19_408_928),
    ],
)
def test_figures_seen_in_dry_runs(id_: str, settings: ContextSettings, expected: int) -> None:
    """The pinned xllamacpp, header-only models."""
    assert compute_bytes(model(id_).shape, settings) == expected


@pytest.mark.parametrize(
    ("n_devices", "all_layers", "expected"),
    [
        (1, True, (37_767_200, 125_843_488)),
        (2, True, (100_737_152, 239_132_704, 163_618_848)),
        (1, False, (134_236_192, 109_062_176)),
    ],
)
def test_devices_as_the_scheduler_lays_them_out(
    n_devices: int, all_layers: bool, expected: tuple[int, ...]
) -> None:
    """Llama 3.1 8B at 4,096 tokens over RPC devices: host, first and last, to 16 KiB."""
    found = device_compute(
        model("llama-3.1-8b-instruct").shape,
        ContextSettings(n_ctx=4096),
        n_devices=n_devices,
        all_layers=all_layers,
    )
    assert found is not None
    figures = (found.host_bytes, found.first_bytes, found.last_bytes)[: len(expected)]
    assert figures == pytest.approx(expected, abs=2**14)


@pytest.mark.parametrize("known", one_per_graph(), ids=lambda m: m.architecture)
@pytest.mark.parametrize("mixed", [True, False])
def test_host_memory_holds_the_same_inputs_wherever_layers_run(
    known: KnownModel, mixed: bool
) -> None:
    """The graph of a device tells what the host keeps for it: what its own graph would hold, but
    for what the graph itself fills.
    """
    on_host = schedule(
        known.shape, one=True, rotate_k=False, rotate_v=False, place=Place(mixed=mixed)
    )
    place = Place(start="embeddings", copies=4, backend="cuda", mixed=mixed)
    on_device = schedule(known.shape, one=True, rotate_k=False, rotate_v=False, place=place)
    inputs = sorted(size for name, size in on_host.inputs if name != ZEROS)
    assert sorted(on_device.on_host) == inputs


@pytest.mark.parametrize("known", one_per_graph(), ids=lambda m: m.architecture)
def test_the_explanation_adds_up(known: KnownModel) -> None:
    """What is alive at the peak, and the gaps between, are the whole buffer."""
    settings = ContextSettings(n_ctx=32768, n_parallel=2)
    terms = explain_compute(known.shape, settings)
    assert sum(n_bytes for _, n_bytes in terms) == compute_bytes(known.shape, settings)
    assert all(name and n_bytes > 0 for name, n_bytes in terms)


@pytest.mark.parametrize("known", one_of_each(), ids=lambda m: m.id)
def test_what_the_explanation_names_has_its_japanese(known: KnownModel) -> None:
    """At a long and a short context, with small micro-batches, and for several conversations."""
    if compute_bytes(known.shape, ContextSettings(n_ctx=4096)) is None:
        pytest.skip("its graph is not known")
    settings = (
        ContextSettings(n_ctx=32768),
        ContextSettings(n_ctx=4096, n_ubatch=8),
        ContextSettings(n_ctx=4096, n_parallel=4),
        ContextSettings(n_ctx=4096, type_k="q8_0", type_v="q8_0"),
    )
    named = {name for s in settings for name, _ in explain_compute(known.shape, s)}
    assert named - {"smaller tensors", "gaps"} <= NAMES


@given(
    st.sampled_from(one_per_graph()),
    st.integers(256, 2**17),
    st.integers(16, 4096),
    st.sampled_from(["f16", "q8_0"]),
)
def test_more_context_or_a_larger_micro_batch_never_needs_less(
    known: KnownModel, n_ctx: int, n_ubatch: int, type_: str
) -> None:
    """Doubling either never shrinks the buffer, but for a hundredth: other sizes leave other
    holes.
    """
    settings = ContextSettings(n_ctx=n_ctx, n_ubatch=n_ubatch, type_k=type_, type_v=type_)
    here = compute_bytes(known.shape, settings) or 0
    for larger in (replace(settings, n_ctx=2 * n_ctx), replace(settings, n_ubatch=2 * n_ubatch)):
        assert (compute_bytes(known.shape, larger) or 0) >= 0.99 * here > 0


def test_an_unknown_graph_is_not_guessed() -> None:
    """RWKV, and DeepSeek's first files without MLA's lengths: None, never a number."""
    settings = ContextSettings(n_ctx=256)
    assert compute_bytes(tiny_shape(architecture="rwkv7", caches=None), settings) is None
    assert (
        device_compute(tiny_shape(architecture="rwkv7", caches=None), settings, n_devices=1) is None
    )
    assert (
        compute_bytes(replace(model("deepseek-v3-0324").shape, n_embd_head_k_mla=0), settings)
        is None
    )


DRY_RUNS = """
import json, sys
from pathlib import Path
from hakaru.engine import libllama
libllama.start()
for line in sys.stdin:
    path, contexts = json.loads(line)
    with libllama.model(Path(path), no_alloc=True) as model:
        for wanted in contexts:
            with libllama.context(model, **wanted) as context:
                print(sum(b["compute"] for b in libllama.buffers(context).values()), flush=True)
"""
SETTINGS = [
    ContextSettings(n_ctx=n_ctx, n_ubatch=n_ubatch, type_k=type_, type_v=type_,
        n_parallel=n_parallel)
    for n_ctx, n_ubatch, type_, n_parallel in (
        (4096, 512, "f16", 1), (32768, 2048, "f16", 1), (131072, 512, "q8_0", 1),
        (32768, 512, "f16", 4), (8192, 512, "q4_0", 1)
    )
]  # fmt: skip


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="exact buffers are read on Linux")
def test_every_architecture_equals_the_dry_run(tmp_path: Path) -> None:
    """To the byte, for one model of every architecture at five settings, all in one child."""
    requests, models = [], one_per_graph()
    for known in models:
        path = write_header_only(
            tmp_path / f"{known.id}.gguf",
            without_vocabulary(known.metadata(), known.n_vocab),
            known.tensors(),
        )
        contexts = [
            {
                "n_ctx": s.n_ctx, "n_ubatch": s.n_ubatch, "n_seq_max": s.n_parallel,
                "n_outputs_max": s.n_outputs, "type_k": BY_NAME[s.type_k.upper()].id,
                "type_v": BY_NAME[s.type_v.upper()].id,
            }
            for s in SETTINGS
        ]  # fmt: skip
        requests.append(json.dumps([str(path), contexts]))
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUNS],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    seen = [int(line) for line in done.stdout.split()]
    ours = [compute_bytes(known.shape, settings) for known in models for settings in SETTINGS]
    names = [f"{known.architecture} {settings}" for known in models for settings in SETTINGS]
    assert dict(zip(names, ours, strict=True)) == dict(zip(names, seen, strict=True))
