"""The peers and we, side by side: the same models, types, context and KV type, against the engine's
dry run.

The engine lays out a header of ours whose tensors have the types that llama.cpp's quantizer would
give them. A Hub on the loopback interface serves that header, and the number of parameters, to the
peers that read the Hub.
"""

import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from figures.dry_runs import dry_runs
from figures.errors import header_of
from figures.peer_programs import FILE, GIB, PEERS, Answer, NoAnswer, Peer, Question, version
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.memory.footprint import compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.model import Model, as_preset, read_model
from loopback import Loopback, serving

N_CTX: Final = 32768
N_UBATCH: Final = 512
MODELS: Final = {
    "smollm2-135m-instruct": "Q4_K_M", "llama-3.2-1b-instruct": "Q4_K_M",
    "mistral-7b-instruct-v0.3": "Q4_K_M", "llama-3.1-8b-instruct": "Q4_K_M", "qwen3-8b": "Q4_K_M",
    "deepseek-r1-0528-qwen3-8b": "Q4_K_M", "granite-4.2-8b": "Q4_K_M", "qwen3.5-9b": "Q8_0",
    "mistral-nemo-instruct-2407": "Q4_K_M", "deepseek-v2-lite": "Q4_K_M",
    "gpt-oss-20b": "MXFP4_MOE", "gemma-3-27b-it": "Q4_K_M", "qwen3-30b-a3b": "Q4_K_M",
    "qwen3-32b": "Q4_K_M", "llama-3.3-70b-instruct": "Q4_K_M",
    "qwen3-next-80b-a3b-instruct": "Q4_K_M", "deepseek-v3-0324": "Q4_K_M",
}  # fmt: skip
"""Models that most peers know, at types that they have for them."""
PARTS: Final = ("total_bytes", "weights_bytes", "kv_cache_bytes")


class Case(Struct, frozen=True, kw_only=True):
    """One model: the engine's figures and everybody's answer by name."""

    model: str
    preset: str
    engine: Answer
    answers: dict[str, Answer]

    def error(self, name: str, part: str) -> float | None:
        """How far an answer is from the engine, in percent; None where there is none."""
        said, true = getattr(self.answers[name], part), getattr(self.engine, part)
        return None if said is None else 100 * (said / true - 1)


def report(venvs: Sequence[Path], scratch: Path) -> list[dict[str, Any]]:
    """Ask everybody, print the tables and return the cases for `--json`."""
    found = dict(_installed(venvs))
    os.environ["HOME"] = str(scratch)  # no peer reads or writes this user's caches
    print(
        f"Peers beside the engine's dry run: {N_CTX} tokens, F16 cache, micro-batch {N_UBATCH}, "
        "one conversation"
    )
    for peer in PEERS:
        place = found.get(peer.name)
        what = (
            f"{version(place):<10}{peer.answers}"
            if place
            else "skipped: it is neither on PATH nor in a --peer-venv."
        )
        print(f"  {peer.name:<10}{what}")
    with serving() as hub:
        asked = [(peer, found[peer.name]) for peer in PEERS if peer.name in found]
        cases = [_case(known, MODELS[known.id], scratch, hub, asked) for known in _models()]
    for part in PARTS:
        _table(cases, part, ["hakaru", *(peer.name for peer, _ in asked)])
    _reasons(cases)
    return [asdict(case) for case in cases]


