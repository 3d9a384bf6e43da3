"""Evidence as version 0.1 wrote it is walked again: everything that it asks for is read, and what
it took is held against today.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import Struct, field

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.replay import Replay, replay
from hakaru.choosing.worker import Effort
from hakaru.engine.mode import Mode
from hakaru.evaluation.tiers import TIERS
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from old_ledger import MACHINE

EVIDENCE: Final = Path(__file__).parent.parent / "old_decision.json"
MIX: Final = {"blk.0.ffn_up.weight": "Q4_K", "blk.1.attn_q.weight": "Q3_K"}


class Loop(Struct):
    """In the place of the loop: notes what it is asked for, and takes what it is told to."""

    takes: str
    asked: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        session: Session,
        model: Model,
        settings: ContextSettings,
        constraints: Constraints,
        effort: Effort,
        *,
        mix: Any,
        mode: Mode,
        again: bool,
    ) -> Decision:
        self.asked = {
            "settings": settings, "constraints": constraints, "levels": list(effort.presets),
            "mix": mix, "template": mode.template and mode.template.text,
        }  # fmt: skip
        chosen = Candidate(
            type=self.takes,
            weights_bytes=1,
            bpw=1.0,
            total_bytes=1,
            fits=True,
            cache=settings.cache,
            passes=True,
        )
        return Decision(
            machine=session.machine, model=model, settings=settings, constraints=constraints,
            candidates=(chosen,), chosen=chosen, why="", uses_gpu=False, tokens_full_sweep=0,
            conditions=of_then()["conditions"],
        )  # fmt: skip


def of_then() -> dict[str, Any]:
    """The evidence."""
    content: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return content


def walked(
    folder: Path, content: dict[str, Any], loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> Replay:
    """The evidence walked again by `loop`, in a folder that has its model."""
    write_tiny_llama(folder / "model.gguf", tiny_shape(n_vocab=1024))
    file = folder / "evidence.json"
    file.write_text(json.dumps(content).replace("FOLDER", str(folder)), encoding="utf-8")
    monkeypatch.setattr("hakaru.choosing.replay.tune_at", loop)
    return replay(file, Session(machine=MACHINE, ledger=Ledger(folder / "ledger.sqlite")))


def test_evidence_of_then_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings, the wishes and the levels of then, it holds where the same is taken on the
    same machine.
    """
    loop = Loop(takes="source")
    told = walked(tmp_path, of_then(), loop, monkeypatch)
    assert loop.asked == {
        "settings": ContextSettings(n_ctx=512, n_parallel=2),
        "constraints": Constraints(tier=TIERS["balanced"], min_tokens_per_s=1.5,
            memory_bytes=2**30),
        "levels": ["Q8_0", "Q4_K_M", "Q2_K"], "mix": {}, "template": None,
    }  # fmt: skip
    assert (told.before, told.now, told.holds, told.changed) == ("source", "source", True, ())
    assert not walked(tmp_path, of_then(), Loop(takes="Q8_0"), monkeypatch).holds


def test_what_evidence_of_then_may_hold_replays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mix with its types, a smaller KV cache, tasks, and the chat template that took the place of
    the model's own.
    """
    content = of_then()
    content["candidates"].append({**content["candidates"][0], "type": "mix", "tensor_types": MIX})
    content["chosen"] = {
        **content["candidates"][-1],
        "cache_type_k": "q8_0",
        "cache_type_v": "q8_0",
    }
    content["constraints"] |= {"tasks": ["ours"], "language": "ja"}
    content["conditions"]["chat_template"] = {"name": "own.jinja", "text": "{{ messages }}"}
    loop = Loop(takes="mix")
    told = walked(tmp_path, content, loop, monkeypatch)
    assert (loop.asked["mix"], loop.asked["template"]) == (MIX, "{{ messages }}")
    assert loop.asked["constraints"].tasks.language == "ja"
    assert told.before == "mix, KV cache q8_0"


def test_another_machine_and_another_build_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every condition that is another one today, with both values."""
    content = of_then()
    content["machine"]["fingerprint"], content["conditions"]["lab"] = "another", "an older one"
    told = walked(tmp_path, content, Loop(takes="source"), monkeypatch)
    assert [(name, then) for name, then, _ in told.changed] == [
        ("lab", "an older one"),
        ("machine", "another"),
    ]
    assert told.holds
