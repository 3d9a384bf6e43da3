"""llama.cpp in a child: its dry run is the oracle of our arithmetic, and its death is only an
error.
"""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from copies import quantized_copy
from hakaru.engine.lab import Lab
from hakaru.errors import EngineDied, ModelDamaged, ModelUnknown
from hakaru.memory.footprint import compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.shape import Shape
from hakaru.testing import tiny_shape, write_header_only, write_tiny_llama

pytestmark = pytest.mark.engine

SHAPES = {
    "tiny": tiny_shape(),
    "smollm2-like": tiny_shape(
        n_layer=6, n_embd=576, n_ff=1536, n_head=9, n_head_kv=(3,) * 6, n_vocab=4096
    ),
    "llama-3-70b": tiny_shape(
        n_layer=80, n_embd=8192, n_ff=28672, n_head=64, n_head_kv=(8,) * 80, n_vocab=128256
    ),
    "qwen2-7b": tiny_shape(
        architecture="qwen2",
        n_layer=28,
        n_embd=3584,
        n_ff=18944,
        n_head=28,
        n_head_kv=(4,) * 28,
        n_vocab=152064,
    ),
    "qwen3-32b": tiny_shape(
        architecture="qwen3",
        n_layer=64,
        n_embd=5120,
        n_ff=25600,
        n_head=64,
        n_head_kv=(8,) * 64,
        n_embd_head_k=128,
        n_vocab=151936,
    ),
}


@pytest.mark.parametrize(
    "settings",
    [
        ContextSettings(n_ctx=4096),
        ContextSettings(n_ctx=32768, n_ubatch=2048),
        ContextSettings(n_ctx=8192, n_parallel=4, type_k="q8_0", type_v="q8_0"),
        ContextSettings(n_ctx=4096, n_outputs_max=512),
    ],
    ids=["4k", "32k", "parallel", "all-logits"],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_our_arithmetic_is_the_engine_s(
    shape: Shape, settings: ContextSettings, tmp_path: Path
) -> None:
    """Weights and KV cache to the byte; compute within 3% or 16 MiB, and hardly ever below; output
    to its log's 0.01 MiB.
    """
    model = read_model(write_header_only(tmp_path / "model.gguf", shape))
    ours = compute_footprint(model.shape, model.tensors, settings)
    engine = Lab().dry_run(model.path, settings)
    assert ours
    assert ours.weights_bytes == engine.weights_bytes
    assert ours.kv_cache_bytes == engine.kv_cache_bytes
    assert abs(ours.compute_bytes - engine.compute_bytes) <= max(
        16 * 2**20, 0.03 * engine.compute_bytes
    )
    assert abs(ours.output_bytes - engine.output_bytes) <= 0.011 * 2**20
    assert list(tmp_path.iterdir()) == [model.path]


def test_the_embedded_model_to_the_byte(embedded: Path) -> None:
    """The real model: 92.1 MiB of weights; compute within a kilobyte."""
    model, settings = read_model(embedded), ContextSettings(n_ctx=2048)
    ours, engine = (
        compute_footprint(model.shape, model.tensors, settings),
        Lab().dry_run(embedded, settings),
    )
    assert ours
    assert (
        (ours.weights_bytes, ours.kv_cache_bytes)
        == (engine.weights_bytes, engine.kv_cache_bytes)
        == (96_576_768, 47_185_920)
    )
    assert abs(ours.compute_bytes - engine.compute_bytes) < 1024


def test_an_unknown_architecture_is_refused_with_its_name(tmp_path: Path) -> None:
    """Neither we nor llama.cpp guess."""
    path = write_header_only(tmp_path / "odd.gguf", tiny_shape(architecture="nosuch"))
    with pytest.raises(ModelUnknown, match="nosuch") as caught:
        Lab().dry_run(path, ContextSettings(n_ctx=256))
    assert caught.value.exit_code == 4


def test_a_model_without_a_needed_tensor_is_refused(tmp_path: Path) -> None:
    """llama.cpp's own reason is passed on."""
    path = write_header_only(tmp_path / "holes.gguf", tiny_shape(architecture="qwen3"))
    path.write_bytes(
        path.read_bytes().replace(b"blk.1.attn_q_norm.weight", b"blk.1.attn_x_norm.weight")
    )
    with pytest.raises(ModelDamaged, match=r"llama.cpp cannot load it \(.*attn_q_norm"):
        Lab().dry_run(path, ContextSettings(n_ctx=256))


def test_a_child_that_is_killed_becomes_an_error_with_its_last_words(embedded: Path) -> None:
    """kill -9 in the middle of an answer: EngineDied, the log, and the parent goes on."""

    def kill(done: int, total: int) -> None:
        for child in psutil.Process().children(recursive=True):
            if "hakaru.engine.child" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)

    with pytest.raises(EngineDied, match=r"signal 9.*during 'answer'") as caught:
        Lab().answer(embedded, ["Where is the sun?"], n_predict=400, seed=1, progress=kill)
    assert caught.value.exit_code == 6
    assert any("llama_" in line for line in caught.value.log)
    assert Lab().tokenize(embedded, ["still alive"])[0][0]


