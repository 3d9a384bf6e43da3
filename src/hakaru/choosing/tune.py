"""Which level of a model to take here: the verb behind `hakaru tune` and `hakaru up`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from hakaru.choosing.candidate import Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.loop import tune_at
from hakaru.choosing.opening import opening
from hakaru.choosing.worker import Effort
from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for, needs_text
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.memory.context import Context, settings_for
from hakaru.models.embedded import embedded_model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.planning.predicted_here import predicted_here
from hakaru.planning.timed_here import is_timed
from hakaru.servers import beside_servers, running
from hakaru.session import Session
from hakaru.units import size_in_bytes


def tune(
    model: Reference | None = None,
    *,
    tier: str = "balanced",
    min_tokens_per_s: float | None = None,
    memory: str | int | None = None,
    tasks: Sequence[str] = (),
    language: str = "en",
    chat_template: str | None = None,
    again: bool = False,
    serves: bool = False,
    effort: Effort | None = None,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Decision:
    """The level of `model` that meets the wishes best on this machine, measured here.

    Example: `tune("model.gguf", tier="near-lossless", min_tokens_per_s=20).chosen`.

    `model` None is the embedded model. `tier` says how much the level may lose, `min_tokens_per_s`
    how fast it must decode, `memory` how much of the free memory it may take; at `tasks` (ours in
    `language`, HumanEval, or files) it must not be worse than the source. `again` measures every
    speed anew. `serves`: the level will be served, so a model that llama.cpp's server cannot run
    is refused at once. Nothing is chosen where no level meets every wish. Raises Misuse,
    ModelError, EngineError, and DoesNotFit if not even the smallest level fits.
    """
    if min_tokens_per_s is not None and not min_tokens_per_s > 0:
        raise Misuse(
            "`min_tokens_per_s` is {found}, expected a number of tokens per second above 0.",
            found=min_tokens_per_s,
        )
    constraints = Constraints(
        tier=tier_named(tier),
        min_tokens_per_s=min_tokens_per_s,
        memory_bytes=size_in_bytes(memory) if memory is not None else None,
    )
    whole = whole_model(embedded_model() if model is None else model)
    settings = settings_for(whole, **context)
    command = "up" if serves else "tune"
    needs_text(whole, command, tasks=bool(tasks), chat_template=chat_template)
    session = session or Session.here()
    has_mode = serves or chat_template is not None
    mode = mode_for(whole, chat_template, warn=session.warn) if has_mode else Mode()
    machine = beside_servers(session.machine_now(), whole.parts)
    session.warn_of_silence(machine)
    if tasks:
        constraints = replace(constraints, tasks=named_tasks(tasks, language))
    here, effort = replace(session, machine=machine), effort_beside_servers(effort)
    known = is_timed(session.ledger, machine, whole)
    speed = None if known else predicted_here(here, whole, settings)
    for note in opening(machine, whole, settings, constraints, speed):
        session.note(note)
    return tune_at(here, whole, settings, constraints, effort, mode=mode, again=again)


def effort_beside_servers(effort: Effort | None = None) -> Effort:
    """The effort, None for the usual one, so that the files of running servers are not removed."""
    return replace(effort or Effort(), keep=frozenset(Path(d.path) for d in running()))
