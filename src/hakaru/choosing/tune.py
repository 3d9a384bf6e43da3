"""Which level of a model to take here: the verb behind `hakaru tune` and `hakaru up`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from msgspec.structs import replace

from hakaru.choosing.candidate import Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.loop import tune_at
from hakaru.choosing.opening import opening
from hakaru.choosing.speculative import usual, with_known_speculation, with_speculation
from hakaru.choosing.worker import Effort
from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for, needs_text
from hakaru.engine.speculation import Speculation
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.language import current_language
from hakaru.memory.context import Context, settings_for
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.planning.extras import refuse_other_vocabulary
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
    speculative: bool = False,
    draft: Reference | None = None,
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
    `language`, HumanEval, or files) it must not be worse than the source. `speculative` also
    measures whether the chosen level answers faster when tokens are guessed ahead: by this `draft`
    model, or by all that is at hand. `again` measures every speed anew. `serves`: the level will be
    served, so a model that llama.cpp's server cannot run is refused at once. Nothing is chosen
    where no level meets every wish. Raises Misuse, ModelError, EngineError, and DoesNotFit if not
    even the smallest level fits.
    """
    constraints = _constraints(tier, min_tokens_per_s, memory)
    whole = whole_model(embedded_model() if model is None else model)
    settings = settings_for(whole, **context)
    command = "up" if serves else "tune"
    needs_text(whole, command, tasks=bool(tasks), chat_template=chat_template)
    ways = _ways_with(whole, draft) if draft is not None else None
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
    decision = tune_at(here, whole, settings, constraints, effort, mode=mode, again=again)
    if not speculative and ways is None:
        return with_known_speculation(here, decision)
    return with_speculation(here, decision, ways, language=current_language(), again=again)


def _constraints(
    tier: str, min_tokens_per_s: float | None, memory: str | int | None
) -> Constraints:
    if min_tokens_per_s is not None and not min_tokens_per_s > 0:
        raise Misuse(
            "`min_tokens_per_s` is {found}, expected a number of tokens per second above 0.",
            found=min_tokens_per_s,
        )
    return Constraints(
        tier=tier_named(tier),
        min_tokens_per_s=min_tokens_per_s,
        memory_bytes=size_in_bytes(memory) if memory is not None else None,
    )


def _ways_with(model: Model, draft: Reference) -> list[Speculation]:
    """The ways to guess ahead with the draft that was named, and with none. Raises Misuse for one
    of another vocabulary.
    """
    found = whole_model(draft)
    refuse_other_vocabulary(model, found)
    return [usual("draft", found.path), usual("ngram")]


def effort_beside_servers(effort: Effort | None = None) -> Effort:
    """The effort, None for the usual one, so that the files of running servers are not removed."""
    return replace(effort or Effort(), keep=frozenset(Path(d.path) for d in running()))
