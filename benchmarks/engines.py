"""How fast the ready-made engine and a native build read prompts and write answers.

`python benchmarks/engines.py [TYPE …]` needs `hakaru engine build --no-use` first. Prints the
machine, the versions, and one row for each type: tokens per second of both builds through their
servers, and the ready-made one's part of the native one's speed. The builds take turns, so that
what slows the machine slows both. The model has random weights and the shape of a small one
(16 layers of 1,024 columns): speed does not depend on what the weights say.
"""

import argparse
import os
import platform
import statistics
import tempfile
from pathlib import Path

from hakaru.engine.builds import OVERRIDE, named
from hakaru.engine.lab import Lab
from hakaru.engine.server import EngineServer
from hakaru.evaluation.speed import N_PREDICT, N_PROMPT, Speed, measure_speed
from hakaru.hardware.probe import probe_machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model, read_model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.presets import ftype_of
from hakaru.quantization.writer import write_recipe
from hakaru.testing import tiny_shape, write_tiny_llama

TYPES = ("F16", "IQ4_XS", "Q4_K_M", "Q6_K", "Q8_0", "Q4_1")
BUILDS = ("wheel", "native")
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("types", nargs="*", metavar="TYPE", default=TYPES)
    types = parser.parse_args().types
    machine = probe_machine()
    print(
        f"{machine.cpu.model} ({' '.join(machine.cpu.instruction_sets)}), "
        f"{machine.cpu.usable_cores} cores, {machine.system}, Python {platform.python_version()}"
    )
    print(", ".join(f"{name}: {named(name).name} {named(name).version}" for name in BUILDS))
    print(f"prompts of {N_PROMPT} tokens, answers of {N_PREDICT}; medians of {ROUNDS} rounds\n")
    print(f"{'':<8}{'prefill, tokens/s':>30}{'decode, tokens/s':>30}")
    print(f"{'type':<8}" + f"{'wheel':>10}{'native':>10}{'part':>10}" * 2)
    with tempfile.TemporaryDirectory() as folder:
        source = read_model(random_model(Path(folder) / "model.gguf"))
        for name in types:
            print_row(name, made(source, name, Path(folder)))


def random_model(path: Path) -> Path:
    """A model of 235 million random F16 weights."""
    return write_tiny_llama(
        path,
        tiny_shape(
            n_layer=16, n_embd=1024, n_ff=2816, n_head=16, n_head_kv=(8,) * 16, n_vocab=8192
        ),
    )


def made(source: Model, preset: str, folder: Path) -> Model:
    """`source` at this preset."""
    if preset == "F16":
        return source
    types = preset_types(roster(quantizer_facts(source.meta), source.tensors), preset)
    out = folder / f"{preset}.gguf"
    write_recipe(Lab(), source, types, out, file_type=ftype_of(preset)[1])
    return read_model(out)


def print_row(name: str, model: Model) -> None:
    """One row of the table: both builds in turn."""
    speeds = {build: list[Speed]() for build in BUILDS}
    for _ in range(ROUNDS):
        for build in BUILDS:
            os.environ[OVERRIDE] = build
            with EngineServer(model.path, ContextSettings(n_ctx=1024)) as server:
                speeds[build].append(measure_speed(server, n_vocab=model.shape.n_vocab))
    prefill, decode = (
        {
            build: statistics.median(getattr(s, kind).value for s in speeds[build])
            for build in BUILDS
        }
        for kind in ("prefill_tokens_per_s", "decode_tokens_per_s")
    )
    print(
        f"{name:<8}"
        + "".join(
            f"{rate['wheel']:>10.1f}{rate['native']:>10.1f}{rate['wheel'] / rate['native']:>10.2f}"
            for rate in (prefill, decode)
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
