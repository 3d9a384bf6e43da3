"""Writing by a recipe: byte for byte llama.cpp's own file, of a size that is known before, whole or
absent, and resumed.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import psutil
import pytest

import quantizer
from hakaru.engine.jobs import TensorJob
from hakaru.engine.lab import Lab
from hakaru.errors import EngineDied, Interrupted, MachineError, Misuse, ModelDamaged, ModelUnknown
from hakaru.formats.gguf import read_header
from hakaru.formats.metadata import MetadataValue
from hakaru.memory.settings import ContextSettings
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model, read_model
from hakaru.models.presets import FTYPES
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.blobs import Blobs
from hakaru.quantization.journal import unfinished
from hakaru.quantization.layout import how_made, planned_bytes
from hakaru.quantization.writer import write_recipe
from hakaru.testing import tiny_hyperparameters, tiny_shape, write_tiny, write_tiny_llama

pytestmark = pytest.mark.engine


class Stopping(Lab):
    """An engine that writes the first `n` tensors and then raises `error`."""

    def __init__(self, n: int, error: BaseException) -> None:
        super().__init__()
        self.n, self.error = n, error
        self.asked: list[str] = []

    def write_tensors(  # type: ignore[override]  # the files are handed on
        self, jobs: Sequence[TensorJob], *, progress: Callable[[int, int], None], **files: Any
    ) -> None:
        self.asked = [job.name for job in jobs]
        if self.n:
            Lab().write_tensors(jobs[: self.n], progress=progress, **files)
        raise self.error


def types_of(model: Model, preset: str) -> dict[str, str]:
    return preset_types(roster(quantizer_facts(model.meta), model.tensors), preset)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hidden(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder for what is made, and nothing else."""
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "preset",
    [
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q4_K_M",
        "Q4_0",
        "Q5_1",
        "IQ4_XS",
        "IQ3_S",
        "Q3_K_M",
        "Q2_K",
        "BF16",
        "F32",
    ],
)
def test_a_preset_s_file_is_llama_cpp_s_own(
    native_engine: Path, tiny: Path, tmp_path: Path, preset: str
) -> None:
    """Header and weights, byte for byte, from the types that our own mixture gives."""
    model = read_model(tiny)
    made = write_recipe(
        Lab(), model, types_of(model, preset), tmp_path / "ours.gguf", file_type=FTYPES[preset]
    )
    quantizer.quantize(native_engine, tiny, tmp_path / "theirs.gguf", FTYPES[preset])
    assert made.path.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


@pytest.mark.parametrize("preset", ["Q8_0", "Q4_K_M"])
def test_a_quantized_source_gives_llama_cpp_s_own_file(
    native_engine: Path, embedded: Path, tmp_path: Path, preset: str
) -> None:
    """SmolLM2 in Q4_1: rows of 576 that fall back, a vocabulary of 49,152, blocks that are
    dequantized first.
    """
    model = read_model(embedded)
    made = write_recipe(
        Lab(), model, types_of(model, preset), tmp_path / "ours.gguf", file_type=FTYPES[preset]
    )
    quantizer.quantize(native_engine, embedded, tmp_path / "theirs.gguf", FTYPES[preset])
    assert sha256(made.path) == sha256(tmp_path / "theirs.gguf")


@pytest.mark.parametrize("source_type", ["F32", "F16"])
def test_importance_gives_llama_cpp_s_own_file(tmp_path: Path, source_type: str) -> None:
    """Every matrix with importances of its own; the stack of experts with one vector for each
    expert.
    """
    source = write_experts(tmp_path / "moe.gguf", source_type)
    model, random = read_model(source), np.random.default_rng(2)
    imatrix = {
        t.name: random.uniform(0.1, 9, t.shape[0] * (t.shape[2] if len(t.shape) > 2 else 1)).astype(
            np.float32
        )
        for t in model.tensors
        if len(t.shape) > 1 and "ffn_gate_inp" not in t.name
    }
    types = {name: ("IQ2_XXS" if "exps" in name else "Q4_K") for name in imatrix}
    made = write_recipe(Lab(), model, types, tmp_path / "ours.gguf", imatrix=imatrix)
    expected = quantized(source, types, imatrix)
    assert expected.keys() == types.keys()
    for tensor in gguf.GGUFReader(made.path).tensors:
        if tensor.name in expected:
            assert tensor.data.tobytes() == expected[tensor.name], tensor.name


