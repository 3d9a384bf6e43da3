"""A placement as a sum of terms: the model's in one memory, and what the devices add. Pure."""

from collections.abc import Iterable
from typing import Final

from hakaru.formats.gguf import Tensor
from hakaru.language import say
from hakaru.memory.growth import checkpoint_bytes, requests_bytes
from hakaru.memory.terms import Term, explain
from hakaru.planning.placement import Task
from hakaru.planning.shares import Placement

PARTS: Final = ("weights_bytes", "kv_cache_bytes", "compute_bytes", "output_bytes",
        "overhead_bytes", "extras_bytes",
                "checkpoints_bytes", "prompts_bytes", "requests_bytes")  # fmt: skip


def explain_placement(task: Task, tensors: Iterable[Tensor], placement: Placement) -> list[Term]:
    """All terms, part by part; they sum to `placement.total_bytes`, to the byte. The shape must be
    modelled.
    """
    terms = explain(task.shape, tensors, task.settings)
    shares = (*placement.shares, placement.ram)
    placed: list[Term] = []
    for part in PARTS:
        own = [t for t in terms if t.part == part] + [
            t for t in _growth(task) if t.part == part and t.bytes
        ]
        rest = sum(getattr(s, part) for s in shares) - sum(t.bytes for t in own)
        if part == "compute_bytes" and (converted := sum(s.conversion_bytes for s in shares)):
            own.append(_conversion(task, converted))
            rest -= converted
        placed += own + ([_because_of_the_place(part, rest, placement)] if rest else [])
    return placed


def _growth(task: Task) -> list[Term]:
    """What comes while the server is used."""
    settings = task.settings
    one_checkpoint = (checkpoint_bytes(task.shape, settings) or 0) + task.copied_bytes
    return [
        Term(part="checkpoints_bytes", what=say("context checkpoints, in host memory"),
             formula=f"{settings.checkpoints_kept} × {settings.n_parallel} × {one_checkpoint:,} B",
             where="`n_checkpoints`, `n_parallel`", bytes=task.checkpoints_bytes),
        Term(part="prompts_bytes", what=say("prompts that no slot holds, in host memory"),
             formula=f"{settings.cache_ram_mib or 0} MiB", where="`cache_ram_mib`",
             bytes=settings.cache_ram_bytes),
        Term(part="requests_bytes", what=say("requests while they are read"),
            formula="docs/memory.md", where=say("assumed, docs/memory.md"),
             bytes=requests_bytes(settings)),
    ]  # fmt: skip


def _conversion(task: Task, n_bytes: int) -> Term:
    settings = task.settings
    types = (
        settings.type_k
        if settings.type_k == settings.type_v
        else f"{settings.type_k}, {settings.type_v}"
    )
    what = say("KV cache ({types}) of one layer in F16, per accelerator", types=types)
    return Term(
        part="compute_bytes",
        what=what,
        formula="docs/memory.md",
        where="`type_k`, `type_v`",
        bytes=n_bytes,
    )


def _because_of_the_place(part: str, rest: int, placement: Placement) -> Term:
    n = sum(1 for s in placement.shares if s.needed_bytes)
    if not n and part != "extras_bytes":
        return Term(
            part=part,
            what=say("the engine's dry run says"),
            formula=f"{rest:+,} B",
            where=say("dry run"),
            bytes=rest,
        )
    match part:
        case "weights_bytes":
            what, formula = say("copies that several devices need"), "token_embd, rope_freqs"
        case "overhead_bytes":
            what, formula = say("drivers of the devices"), "docs/memory.md"
        case "extras_bytes":
            what, formula = say("projector and drafts"), "`mmproj`, `draft`, `mtp`"
        case _:
            what, formula = say("buffers on devices and the host instead of one"), "docs/memory.md"
    return Term(part=part, what=what, formula=formula, where="`hardware`", bytes=rest)
