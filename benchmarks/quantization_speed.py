"""How fast a recipe is written and how much memory that takes, beside llama.cpp's `llama-quantize`.

`python benchmarks/quantization_speed.py LLAMA_QUANTIZE [--weights 1.1e9] [PRESET …]` prints the
machine, the versions and one table. Both sides run in turn, each time in a process of its own with
its child, on the embedded model and on a large one of random F16 weights that is written to the
temporary folder. Files are compared byte for byte. CPU seconds count both processes of a side and
mean something on a busy machine, too. Memory is the child's largest resident set; what llama.cpp
maps of the source counts there, as the kernel counts it.
"""

import argparse
import filecmp
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from hakaru.engine.builds import lab_build
from hakaru.engine.lab import Lab
from hakaru.formats.gguf import read_header
from hakaru.hardware.probe import probe_machine
from hakaru.hardware.threads import n_threads
from hakaru.models.embedded import embedded_model
from hakaru.models.mixture import preset_types
from hakaru.models.model import read_model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.presets import ftype_of
from hakaru.quantization.writer import write_recipe
from hakaru.testing import tiny_shape, write_header_only

REPEATS = 3
LARGE = ("Q8_0", "Q4_0", "Q3_K_S")
SMALL = ("Q8_0", "Q4_K_M", "Q3_K_M")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "quantizer", metavar="LLAMA_QUANTIZE", help="the program of a native build of the engine"
    )
    parser.add_argument("--weights", type=float, default=1.1e9, help="weights of the large model")
    parser.add_argument("presets", nargs="*", metavar="PRESET")
    given = parser.parse_args()
    machine = probe_machine()
    print(
        f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}, Python "
        f"{platform.python_version()}, {lab_build()}"
    )
    print(f"median of {REPEATS} runs in turn\n")
    print(f"{'':<33}{'wall s':>24}{'CPU s':>24}{'peak MiB':>18}   same")
    print(
        f"{'source':<10}{'type':<9}{'bytes':>14}{'   llama.cpp  hakaru ratio' * 2}"
        f"{' llama.cpp  hakaru':>18}   bytes"
    )
    with tempfile.TemporaryDirectory() as folder:
        for preset in given.presets or SMALL:
            compare(given.quantizer, "embedded", embedded_model(), preset, Path(folder))
        large = random_model(Path(folder) / "random-f16.gguf", int(given.weights))
        for preset in given.presets or LARGE:
            compare(
                given.quantizer, f"{large.stat().st_size / 1e9:.1f} GB", large, preset, Path(folder)
            )


def compare(quantizer: str, name: str, source: Path, preset: str, folder: Path) -> None:
    """One row: seconds and MiB of both sides, in turn."""
    runs: dict[str, list[tuple[float, float, float]]] = {"theirs": [], "ours": []}
    for _ in range(REPEATS):
        for side in runs:
            out = folder / f"{side}.gguf"
            out.unlink(missing_ok=True)
            command = [
                sys.executable,
                __file__,
                "--one",
                side,
                quantizer,
                str(source),
                preset,
                str(out),
            ]
            runs[side].append(
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            )
    theirs, ours = (
        [statistics.median(column) for column in zip(*runs[side], strict=True)] for side in runs
    )
    same = filecmp.cmp(folder / "theirs.gguf", folder / "ours.gguf", shallow=False)
    columns = "".join(
        f"{t:>10.2f}{o:>8.2f}{t / o:>6.2f}" for t, o in zip(theirs[:2], ours[:2], strict=True)
    )
    size = (folder / "ours.gguf").stat().st_size
    print(
        f"{name:<10}{preset:<9}{size:>14,}{columns}{theirs[2]:>10.0f}{ours[2]:>8.0f}   "
        f"{'yes' if same else 'NO'}",
        flush=True,
    )


def one(side: str, quantizer: str, source: Path, preset: str, out: Path) -> None:
    """One run of one side: prints its seconds and the largest resident set in MiB. Types are
    planned before, for both.
    """
    model, number = read_model(source), ftype_of(preset)[1]
    types = preset_types(roster(quantizer_facts(model.meta), model.tensors), preset)
    began, before = time.perf_counter(), time.process_time()
    if side == "ours":
        write_recipe(Lab(), model, types, out, file_type=number)
    else:
        command = [quantizer, "--allow-requantize", str(source), str(out), preset, str(n_threads())]
        subprocess.run(command, check=True, capture_output=True)
    took, own = time.perf_counter() - began, time.process_time() - before
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([took, own + child.ru_utime + child.ru_stime, child.ru_maxrss / 1024]))


def random_model(path: Path, n_weights: int) -> Path:
    """A model of about `n_weights` random F16 weights, without a vocabulary."""
    n_embd, n_ff = 2048, 8192
    n_layer = max(1, (n_weights - 2 * 32000 * n_embd) // (4 * n_embd * n_embd + 3 * n_embd * n_ff))
    shape = tiny_shape(
        n_layer=n_layer,
        n_embd=n_embd,
        n_ff=n_ff,
        n_head=16,
        n_vocab=32000,
        n_head_kv=(16,) * n_layer,
    )
    header = read_header(write_header_only(path, shape))
    pattern = np.random.default_rng(1).standard_normal(2**24 + 7).astype(np.float16) * np.float16(
        0.02
    )
    with path.open("rb+") as file:
        for tensor in header.tensors:
            file.seek(header.data_offset + tensor.offset)
            if tensor.type.name == "F32":
                file.write(np.ones(tensor.n_elements, dtype=np.float32).tobytes())
                continue
            for done in range(0, tensor.n_elements, pattern.size):
                file.write(pattern[: tensor.n_elements - done].tobytes())
    return path


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3], Path(sys.argv[4]), sys.argv[5], Path(sys.argv[6]))
    else:
        main()