def write_experts(path: Path, type_: str) -> Path:
    """A model with experts in stacks."""
    return write_tiny(path, tiny_hyperparameters("qwen3moe"), type_=type_)


def quantized(
    source: Path, types: dict[str, str], importance: dict[str, npt.NDArray[np.float32]]
) -> dict[str, bytes]:
    """The tensors in one call of ggml for each matrix, in a process of their own."""
    code = """
import io, json, sys, gguf, numpy as np
from hakaru.engine.libllama import c
from hakaru.formats.quant_types import BY_NAME
source, types = sys.argv[1], json.loads(sys.argv[2])
importance, made = np.load(io.BytesIO(sys.stdin.buffer.read())), {}
for tensor in gguf.GGUFReader(source).tensors:
    if tensor.name not in types:
        continue
    wanted, weights = BY_NAME[types[tensor.name]], tensor.data.astype(np.float32)
    vectors = importance[tensor.name].reshape(-1, weights.shape[-1])
    matrices = weights.reshape(len(vectors), -1, weights.shape[-1])
    n_bytes = matrices[0].size // wanted.block * wanted.block_bytes
    made[tensor.name] = np.empty((len(vectors), n_bytes), dtype=np.uint8)
    for matrix, vector, out in zip(matrices, vectors, made[tensor.name]):
        c.ggml_quantize_chunk(
            wanted.id, matrix.ctypes.data, out.ctypes.data, 0, *matrix.shape, vector.ctypes.data
        )
np.savez(sys.stdout.buffer, **made)
"""
    vectors = io.BytesIO()
    np.savez(vectors, **importance)  # type: ignore[arg-type]  # its stub reads a flag there
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), json.dumps(types)],
        input=vectors.getvalue(),
        capture_output=True,
        check=True,
    )
    return {name: made.tobytes() for name, made in np.load(io.BytesIO(done.stdout)).items()}


@pytest.mark.parametrize("split_bytes", [None, 200_000])
def test_the_size_is_known_before(tiny: Path, tmp_path: Path, split_bytes: int | None) -> None:
    """To the byte, with keys of our own and in parts."""
    model = read_model(tiny)
    types = types_of(model, "Q3_K_M")
    added: dict[str, MetadataValue] = {"hakaru.note": "文字" * 100, "hakaru.numbers": [1, 2, 3]}
    planned = planned_bytes(model, types, added=added, split_bytes=split_bytes)
    made = write_recipe(
        Lab(), model, types, tmp_path / "x.gguf", added=added, split_bytes=split_bytes
    )
    assert sum(p.stat().st_size for p in made.parts) == planned
    assert made.metadata["hakaru.note"] == "文字" * 100


def test_every_key_of_the_source_is_carried_over(tmp_path: Path) -> None:
    """A vocabulary that is too long to keep and all else as it is; only what the quantizer must say
    is new.
    """
    source = write_tiny_llama(tmp_path / "m.gguf", tiny_shape(n_vocab=5000))
    model = read_model(source)
    added = how_made(model, {}, source_sha256="ab" * 32, texts={"prose": "cd" * 32})
    made = write_recipe(Lab(), model, {}, tmp_path / "copy.gguf", added=added)
    theirs, ours = gguf.GGUFReader(source).fields, gguf.GGUFReader(made.path).fields
    for key, field in theirs.items():
        if not key.startswith("GGUF.") and key not in {
            "general.file_type",
            "general.quantization_version",
        }:
            assert ours[key].contents() == field.contents(), key
    assert ours["hakaru.recipe.text.prose"].contents() == "cd" * 32
    assert set(ours) - set(theirs) == set(added) | (
        {"general.quantization_version", "general.file_type"} - set(theirs)
    )
    assert made.tokenizer_digest == model.tokenizer_digest


