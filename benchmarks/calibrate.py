"""How true a machine's predictions are after `hakaru bench --calibrate`.

`python benchmarks/calibrate.py` calibrates this machine with an empty ledger, predicts models that
the calibration does not hold (random weights, and weights of zero in the shapes of known models, of
types pure and mixed), and times them: decoding, prompts, and decoding behind a long prompt. This is
done ROUNDS times in turn, so that predicted and measured speeds come from the same minutes; the
figures of a model are medians over the rounds. How far a model differs from round to round is what
the machine itself wanders by: no prediction can be truer. `--first` goes before other programs
(Linux, as root). `--types TYPE …` times no held-out model of other types.
"""

import argparse
import os
import platform
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import psutil

from engines import made, random_model
from hakaru.engine.builds import server_build
from hakaru.engine.mode import Mode
from hakaru.evaluation.calibrating import calibrate
from hakaru.evaluation.served import planned, served
from hakaru.evaluation.speed import N_PREDICT, N_PROMPT, measure_depths, measure_speed
from hakaru.formats.header_file import header_tensors, write_header_only
from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model, read_model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.speed_figures import PredictedSpeed, Sample
from hakaru.planning.speed_of import speed_of
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session

ROUNDS: Final = 3
REPEATS: Final = 2
DEPTH: Final = 512
SETTINGS: Final = ContextSettings(n_ctx=2048)
RANDOM: Final = ("Q4_K_M", "Q8_0", "Q6_K")
ZEROS: Final = (
    ("qwen3-0.6b", "Q4_K_M"), ("llama-3.2-1b-instruct", "Q4_0"),
    ("qwen2.5-0.5b-instruct", "Q8_0"), ("qwen3-1.7b", "Q5_K_M"), ("gemma-3-1b-it", "Q6_K"),
)  # fmt: skip
WHAT: Final = ("decode", "prefill", "decode, deep")


class Ratio(NamedTuple):
    """A predicted and a measured speed, and whether the interval holds."""

    predicted: float
    measured: float
    holds: bool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", action="store_true", help="before other programs (as root)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--types", nargs="*", default=[])
    options = parser.parse_args()
    machine = probe_machine()
    print(
        f"{machine.cpu.model}, {machine.cpu.usable_cores} cores, {machine.system}, Python "
        f"{platform.python_version()}, {server_build()}, load {os.getloadavg()[0]:.1f}, "
        f"{'before' if options.first else 'beside'} other programs"
    )
    if options.first:
        threading.Thread(target=_go_first, daemon=True).start()
    seen: dict[str, list[dict[str, Ratio]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        models = {
            name: model
            for name, model in held_out(Path(folder))
            if not options.types or name.split()[-1] in options.types
        }
        for round_ in range(options.rounds):
            session = Session(machine=machine, ledger=Ledger(Path(folder) / f"{round_}.sqlite"))
            calibrated = calibrate(session)
            print(f"round {round_ + 1}: {len(calibrated.timed)} models timed", flush=True)
            for name, model in models.items():
                seen.setdefault(name, []).append(one(session, model))
    report(seen)


def held_out(folder: Path) -> Iterator[tuple[str, Model]]:
    """The models that the calibration does not time."""
    source = read_model(random_model(folder / "model.gguf"))
    for preset in RANDOM:
        yield f"random 0.2B {preset}", made(source, preset, folder)
    for like, preset in ZEROS:
        yield f"{like} {preset}", read_model(zeros(folder / f"{like}-{preset}.gguf", like, preset))


def zeros(path: Path, like: str, preset: str) -> Path:
    """A model of zeros in the whole shape of a known one, at a preset."""
    known = next(model for model in known_models() if model.id == like)
    metadata = known.metadata()
    shapes = list(known.tensors())
    plain = {name: "F16" if len(shape) > 1 else "F32" for name, shape in shapes}
    entries = roster(quantizer_facts(Metadata(path, metadata)), header_tensors(shapes, plain))
    n_vocab = next(shape[1] for name, shape in shapes if name == "token_embd.weight")
    vocabulary: dict[str, MetadataValue] = {
        "model": "gpt2", "pre": "smollm", "tokens": [f"t{n}" for n in range(n_vocab)],
        "merges": ["a b"], "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    metadata = dict(metadata) | {f"tokenizer.ggml.{k}": v for k, v in vocabulary.items()}
    return write_header_only(path, metadata, shapes, plain | preset_types(entries, preset))


def one(session: Session, model: Model) -> dict[str, Ratio]:
    """What was predicted of a model and what was measured, by what."""
    files = timed_files(session.ledger, session.machine)
    answer = planned(session, model, SETTINGS, Mode())
    sample = Sample(n_prompt=N_PROMPT, n_decoded=N_PREDICT)
    short, empty, deep = (speed_of(answer, d, files, sample=sample) for d in (N_PROMPT, 0, DEPTH))
    with served(session, model, SETTINGS) as server:
        speed = measure_speed(server, n_vocab=model.shape.n_vocab, repeats=REPEATS)
        points = measure_depths(
            server, speed, n_vocab=model.shape.n_vocab, depths=(DEPTH,), repeats=1
        )
    ratios = {
        "decode": _ratio(short.decode, speed.decode_tokens_per_s.value),
        "prefill": _ratio(empty.prefill, speed.prefill_tokens_per_s.value),
    }
    for point in points:
        ratios["decode, deep"] = _ratio(deep.decode, point.decode_tokens_per_s.value)
    return ratios


def _ratio(predicted: PredictedSpeed | None, measured: float) -> Ratio:
    assert predicted is not None
    return Ratio(predicted.value, measured, predicted.low <= measured <= predicted.high)


def _go_first() -> None:
    """Put this process and its children, and the groups by which Linux shares processors, before
    all others, as soon as they start.
    """
    while True:
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.Error, OSError):
                process.nice(-20)
                Path(f"/proc/{process.pid}/autogroup").write_text("-20", encoding="ascii")
        time.sleep(0.2)


def report(seen: dict[str, list[dict[str, Ratio]]]) -> None:
    """The table, and the medians of all."""
    print(f"\n{'':<32}" + "".join(f"{what:>26}" for what in WHAT))
    print(f"{'':<32}" + f"{'predicted':>10}{'measured':>10}{'':>6}" * len(WHAT))
    errors: dict[str, list[float]] = {what: [] for what in WHAT}
    wander: dict[str, list[float]] = {what: [] for what in WHAT}
    holds: dict[str, list[bool]] = {what: [] for what in WHAT}
    for name, rounds in seen.items():
        cells = ""
        for what in WHAT:
            ratios = [r[what] for r in rounds if what in r]
            if not ratios:
                cells += f"{'-':>26}"
                continue
            predicted, measured = (median(r[i] for r in ratios) for i in (0, 1))
            off = median(r.predicted / r.measured for r in ratios) - 1
            errors[what].append(abs(off))
            holds[what] += [r.holds for r in ratios]
            wander[what] += [abs(r.measured / measured - 1) for r in ratios if len(ratios) > 1]
            cells += f"{predicted:>10.1f}{measured:>10.1f}{off:>+6.0%}"
        print(f"{name:<32}{cells}")
    for what in WHAT:
        if errors[what]:
            noise = f"{median(wander[what]):.1%}" if wander[what] else "-"
            print(
                f"{what}: median error {median(errors[what]):.1%}, worst {max(errors[what]):.0%}; "
                f"the interval held {sum(holds[what])} of {len(holds[what])}; one model from "
                f"round to round: {noise}"
            )


if __name__ == "__main__":
    main()
