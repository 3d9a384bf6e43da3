"""Walks the loop again from evidence: the same model, settings and wishes, now and here."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hakaru.choosing.candidate import Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.evidence import read_evidence
from hakaru.choosing.loop import tune_at
from hakaru.choosing.speculative import ways_again, with_speculation
from hakaru.choosing.worker import Effort
from hakaru.engine.mode import ChatTemplate, Mode
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.formats.quant_types import BY_NAME
from hakaru.hardware.machine import Machine
from hakaru.memory.settings import F16_CACHE, Cache, ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.quantization.choices import TYPES
from hakaru.session import Session

Beside = Callable[[Machine, Collection[Path]], Machine]
"""Gives the machine that other programs leave to a model of these parts."""


def _alone(machine: Machine, _: Collection[Path]) -> Machine:
    return machine


class Replay(Struct, frozen=True, kw_only=True):
    """The decision of some evidence beside the decision now.

    The name of a choice is its type, its KV cache unless that is F16, and what guesses ahead.
    Example: `Q4_K_M, KV cache q8_0, guessed by qwen3-0.6b`.
    """

    before: str | None  # the name of the choice in the evidence; None: nothing was chosen
    decision: Decision  # the decision now
    changed: tuple[tuple[str, Any, Any], ...]  # conditions that differ: name, then, now

    @property
    def now(self) -> str | None:
        """The name of the choice now; None: nothing is chosen."""
        if self.decision.chosen is None:
            return None
        speculated = self.decision.speculated
        taken = speculated.taken if speculated else None
        return _guessed(_label(*self.decision.chosen.key), taken.as_json() if taken else None)

    @property
    def holds(self) -> bool:
        """Whether the choice is the same."""
        return self.before == self.now

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru tune --replay --json`."""
        changed = [{"what": what, "then": then, "now": now} for what, then, now in self.changed]
        return {"schema": "hakaru.replay/1", "holds": self.holds, "before": self.before,
            "now": self.now, "changed": changed,
                "decision": self.decision.as_json()}  # fmt: skip


def replay(
    evidence: Path,
    session: Session,
    effort: Effort | None = None,
    *,
    again: bool = False,
    beside: Beside = _alone,
) -> Replay:
    """Walk the loop again as the file `evidence` says. `again` measures every speed anew. Raises
    Misuse for a file that is no evidence, and what `read_model` and `tune_at` raise.
    """
    data = read_evidence(evidence)
    try:
        constraints, settings = _constraints(data["constraints"]), _settings(data["settings"])
    except Misuse as error:
        raise Misuse(
            "{path}: this evidence cannot be walked again: {reason}", path=evidence, reason=error
        ) from error
    before, taken = None, data["chosen"]
    if taken:
        before = _label(taken["type"], (taken["cache_type_k"], taken["cache_type_v"]))
    mix = _mix_then(data["candidates"])
    conditions = {**data["conditions"], "machine": data["machine"]["fingerprint"]}
    mode = Mode()
    if template := conditions.get("chat_template"):
        mode = Mode(template=ChatTemplate(name=template["name"], text=template.get("text")))
    model = read_model(Path(data["model"]["path"]))
    session = replace(session, machine=beside(session.machine, model.parts))
    if mix and not all(_can_have(model, name, type_) for name, type_ in mix.items()):
        mix = None  # the file holds another model now; `changed` tells so
    if "levels" in conditions:
        effort = replace(effort or Effort(), presets=tuple(conditions["levels"]))
    decision = tune_at(
        session, model, settings, constraints, effort, mix=mix, mode=mode, again=again
    )
    if guessed := data.get("speculative"):
        before, language = _guessed(before, guessed["taken"]), guessed["language"]
        ways = ways_again(guessed)
        decision = with_speculation(session, decision, ways, language=language, again=again)
    then = _flat(conditions)
    now = _flat({**decision.conditions, "machine": session.machine.fingerprint})
    changed = tuple(
        (name, then.get(name), now[name]) for name in now if then.get(name) != now[name]
    )
    return Replay(before=before, decision=decision, changed=changed)


def _constraints(data: Mapping[str, Any]) -> Constraints:
    names = data.get("tasks", [])
    tasks = named_tasks(names, data["language"]) if names else None
    tier, speed = tier_named(data["quality"]), data["min_speed"]
    return Constraints(
        tier=tier, min_tokens_per_s=speed, memory_bytes=data["memory_bytes"], tasks=tasks
    )


def _settings(data: Mapping[str, Any]) -> ContextSettings:
    names = ("n_ctx", "n_ubatch", "n_parallel", "type_k", "type_v", "kv_unified")
    return ContextSettings(**{name: data[name] for name in names})


def _flat(conditions: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The conditions on one level: `{"texts": {"n": 3}}` becomes `{"texts.n": 3}`."""
    flat: dict[str, Any] = {}
    for name, value in conditions.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{above}{name}.") if nested else {above + name: value}
    return flat


def _label(type_: str, cache: Cache) -> str:
    return type_ if cache == F16_CACHE else f"{type_}, KV cache {'/'.join(dict.fromkeys(cache))}"


def _guessed(label: str | None, taken: Mapping[str, Any] | None) -> str | None:
    """The label with what guesses ahead."""
    if label is None or taken is None:
        return label
    return f"{label}, guessed by {Path(taken['draft'] or taken['means']).stem}"


def _mix_then(candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, str] | None:
    """The types of the mix that took part; empty if none did, None if the evidence does not say."""
    if not any("tensor_types" in candidate for candidate in candidates):
        return None
    return next(
        (candidate["tensor_types"] for candidate in candidates if candidate.get("tensor_types")), {}
    )


def _can_have(model: Model, name: str, type_: str) -> bool:
    """Whether the model has a tensor of this name that may have this type."""
    tensor = next((t for t in model.tensors if t.name == name), None)
    return tensor is not None and (
        type_ == tensor.type.name
        or (type_ in TYPES and tensor.shape[0] % BY_NAME[type_].block == 0)
    )