def test_parts_are_read_and_written(tmp_path: Path) -> None:
    """Four parts become three, with the tensors of the whole model, and llama.cpp lays them out."""
    (tmp_path / "in").mkdir()
    whole = read_model(write_tiny_llama(tmp_path / "whole.gguf"))
    split = read_model(write_tiny_llama(tmp_path / "in" / "m.gguf", part_tensors=6))
    types = types_of(whole, "Q4_K_M")
    assert len(split.parts) == 4
    made = write_recipe(Lab(), split, types, tmp_path / "small.gguf", split_bytes=400_000)
    assert [p.name for p in made.parts] == [f"small-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert not (tmp_path / "small.gguf").exists()
    assert [read_header(p).metadata["split.no"] for p in made.parts] == [0, 1, 2]
    alone = write_recipe(Lab(), whole, types, tmp_path / "alone.gguf", split_bytes=10**9)
    assert alone.path.name == "alone.gguf"
    assert weights(made) == weights(alone)
    settings = ContextSettings(n_ctx=256)
    assert (
        Lab().dry_run(made.path, settings).weights_bytes
        == Lab().dry_run(alone.path, settings).weights_bytes
    )
    assert Lab().answer(made.path, ["ab"], n_predict=4, seed=1) == Lab().answer(
        alone.path, ["ab"], n_predict=4, seed=1
    )


def weights(model: Model) -> dict[str, bytes]:
    return {t.name: t.data.tobytes() for part in model.parts for t in gguf.GGUFReader(part).tensors}


def test_kill_9_in_the_middle_and_the_same_file_in_the_end(tmp_path: Path) -> None:
    """The whole process tree dies; nothing has the target's name; the second call goes on where the
    first one was.
    """
    source = write_tiny_llama(
        tmp_path / "m.gguf", tiny_shape(n_layer=6, n_embd=512, n_ff=1024, n_head=8)
    )
    model, out = read_model(source), tmp_path / "out.gguf"
    types = types_of(model, "Q4_K_S")
    whole = write_recipe(Lab(), model, types, tmp_path / "whole.gguf")
    code = (
        "import hakaru.quantization.writer as w, json, os, sys; os.sched_setaffinity(0, "
        "{min(os.sched_getaffinity(0))}); from pathlib import Path; from hakaru.engine.lab import "
        "Lab;from hakaru.models.model import read_model; source, out, types = "
        "sys.argv[1:];w.write_recipe(Lab(), read_model(Path(source)), json.loads(types), Path(out))"
    )
    # on one core it takes seconds everywhere
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(out), json.dumps(types)]
    )
    deadline = time.monotonic() + 60
    while unfinished(out) is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    tree = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in tree:
        member.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(tree, timeout=10)
    left = unfinished(out)
    assert left and 0 < left.n_done < len(model.tensors), "the test came too late"
    assert not out.exists()
    asked: list[int] = []
    made = write_recipe(Lab(), model, types, out, progress=lambda done, total: asked.append(done))
    assert asked[0] == left.n_done
    assert asked[-1] == len(model.tensors)
    assert sha256(made.path) == sha256(whole.path)
    assert hidden(tmp_path) == []


def test_an_interruption_keeps_what_is_done_and_says_so(tiny: Path, tmp_path: Path) -> None:
    """Ctrl-C after five tensors: the target is absent, a sentence tells what is kept, and only the
    rest is done later.
    """
    model, out = read_model(tiny), tmp_path / "out.gguf"
    types = types_of(model, "Q4_K_M")
    with pytest.raises(Interrupted, match=r"5 tensors are done and kept \("):
        write_recipe(Stopping(5, KeyboardInterrupt()), model, types, out)
    left = unfinished(out)
    assert left and left.n_done == 5
    assert hidden(tmp_path) == [".out.gguf.journal", ".out.gguf.part"]
    assert not out.exists()
    second = Stopping(0, EngineDied("gone.", log=[]))
    with pytest.raises(EngineDied):
        write_recipe(second, model, types, out)
    assert len(second.asked) == len(model.tensors) - 5
    made = write_recipe(Lab(), model, types, out)
    assert sha256(made.path) == sha256(
        write_recipe(Lab(), model, types, tmp_path / "whole.gguf").path
    )
    assert hidden(tmp_path) == []
    assert unfinished(out) is None


