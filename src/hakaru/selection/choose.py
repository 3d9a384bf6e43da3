"""Which model for a task on a machine: the verb behind `hakaru choose`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Unpack

from hakaru.errors import Misuse
from hakaru.models.benchmarks import Task
from hakaru.models.by_id import entry_called
from hakaru.models.catalogue import KnownModel
from hakaru.models.own_catalogue import all_models
from hakaru.planning.here import named_place
from hakaru.selection.boards import lead_for
from hakaru.selection.chosen import Chosen
from hakaru.selection.conditions import Asked, Conditions, Reason, conditions_of
from hakaru.selection.contender import Contender
from hakaru.selection.cost import Prices
from hakaru.selection.judging import Where, best_contender, broken, contenders_of
from hakaru.selection.relaxing import relaxations
from hakaru.selection.remembered import recall_on
from hakaru.selection.row_speeds import speeds
from hakaru.selection.searching import LEAST_UNMEASURED, Search, search
from hakaru.selection.solved import solved_before
from hakaru.selection.to_have import ways_to
from hakaru.units import size_in_bytes

if TYPE_CHECKING:
    from hakaru.session import Session

DEFAULT_ROWS: Final = 10


def choose(
    task: Task = "chat",
    *,
    hardware: str | None = None,
    memory: str | int | None = None,
    model: str | None = None,
    top: int = DEFAULT_ROWS,
    prices: Prices | None = None,
    session: "Session | None" = None,
    instead_of: int | None = None,
    **asked: Unpack[Asked],
) -> Chosen:
    """The models of the catalogue that do `task` on a machine, and the one to take.

    Example: `choose("chat", language="ja", hardware="RTX 3060").recommended.model.id`.

    `hardware` names a machine as for `fit`; without it, it is this machine. `memory` is the most
    that may be used of it. A task has a usual traffic (`selection.traffic`), of which
    `prompt_tokens`, `answer_tokens` and `users` change the shape; `n_ctx`, of one user, follows
    from it. Its pace and patience are wishes: `min_speed` and `first_token_s` make conditions of
    them. With `model` the rows are the types and caches of that model alone. With `prices` a row
    also has what its answers cost. `instead_of` is the process of a server of ours that would be
    stopped for another model. Nothing is downloaded. Raises Misuse and ModelNotFound.
    """
    conditions = conditions_of(task, **asked)
    if top < 1:
        raise Misuse("`top` is {found}, expected a whole number from 1.", found=top)
    where = _where(hardware, memory, session, instead_of)
    if model is not None:
        models: Sequence[KnownModel] = (entry_called(model),)
        found = _ways_to_run(models[0], conditions, where)
    else:
        models = all_models()
        lead = lead_for(task, conditions.language)
        n_unmeasured = LEAST_UNMEASURED if lead else max(top, LEAST_UNMEASURED)
        found = search(conditions, where, models, n_unmeasured=n_unmeasured)
    rows = _shown(found, top)
    return Chosen(
        hardware=where.hardware, conditions=conditions, search=found, rows=rows,
        left_out=_left_out(found, rows), prices=prices, power=where.power,
        relaxations=() if rows else tuple(relaxations(conditions, where, models)),
        ways=ways_to(found.recommended, where.paces) if found.recommended and where.paces else (),
        solved=where.solved(task, conditions.language),
        drafts=where.drafts,
    )  # fmt: skip


def _where(
    named: str | None, memory: str | int | None, session: "Session | None", instead_of: int | None
) -> Where:
    """The machine that was named, or this one; or the part of it that `memory` names."""
    limit = None if memory is None else size_in_bytes(memory)
    hardware = named_place(named, limit)
    if hardware:
        return Where(
            hardware=hardware, predict=speeds, recall=recall_on(None), solved=solved_before
        )
    from hakaru.selection.own_machine import own_machine

    return own_machine(limit, session, instead_of=instead_of)


def _ways_to_run(model: KnownModel, conditions: Conditions, where: Where) -> Search:
    """The types and caches of one model."""
    lead = lead_for(conditions.task, conditions.language)
    found = contenders_of(model, conditions, where, lead)
    contenders = tuple(contender for contender in found if not broken(contender, conditions))
    reason = None if contenders else best_contender(model, conditions, where, lead)
    left_out = {reason: 1} if isinstance(reason, str) else {}
    return Search(conditions=conditions, lead=lead, contenders=contenders, left_out=left_out)


def _shown(found: Search, top: int) -> tuple[Contender, ...]:
    """The rows to show: the recommended one, the best score, then those of the frontier, others
    with a score, and some of the models that nobody has measured. What misses fewer wishes comes
    before what misses more.
    """
    first = found.recommended
    if first is None:
        return ()
    scored = [contender for contender in found.contenders if contender.score]
    unmeasured = [contender for contender in found.contenders if not contender.score]
    room = max(1, top - min(LEAST_UNMEASURED, top // 3, len(unmeasured)))
    by_misses = [*sorted(found.frontier, key=_misses), *sorted(scored, key=_misses)]
    wanted = list(dict.fromkeys([first, *found.frontier[:1], *by_misses]))[:room]
    chosen = [*wanted, *unmeasured][: max(top, 1)]
    return (
        first,
        *(
            contender
            for contender in found.contenders
            if contender in chosen and contender is not first
        ),
    )


def _misses(row: Contender) -> int:
    return len(row.misses)


def _left_out(found: Search, rows: Sequence[Contender]) -> dict[Reason, int]:
    """Why the other models have no row."""
    further = len(found.contenders) - len(rows)
    return {**found.left_out, **({"further_down": further} if further else {})}
