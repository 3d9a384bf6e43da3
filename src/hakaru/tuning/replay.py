"""A decision walked again from its evidence: the same model, settings and wishes, now and here."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import read_model
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import Constraints
from hakaru.tuning.loop import SCHEMA, Decision, Effort, tune

MOST: Final = 1e12
"""Tokens per second that nothing reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What the evidence says was taken, what is taken now, and which conditions are others: name, then, now."""

    before: str | None
    decision: Decision
    changed: tuple[tuple[str, Any, Any], ...]

    @property
    def now(self) -> str | None:
        """The type that is taken now."""
        return self.decision.chosen.type if self.decision.chosen else None

    @property
    def holds(self) -> bool:
        """Whether the decision is the same."""
        return self.before == self.now

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru tune --replay --json`."""
        changed = [{"what": what, "then": then, "now": now} for what, then, now in self.changed]
        return {"schema": "hakaru.replay/1", "holds": self.holds, "before": self.before, "now": self.now, "changed": changed,
                "decision": self.decision.as_json()}  # fmt: skip


def replay(evidence: Path, bench: Bench, effort: Effort | None = None) -> Replay:
    """Walk the loop again as the file `evidence` says. Raises Misuse for a file that is no evidence, and what `read_model` and `tune`
    raise.
    """
    data = _Fields(evidence, _read(evidence))
    constraints, asked = _wishes(data), _settings(data)
    path, before = Path(data.text("model.path")), data.text("chosen.type") if data.mapping("chosen", or_none=True) else None
    conditions = {**data.mapping("conditions"), "machine": data.text("machine.fingerprint")}
    decision = tune(bench, read_model(path), asked, constraints, effort)
    now = {**decision.conditions, "machine": bench.machine.fingerprint}
    changed = tuple((name, conditions.get(name), now[name]) for name in now if conditions.get(name) != now[name])
    return Replay(before=before, decision=decision, changed=changed)


def _wishes(data: "_Fields") -> Constraints:
    names = data.texts("constraints.tasks") if "tasks" in data.mapping("constraints") else []
    language = data.text("constraints.language") if names else ""
    quality, speed = data.text("constraints.quality"), data.number("constraints.min_speed")
    memory = data.whole("constraints.memory_bytes", or_none=True)
    with data.blamed():
        asked = named_tasks(names, language) if names else None
        return Constraints(tier=tier_named(quality), min_tokens_per_s=speed, memory_bytes=memory, tasks=asked)


def _settings(data: "_Fields") -> ContextSettings:
    sizes = {name: data.whole(f"settings.{name}") for name in ("n_ctx", "n_ubatch", "n_parallel")}
    types = {name: data.text(f"settings.{name}") for name in ("type_k", "type_v")}
    kv_unified = data.flag("settings.kv_unified")
    with data.blamed():
        return ContextSettings(**sizes, **types, kv_unified=kv_unified)


class _Fields:
    """What an evidence file says, by places such as `settings.n_ctx`. Raises Misuse for what is missing or of another kind."""

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path, self.data = path, data

    def mapping(self, place: str, *, or_none: bool = False) -> dict[str, Any]:
        return dict(self._value(place, lambda v: isinstance(v, dict) or (or_none and v is None), say("an object")) or {})

    def text(self, place: str, *, or_none: bool = False) -> Any:
        return self._value(place, lambda v: isinstance(v, str) or (or_none and v is None), say("a text"))

    def texts(self, place: str) -> list[str]:
        return list(
            self._value(place, lambda v: isinstance(v, list) and all(isinstance(each, str) for each in v), say("a list of texts"))
        )

    def flag(self, place: str) -> bool:
        return bool(self._value(place, lambda v: isinstance(v, bool), say("true or false")))

    def whole(self, place: str, *, or_none: bool = False) -> Any:
        def fits(value: Any) -> bool:
            return (isinstance(value, int) and not isinstance(value, bool) and value > 0) or (or_none and value is None)

        return self._value(place, fits, say("a whole number above 0"))

    def number(self, place: str) -> float | None:
        def fits(value: Any) -> bool:
            return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST)

        found = self._value(place, fits, say("a number above 0, or null"))
        return None if found is None else float(found)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What is wrong with a value is said of the file."""
        try:
            yield
        except Misuse as error:
            raise Misuse("{path}: this evidence cannot be walked again: {reason}", path=self.path, reason=error) from error

    def _value(self, place: str, fits: Callable[[Any], bool], expected: str) -> Any:
        *above, last = place.split(".")
        value: Any = self.data if not above else self.mapping(".".join(above))
        if last not in value:
            raise Misuse("{path}: this evidence lacks '{what}'; name a file that `hakaru up` or `hakaru tune` wrote.",
                         path=self.path, what=place)  # fmt: skip
        if not fits(value[last]):
            raise Misuse("{path}: '{what}' is {found}, expected {expected}; name a file that `hakaru up` or `hakaru tune` wrote.",
                         path=self.path, what=place, found=json.dumps(value[last])[:40], expected=expected)  # fmt: skip
        return value[last]


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
