"""A decision walked again from its evidence: the same model, settings and wishes, now and here."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hakaru.engine.mode import ChatTemplate, Mode
from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.hardware.machine import Machine
from hakaru.memory.footprint import F16_CACHE, Cache, ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.models.quant_types import BY_NAME
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import Constraints
from hakaru.tuning.decision import SCHEMA, Decision
from hakaru.tuning.fields import Fields
from hakaru.tuning.loop import Effort, tune
from hakaru.tuning.study import TYPES

Beside = Callable[[Machine, Collection[Path]], Machine]


def _alone(machine: Machine, _: Collection[Path]) -> Machine:
    return machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the evidence says was taken, what is taken now, and which conditions are others: name, then, now. A KV cache that is not F16's
    belongs to the name of what was taken.
    """

    before: str | None
    decision: Decision
    changed: tuple[tuple[str, Any, Any], ...]

    @property
    def now(self) -> str | None:
        """What is taken now."""
        return _label(*self.decision.chosen.key) if self.decision.chosen else None

    @property
    def holds(self) -> bool:
        """Whether the decision is the same."""
        return self.before == self.now

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru tune --replay --json`."""
        changed = [{"what": what, "then": then, "now": now} for what, then, now in self.changed]
        return {"schema": "hakaru.replay/1", "holds": self.holds, "before": self.before, "now": self.now, "changed": changed,
                "decision": self.decision.as_json()}  # fmt: skip


def replay(evidence: Path, bench: Bench, effort: Effort | None = None, *, beside: Beside = _alone) -> Replay:
    """Walk the loop again as the file `evidence` says. `beside` says what other programs leave of the machine to a model of these
    parts. Raises Misuse for a file that is no evidence, and what `read_model` and `tune` raise.
    """
    data = Fields(evidence, _read(evidence))
    constraints, asked, path = _wishes(data), _settings(data), Path(data.text("model.path"))
    before = None
    if data.mapping("chosen", or_none=True):
        before = _label(data.text("chosen.type"), (data.text("chosen.cache_type_k"), data.text("chosen.cache_type_v")))
    mix = _mix_then(data.mappings("candidates"))
    conditions = {**data.mapping("conditions"), "machine": data.text("machine.fingerprint")}
    if "chat_template" in conditions:
        bench.mode = Mode(template=_template(data))
    model = read_model(path)
    bench.machine = beside(bench.machine, model.parts)
    if mix and not all(_can_have(model, name, type_) for name, type_ in mix.items()):
        mix = None  # another model now, which is told below
    if "levels" in conditions:
        effort = replace(effort or Effort(), presets=tuple(data.texts("conditions.levels")))
    decision = tune(bench, model, asked, constraints, effort, mix=mix)
    conditions, now = _flat(conditions), _flat({**decision.conditions, "machine": bench.machine.fingerprint})
    changed = tuple((name, conditions.get(name), now[name]) for name in now if conditions.get(name) != now[name])
    return Replay(before=before, decision=decision, changed=changed)


def _wishes(data: Fields) -> Constraints:
    names = data.texts("constraints.tasks") if "tasks" in data.mapping("constraints") else []
    language = data.text("constraints.language") if names else ""
    quality, speed = data.text("constraints.quality"), data.number_or_none("constraints.min_speed")
    memory = data.whole_or_none("constraints.memory_bytes")
    with data.blamed():
        asked = named_tasks(names, language, needs_examples=False) if names else None
        return Constraints(tier=tier_named(quality), min_tokens_per_s=speed, memory_bytes=memory, tasks=asked)


def _template(data: Fields) -> ChatTemplate:
    """The chat template that took the place of the model's own."""
    has_text = data.mapping("conditions.chat_template").get("text") is not None
    text = data.text("conditions.chat_template.text") if has_text else None
    return ChatTemplate(name=data.text("conditions.chat_template.name"), text=text)


def _settings(data: Fields) -> ContextSettings:
    sizes = {name: data.whole(f"settings.{name}") for name in ("n_ctx", "n_ubatch", "n_parallel")}
    type_k, type_v, kv_unified = data.text("settings.type_k"), data.text("settings.type_v"), data.flag("settings.kv_unified")
    with data.blamed():
        return ContextSettings(**sizes, type_k=type_k, type_v=type_v, kv_unified=kv_unified)


def _flat(conditions: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The conditions with those that hold others taken apart: `texts.test.digest`."""
    flat: dict[str, Any] = {}
    for name, value in conditions.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return flat


def _label(type_: str, cache: Cache) -> str:
    return type_ if cache == F16_CACHE else f"{type_}, KV cache {'/'.join(dict.fromkeys(cache))}"


def _mix_then(candidates: Sequence[Mapping[str, Any]]) -> Mapping[str, str] | None:
    """The types of the mix that took part; empty if none did, None if the evidence does not say."""
    if not any("tensor_types" in candidate for candidate in candidates):
        return None
    found: Any = next((candidate["tensor_types"] for candidate in candidates if candidate.get("tensor_types")), {})
    return found if isinstance(found, dict) else None


def _can_have(model: Model, name: str, type_: str) -> bool:
    tensor = next((t for t in model.tensors if t.name == name), None)
    return tensor is not None and (type_ == tensor.type.name or (type_ in TYPES and tensor.shape[0] % BY_NAME[type_].block == 0))


def _read(evidence: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(evidence.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misuse("{path}: cannot be read ({reason}).", path=evidence, reason=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise Misuse("{path}: no evidence of a decision ({reason}).", path=evidence, reason=error) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise Misuse("{path}: no evidence of a decision; expected the schema {schema}.", path=evidence, schema=SCHEMA)
    return data