def _installed(venvs: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    where = os.pathsep.join(
        [*(str(venv.resolve() / "bin") for venv in venvs), os.environ.get("PATH", "")]
    )
    for peer in PEERS:
        if place := shutil.which(peer.name, path=where):
            yield peer.name, Path(place)


def _models() -> list[KnownModel]:
    by_id = {known.id: known for known in known_models()}
    return [by_id[id_] for id_ in MODELS]


def _case(
    known: KnownModel, preset: str, scratch: Path, hub: Loopback, peers: Sequence[tuple[Peer, Path]]
) -> Case:
    path = _quantized_header(known, preset, scratch)
    _serve(hub, known, path)
    settings = ContextSettings(n_ctx=N_CTX, n_ubatch=N_UBATCH)
    engine = dry_runs(path, [settings])[0]
    if engine is None:
        raise SystemExit(
            f"the engine cannot lay {known.id} out, so nobody can be compared with it."
        )
    question = Question(known=known, preset=preset, n_ctx=N_CTX, n_ubatch=N_UBATCH, hub=hub.url)
    answers = {"hakaru": _ours(read_model(path), settings)}
    answers |= {peer.name: _answer(peer, place, question) for peer, place in peers}
    path.unlink()
    true = Answer(
        total_bytes=engine.total_bytes,
        weights_bytes=engine.weights_bytes,
        kv_cache_bytes=engine.kv_cache_bytes,
    )
    return Case(model=known.id, preset=preset, engine=true, answers=answers)


def _quantized_header(known: KnownModel, preset: str, folder: Path) -> Path:
    """Its header with the types that the quantizer would choose, and a hole."""
    model = as_preset(read_model(header_of(known, folder)), preset)
    types = {tensor.name: tensor.type.name for tensor in model.tensors}
    metadata = without_vocabulary(known.metadata(), known.n_vocab)
    return write_header_only(folder / f"{known.id}.gguf", metadata, known.tensors(), types)


def _serve(hub: Loopback, known: KnownModel, path: Path) -> None:
    """The repository as the Hub would tell it: one file, the number of parameters, the kind of
    model.
    """
    facts = {
        "id": known.hf_repo,
        "siblings": [],
        "safetensors": {"total": known.n_params + known.n_params_mtp},
        "config": {"model_type": known.architecture.replace("-", "_")},
    }
    hub.files[f"/api/models/{known.hf_repo}"] = json.dumps(facts).encode()
    hub.files[f"/api/models/{known.hf_repo}/tree/main"] = json.dumps(
        [{"path": FILE, "type": "file"}]
    ).encode()
    hub.files[f"/{known.hf_repo}/resolve/main/{FILE}"] = path


def _ours(model: Model, settings: ContextSettings) -> Answer:
    footprint = compute_footprint(model.shape, model.loaded, settings)
    if footprint is None:
        return Answer(why="not modelled: left to the dry run")
    return Answer(
        total_bytes=footprint.total_bytes - footprint.overhead_bytes,
        weights_bytes=footprint.weights_bytes,
        kv_cache_bytes=footprint.kv_cache_bytes,
    )


def _answer(peer: Peer, program: Path, question: Question) -> Answer:
    try:
        return peer.ask(program, question)
    except NoAnswer as reason:
        return Answer(why=str(reason))
    except (KeyError, TypeError, StopIteration) as unknown:
        return Answer(why=f"an answer that this benchmark cannot read ({unknown!r})")


def _table(cases: Sequence[Case], part: str, names: Sequence[str]) -> None:
    print(f"\n{part}: the engine's GiB, then everybody's error in percent (-: tells none)")
    print(f"{'model':<30}{'type':<11}{'engine':>9}" + "".join(f"{name:>10}" for name in names))
    for case in cases:
        cells = "".join(f"{_cell(case.error(name, part)):>10}" for name in names)
        print(f"{case.model:<30}{case.preset:<11}{getattr(case.engine, part) / GIB:>9.3f}{cells}")
    for what, of in (("median of the absolute error", statistics.median), ("largest", max)):
        print(f"{what:<50}" + "".join(f"{_overall(cases, name, part, of):>10}" for name in names))
    print(
        f"{'answers':<50}"
        + "".join(f"{sum(c.error(name, part) is not None for c in cases):>10}" for name in names)
    )


def _cell(error: float | None) -> str:
    return "-" if error is None else f"{error:+.1f}"


def _overall(
    cases: Sequence[Case], name: str, part: str, of: Callable[[list[float]], float]
) -> str:
    known = [abs(e) for case in cases if (e := case.error(name, part)) is not None]
    return f"{of(known):.1f}" if known else "-"


def _reasons(cases: Sequence[Case]) -> None:
    print("\nWhy a figure is missing, in the program's own words:")
    for case in cases:
        for name, answer in case.answers.items():
            if answer.why:
                print(f"  {name:<10}{case.model:<30}{answer.why}")
    print()