def test_another_recipe_begins_anew(tiny: Path, tmp_path: Path) -> None:
    """What is kept belongs to its recipe, its source and its parts; nothing of it stays or
    gets in.
    """
    model, out = read_model(tiny), tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        write_recipe(
            Stopping(5, KeyboardInterrupt()),
            model,
            types_of(model, "Q4_K_M"),
            out,
            split_bytes=300_000,
        )
    made = write_recipe(Lab(), model, types_of(model, "Q4_0"), out)
    assert sha256(made.path) == sha256(
        write_recipe(Lab(), model, types_of(model, "Q4_0"), tmp_path / "b.gguf").path
    )
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("done", [0, 5])
def test_a_full_disk_leaves_nothing(tiny: Path, tmp_path: Path, made: Path, done: int) -> None:
    """One sentence, and the space is free again."""
    model = read_model(tiny)
    full = Stopping(done, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(MachineError, match=r"the disk is full; nothing was changed"):
        write_recipe(full, model, types_of(model, "Q8_0"), made / "out.gguf")
    assert list(made.iterdir()) == []


def test_too_little_space_is_said_before(
    tiny: Path, tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both numbers, and nothing is begun."""
    model = read_model(tiny)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 0, 1000))
    with pytest.raises(
        MachineError, match=r"the disk has 1,000 B free, but the file needs 1\.5 MiB"
    ):
        write_recipe(Lab(), model, types_of(model, "Q8_0"), made / "out.gguf")
    assert list(made.iterdir()) == []


def test_an_existing_file_is_replaced_only_when_asked(tiny: Path, tmp_path: Path) -> None:
    """And a refusal leaves it and nothing else."""
    model, out = read_model(tiny), tmp_path / "out.gguf"
    out.write_text("mine")
    with pytest.raises(Misuse, match="exists already"):
        write_recipe(Lab(), model, {}, out)
    assert out.read_text() == "mine"
    assert hidden(tmp_path) == []
    write_recipe(Lab(), model, {}, out, overwrite=True)
    assert read_model(out).n_params == model.n_params


def test_two_writers_of_one_target_do_not_meet(tiny: Path, tmp_path: Path) -> None:
    """The second one is told."""
    model, out = read_model(tiny), tmp_path / "out.gguf"

    class Impatient(Stopping):
        def write_tensors(self, jobs: Sequence[TensorJob], **rest: Any) -> None:
            with pytest.raises(MachineError, match="another process is writing this file"):
                write_recipe(Lab(), model, {}, out)
            raise self.error

    with pytest.raises(KeyboardInterrupt):
        write_recipe(Impatient(0, KeyboardInterrupt()), model, {}, out)
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("type_", ["Q8_0", "Q4_K", "F16", "BF16"])
def test_weights_that_are_not_finite_name_their_tensor(
    tiny: Path, tmp_path: Path, made: Path, bad: float, type_: str
) -> None:
    """Whether they are quantized, narrowed or copied; nothing is kept."""
    source = tmp_path / "bad.gguf"
    shutil.copy(tiny, source)
    reader = gguf.GGUFReader(source, "r+")
    next(t for t in reader.tensors if t.name == "blk.1.ffn_up.weight").data[7, 3] = bad
    reader.data.flush()
    model = read_model(source)
    with pytest.raises(
        ModelDamaged,
        match=r"bad\.gguf: tensor blk\.1\.ffn_up\.weight holds weights that are not finite",
    ):
        write_recipe(Lab(), model, {"blk.1.ffn_up.weight": type_}, made / "out.gguf")
    assert list(made.iterdir()) == []


def test_weights_too_large_for_a_type_are_refused(tmp_path: Path) -> None:
    """F32 of 1e6 in F16 would be infinite: the type is wrong, not the file."""
    source = tmp_path / "large.gguf"
    write_experts(source, "F32")
    reader = gguf.GGUFReader(source, "r+")
    next(t for t in reader.tensors if t.name == "blk.0.attn_q.weight").data[0, 0] = 1e6
    reader.data.flush()
    with pytest.raises(
        Misuse, match=r"blk\.0\.attn_q\.weight holds weights that are too large for the type F16"
    ):
        write_recipe(
            Lab(), read_model(source), {"blk.0.attn_q.weight": "F16"}, tmp_path / "out.gguf"
        )


def test_a_crash_of_ggml_is_an_error(tiny: Path, tmp_path: Path) -> None:
    """ggml aborts for IQ2_XXS without importances; writers refuse that before, so the engine is
    asked directly.
    """
    (tmp_path / "t").write_bytes(b"\0" * 66)
    job = TensorJob(
        name="x", type_id=0, wanted_id=16, n_elements=256, unit=256, source=0, at=0, target=0, to=0
    )
    with pytest.raises(EngineDied, match=r"signal 6.*'write_tensors'"):
        Lab().write_tensors([job], sources=[tiny], targets=[tmp_path / "t"])


@pytest.mark.parametrize(
    ("types", "imatrix", "error", "sentence"),
    [
        (
            {"blk.9.attn_q.weight": "Q8_0"},
            None,
            Misuse,
            "names the tensor blk.9.attn_q.weight, which the model does not have",
        ),
        ({"blk.0.attn_q.weight": "Q9"}, None, Misuse, "the type 'Q9', which does not exist"),
        ({"blk.0.attn_q.weight": "Q8_K"}, None, Misuse, "cannot be turned from F16 into Q8_K"),
        (
            {"blk.0.attn_q.weight": "IQ2_S"},
            None,
            Misuse,
            "IQ2_S needs importance data, and there is none for blk.0.attn_q.weight",
        ),
        ({"token_embd.weight": "IQ2_XS"}, None, Misuse, "IQ2_XS needs importance data"),
        ({"blk.0.attn_q.weight": "Q4_K"}, {"x": [1.0]}, Misuse, "belongs to another model"),
        (
            {"blk.0.attn_q.weight": "Q4_K"},
            {"blk.0.attn_q.weight": [1.0]},
            Misuse,
            "has 1 numbers, expected 256",
        ),
        (
            {"blk.0.attn_q.weight": "Q4_K"},
            {"blk.0.attn_q.weight": [float("nan")] * 256},
            Misuse,
            "is damaged",
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(
    tiny: Path,
    tmp_path: Path,
    types: dict[str, str],
    imatrix: dict[str, list[float]] | None,
    error: type[Exception],
    sentence: str,
) -> None:
    """One sentence, and nothing is left."""
    with pytest.raises(error, match=sentence):
        write_recipe(Lab(), read_model(tiny), types, tmp_path / "out.gguf", imatrix=imatrix)
    assert hidden(tmp_path) == []


def test_rows_that_do_not_divide_are_refused(embedded: Path, tmp_path: Path) -> None:
    """576 weights do not make blocks of 256."""
    with pytest.raises(ModelUnknown, match="a row of 576 weights cannot be stored as Q4_K"):
        write_recipe(
            Lab(), read_model(embedded), {"blk.0.attn_q.weight": "Q4_K"}, tmp_path / "out.gguf"
        )


def test_the_name_of_a_part_is_no_target(tiny: Path, tmp_path: Path) -> None:
    """A single file with such a name could not be read back."""
    with pytest.raises(Misuse, match="is the name of one part of a split model"):
        write_recipe(Lab(), read_model(tiny), {}, tmp_path / "x-00001-of-00002.gguf")


def test_a_second_budget_uses_what_was_kept(tiny: Path, tmp_path: Path) -> None:
    """Only the tensors whose types changed are quantized again, and the file is the same as
    without.
    """
    model, blobs = read_model(tiny), Blobs(tmp_path / "blobs", 10**9)
    first, second = (
        types_of(model, "Q4_K_M"),
        types_of(model, "Q4_K_M") | {"blk.0.ffn_up.weight": "Q6_K"},
    )
    write_recipe(Lab(), model, first, tmp_path / "a.gguf", blobs=blobs, source_sha256="s")
    watching = Stopping(0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_recipe(watching, model, second, tmp_path / "b.gguf", blobs=blobs, source_sha256="s")
    copied = [t.name for t in model.tensors if second.get(t.name, t.type.name) == t.type.name]
    assert sorted(watching.asked) == sorted([*copied, "blk.0.ffn_up.weight"])
    made = write_recipe(Lab(), model, second, tmp_path / "b.gguf", blobs=blobs, source_sha256="s")
    assert sha256(made.path) == sha256(write_recipe(Lab(), model, second, tmp_path / "c.gguf").path)
    other = Stopping(0, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_recipe(
            other, model, second, tmp_path / "d.gguf", blobs=blobs, source_sha256="another"
        )
    assert len(other.asked) == len(model.tensors)


def test_the_room_for_kept_tensors_counts_what_others_put_there(tmp_path: Path) -> None:
    """Probes write into the folder themselves: the limit holds for all of it, and what was used
    longest ago goes first.
    """
    blobs = Blobs(tmp_path / "blobs", 100)
    for age, name in enumerate(("young", "middle", "old")):
        (blobs.folder / name).write_bytes(bytes(30))
        os.utime(blobs.folder / name, (1000 - age, 1000 - age))
    assert blobs.takes(50)
    blobs.make_room(50)
    assert {path.name for path in blobs.folder.iterdir()} == {"young"}