def test_weights_that_are_not_numbers_are_damage_of_the_right_file(
    tiny: Path, tmp_path: Path
) -> None:
    """Not a quality of nan, and not the innocent model's fault."""
    damaged = tmp_path / "nan.gguf"
    damaged.write_bytes(tiny.read_bytes()[:-2] + b"\xff\x7f")
    windows = [{"tokens": list(range(2, 34)), "first": 4}]
    for reference, candidate in ((tiny, damaged), (damaged, tiny)):
        with pytest.raises(ModelDamaged, match=f"{damaged}: gives logits that are not numbers"):
            Lab().compare(reference, [candidate], windows)


def test_a_child_leaves_with_its_parent() -> None:
    """When the parent is gone, its end of stdin closes, and the child ends by itself."""
    child = subprocess.Popen(
        [sys.executable, "-m", "hakaru.engine.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin
    child.stdin.close()
    assert child.wait(timeout=10) is not None


def test_answers_repeat_with_their_seed(tiny: Path) -> None:
    """The same seed gives the same answers, side by side or not; another seed others."""
    first = Lab().answer(tiny, ["ab", "a question"], n_predict=12, seed=5)
    again = Lab().answer(tiny, ["ab", "a question"], n_predict=12, seed=5)
    other = Lab().answer(tiny, ["ab", "a question"], n_predict=12, seed=6)
    assert first == again
    assert first != other
    assert all(len(a["tokens"]) > a["n_prompt"] for a in first)


@pytest.mark.engine
def test_many_and_long_prompts_are_answered_in_groups(tiny: Path) -> None:
    """More prompts than go side by side, one of them long: everyone answers, each with dice of its
    own, and progress never goes back.
    """
    steps: list[tuple[int, int]] = []
    short, long_ = "ab", "a long question " * 150
    prompts = [short] * 70 + [long_, short]
    answers = Lab().answer(
        tiny, prompts, n_predict=8, seed=5, progress=lambda done, total: steps.append((done, total))
    )
    assert answers[:2] == Lab().answer(tiny, [short, short], n_predict=8, seed=5)
    assert len(answers) == len(prompts)
    assert all(a["n_prompt"] < len(a["tokens"]) for a in answers)
    assert answers[70]["n_prompt"] > 2000
    assert len({tuple(a["tokens"]) for a in answers}) > 60, (
        "the same dice would give the same answers"
    )
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]
    windows = [{"tokens": a["tokens"], "first": a["n_prompt"]} for a in answers]
    (same,) = Lab().compare(tiny, [tiny], windows)
    assert [row["kld"] for row in same] == [0.0] * len(windows), "and read again, beside each other"


def test_a_model_compared_with_itself_and_with_a_worse_copy(tiny: Path, tmp_path: Path) -> None:
    """Itself: no divergence. A copy of two bits: some, and the same in one child or in two."""
    worse = tmp_path / "q2.gguf"
    quantized_copy(tiny, worse, "Q2_K")
    windows = [
        {"tokens": list(range(2, 66)), "first": 8},
        {"tokens": list(range(100, 164)), "first": 8},
    ]
    itself, copy = Lab().compare(tiny, [tiny, worse], windows)
    assert [w["n"] for w in itself] == [55, 55]
    assert sum(w["kld"] for w in itself) == pytest.approx(0, abs=1e-6)
    assert sum(w["agreed"] for w in itself) == 110
    assert sum(w["kld"] for w in copy) > 0.1
    (alone,) = Lab().compare(tiny, [worse], windows)
    assert alone == copy


def test_texts_begin_as_the_model_was_trained(tiny: Path, tmp_path: Path) -> None:
    """A beginning-of-text token comes first where the model wants one, and never twice."""
    wants = write_tiny_llama(tmp_path / "bos.gguf", add_bos=True)
    assert Lab().tokenize(tiny, ["ab"]) == ([[258]], [])
    assert Lab().tokenize(wants, ["ab"]) == ([[258]], [0])
    (answered,) = Lab().answer(wants, ["ab"], n_predict=1, seed=1)
    assert answered["tokens"][0] == 0
    assert answered["tokens"][1] != 0


def test_a_made_model_is_whole(tmp_path: Path) -> None:
    """`hakaru.testing` makes models that llama.cpp loads, tied or not."""
    path = write_tiny_llama(tmp_path / "tied.gguf", tiny_shape(architecture="qwen3"), tied=True)
    assert Lab().answer(path, ["hello"], n_predict=4, seed=1)[0]["tokens"]
