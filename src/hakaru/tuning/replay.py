"""A decision walked again from its evidence: the same model, settings and wishes, now and here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakaru.errors import Misuse
from hakaru.evaluation.tasks import named_tasks
from hakaru.evaluation.tiers import tier_named
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import read_model
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import Constraints
from hakaru.tuning.decision import SCHEMA, Decision
from hakaru.tuning.loop import Effort, tune


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
    data = _read(evidence)
    try:
        wishes, settings = data["constraints"], data["settings"]
        constraints = Constraints(
            tier=tier_named(wishes["quality"]), min_tokens_per_s=wishes["min_speed"], memory_bytes=wishes["memory_bytes"],
            tasks=named_tasks(wishes["tasks"], wishes["language"]) if wishes.get("tasks") else None,
        )  # fmt: skip
        asked = ContextSettings(
            n_ctx=settings["n_ctx"], n_ubatch=settings["n_ubatch"], type_k=settings["type_k"], type_v=settings["type_v"],
            n_parallel=settings["n_parallel"], kv_unified=settings["kv_unified"],
        )  # fmt: skip
        path, before = Path(data["model"]["path"]), (data["chosen"] or {}).get("type")
        conditions = {**data["conditions"], "machine": data["machine"]["fingerprint"]}
    except (KeyError, TypeError) as error:
        raise Misuse("{path}: this evidence lacks {what}; name a file that `hakaru up` or `hakaru tune` wrote.",
                     path=evidence, what=error) from error  # fmt: skip
    decision = tune(bench, read_model(path), asked, constraints, effort)
    now = {**decision.conditions, "machine": bench.machine.fingerprint}
    changed = tuple((name, conditions.get(name), now[name]) for name in now if conditions.get(name) != now[name])
    return Replay(before=before, decision=decision, changed=changed)


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
