"""How long `hakaru choose` takes, and whether what it recommends really fits, beside its peers.

`python benchmarks/choose.py [--peers]` prints one row for each of twelve machines: seconds of a
cold start and of processor time, the recommended row, and its verdict by `hakaru fit` with the
engine's dry run. With `--peers` llmfit, llamafit and whichllm are asked for the same machines, as
far as they take them: each in a virtual environment of its own, which is made once and kept by its
requirements in the cache. Of a peer the first row is judged that is a model of our catalogue at a
type that we have; a type of somebody's own (UD-Q5_K_XL) is judged as the usual one of its bits,
which is a little smaller. The context is that of the peers' own estimate. whichllm asks a Hub
for its models: it asks one on the loopback interface that tells our catalogue's facts, and takes
its scores from what it carries, since no board answers there.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import platformdirs
from msgspec import Struct

import hakaru
from catalogue_hub import catalogue_hub
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.presets import preset_of_bits
from hakaru.selection.catalogue_sizes import TYPES

RUNS: Final = 3
FIT_CONTEXT: Final = 8192


PEERS: Final = {
    "llmfit": ("llmfit",),
    "llamafit": ("llamafit",),
    "whichllm": ("whichllm", "typer<0.25"),  # a later typer does not take its options
}
"""What pip installs for each."""
NAMES_IN_ROWS: Final = {
    "llmfit": ("name", "best_quant"),
    "llamafit": ("model_id", "quant"),
    "whichllm": ("model_id", "quant_type"),
}
"""How each calls the model and its type."""


class Place(Struct, frozen=True):
    """A machine, as we name it, and for peers its cards and its RAM."""

    named: dict[str, str]
    card: str = ""  # empty: peers are not asked for it
    card_gib: int = 0
    ram_gib: int = 0
    n_cards: int = 1


PLACES: Final = (
    Place({"hardware": "12GiB RAM"}),
    Place({"hardware": "RTX 3060 12GB + 32GiB RAM"}, "RTX 3060", 12, 32),
    Place({"hardware": "RTX 4090 + 64GiB RAM"}, "RTX 4090", 24, 64),
    Place({"hardware": "2x RTX 3090 + 64GiB RAM"}, "RTX 3090", 24, 64, 2),
    Place({"hardware": "L4 + 16GiB RAM"}, "L4", 24, 16),
    Place({"hardware": "2x L4"}),
    Place({"hardware": "A100 80GB + 64GiB RAM"}, "A100 80GB", 80, 64),
    Place({"hardware": "2x A100 80GB"}),
    Place({"hardware": "H100 + 64GiB RAM"}, "H100", 80, 64),
    Place({"hardware": "M2 16GB"}),
    Place({"hardware": "M4 Max 64GB"}),
    Place({"hardware": "Strix Halo 128GB"}),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--peers", action="store_true", help="also llmfit, llamafit and whichllm")
    peers = installed() if parser.parse_args().peers else {}
    print(f"{'machine':<28}{'s':>6}{'CPU s':>7}  recommended, verdict")
    verdicts: dict[str, list[str]] = {"hakaru": []}
    for place in PLACES:
        seconds, processor = fastest(place)
        row = hakaru.choose("chat", **place.named).recommended  # type: ignore[arg-type]
        assert row
        verdict = judged(place, row.model.id, row.type, row.n_ctx, row.cache)
        verdicts["hakaru"].append(verdict)
        name = next(iter(place.named.values()))
        print(f"{name:<28}{seconds:>6.2f}{processor:>7.2f}  {row.model.id} {row.type}, {verdict}")
        for peer, program in peers.items() if place.card else ():
            told, verdict = asked(peer, program, place)
            print(f"  {peer:<26}{told}{f', {verdict}' if verdict else ''}")
            verdicts.setdefault(peer, []).extend([verdict] if verdict else [])
    for peer, found in verdicts.items():
        print(f"{peer}: {sum(v != 'fits' for v in found)} of {len(found)} rows do not fit")


def installed() -> dict[str, Path]:
    """The programs of the peers, each in an environment that is made once."""
    programs = {}
    for peer, requirements in PEERS.items():
        key = hashlib.sha256(repr((requirements, sys.version_info[:2])).encode()).hexdigest()[:12]
        folder = Path(platformdirs.user_cache_dir("hakaru-benchmarks")) / f"{peer}-{key}"
        if not (folder / "whole").exists():
            venv.create(folder, clear=True, with_pip=True)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *requirements]
            if subprocess.run(pip, check=False).returncode:
                print(f"{peer}: cannot be installed")
                continue
            (folder / "whole").touch()
        programs[peer] = folder / "bin" / peer
    return programs


def fastest(place: Place) -> tuple[float, float]:
    """Seconds of the fastest of some cold starts, and the processor time of it."""
    option, value = next(iter(place.named.items()))
    program = Path(sys.executable).with_name("hakaru")
    times = []
    for _ in range(RUNS):
        before, start = os.times(), time.perf_counter()
        subprocess.run([program, "choose", f"--{option}", value], check=True, capture_output=True)
        after = os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        times.append((time.perf_counter() - start, used))
    return min(times)


def judged(place: Place, model: str, type_: str, n_ctx: int, cache: str) -> str:
    """The verdict of `fit`, which asks the engine for its dry run as well."""
    answer = hakaru.fit(
        model, preset=type_, n_ctx=n_ctx, type_k=cache, type_v=cache, source="both",
        **place.named,  # type: ignore[arg-type]
    )  # fmt: skip
    assert answer.dry_run
    return answer.verdict


def asked(peer: str, program: Path, place: Place) -> tuple[str, str]:
    """Time and row of a peer, and the verdict on the row; empty where there is none to give."""
    with tempfile.TemporaryDirectory() as folder:
        words = arguments(peer, place, Path(folder))
        if words is None:
            return "takes no machine of several cards", ""
        with catalogue_hub() as address:
            environment = {**os.environ, "HF_ENDPOINT": address, "XDG_CACHE_HOME": folder}
            start = time.perf_counter()
            done = subprocess.run(
                [program, *words], check=False, capture_output=True, text=True, env=environment
            )
            seconds = time.perf_counter() - start
    if done.returncode or not done.stdout.lstrip().startswith("{"):
        last = (done.stderr or done.stdout).strip().splitlines()
        return f"{seconds:>6.2f}         cannot: {last[-1] if last else done.returncode}", ""
    rows = list(rows_of(peer, json.loads(done.stdout)))
    for i, (model, type_) in enumerate(rows, start=1):
        known, preset = ours(model), usual(type_)
        if known and preset:
            verdict = judged(place, known.id, preset, FIT_CONTEXT, "f16")
            return f"{seconds:>6.2f}         row {i}: {known.id} {type_}", verdict
    return f"{seconds:>6.2f}         none of {len(rows)} rows is ours", ""


def arguments(peer: str, place: Place, folder: Path) -> list[str] | None:
    """How a peer is asked for a machine; None where it cannot be told of it."""
    most = ["--max-context", str(FIT_CONTEXT)]
    if peer == "whichllm":
        cards = f"{place.n_cards}x {place.card}" if place.n_cards > 1 else place.card
        memory = ["--ram-budget", f"{place.ram_gib}GB"]
        return ["--gpu", cards, *memory, "-c", str(FIT_CONTEXT), "--json", "-n", "50"]
    if peer == "llamafit":
        (folder / "machine.json").write_text(json.dumps(profile(place)))
        machine = ["--profile", str(folder / "machine.json")]
        return ["--json", *machine, *most, "recommend", "--limit", "50"]
    if place.n_cards > 1:
        return None
    machine = ["--memory", f"{place.card_gib}G", "--ram", f"{place.ram_gib}G"]
    return [*machine, *most, "--json", "recommend", "--limit", "200"]


def profile(place: Place) -> dict[str, object]:
    """A machine as llamafit takes it, with a processor of eight cores."""
    card = {
        "vendor": "nvidia", "name": f"NVIDIA {place.card}", "vram_total": f"{place.card_gib}GiB",
        "vram_used": "0MiB", "backend_hint": "cuda",
    }  # fmt: skip
    ram = f"{place.ram_gib}GiB"
    return {
        "schema_version": 1, "name": "machine", "description": "a machine by its sizes",
        "provenance": "benchmarks/choose.py", "recorded_at": "2026-01-01T00:00:00Z",
        "os": "linux", "os_version": "6", "arch": "x86_64",
        "cpu": {"model": "CPU", "physical_cores": 8, "logical_cores": 16, "performance_cores": 8,
            "isa": ["avx2"]},
        "memory": {"total": ram, "available": ram, "type": "DDR5", "speed_mts": 5600, "modules": 2,
            "channels": 2},
        "gpus": [card] * place.n_cards, "unified_memory": False, "backends": ["cuda", "cpu"],
    }  # fmt: skip


def rows_of(peer: str, answer: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Model and type of each row, the recommended one first."""
    model, type_ = NAMES_IN_ROWS[peer]
    for row in answer.get("rows" if peer == "llamafit" else "models", ()):
        yield str(row.get(model)), str(row.get(type_))


def ours(name: str) -> KnownModel | None:
    """The entry of the catalogue, by its repository or its name."""
    by_name = {model.hf_repo.lower(): model for model in known_models()}
    return by_name.get(name.lower()) or {m.id: m for m in known_models()}.get(name.lower())


def usual(type_: str) -> str | None:
    """The type as it is judged; None for one that we do not have."""
    if type_ in TYPES:
        return type_
    own = re.fullmatch(r"UD-I?Q(\d)_\w+", type_)
    return preset_of_bits(int(own[1])) if own else None


if __name__ == "__main__":
    main()
