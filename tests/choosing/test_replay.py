"""Evidence that is walked again: what is no evidence is one sentence, and everything is taken from
it.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from decisions import decision_of_every_state
from hakaru.choosing.decision import Decision
from hakaru.choosing.evidence import decision_schema, read_evidence
from hakaru.choosing.replay import replay
from hakaru.cli import run
from hakaru.engine.mode import ChatTemplate, Mode
from hakaru.errors import Interrupted, Misuse, ModelNotFound
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.servers import beside_servers
from hakaru.session import Session

EVIDENCE_OF_0_1 = Path(__file__).parent / "evidence-of-0.1.json"
WISHES: dict[str, Any] = {
    "quality": "balanced",
    "min_speed": None,
    "memory_bytes": None,
    "tasks": [],
    "language": None,
}
SETTINGS: dict[str, Any] = {
    "n_ctx": 512,
    "n_ubatch": 512,
    "type_k": "f16",
    "type_v": "f16",
    "n_parallel": 1,
    "kv_unified": False,
}


def evidence(**changes: Any) -> str:
    """A decision's file as far as it is read again, but for these values."""
    whole: dict[str, Any] = {"schema": "hakaru.decision/1", "constraints": WISHES,
        "settings": SETTINGS, "model": {"path": "none.gguf"}, "chosen": None,
             "candidates": [], "conditions": {}, "machine": {"fingerprint": "m"}}  # fmt: skip
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no evidence of a decision"),
        ("[]", "expected the schema"),
        ('{"schema": "hakaru.decision/1"}', "lacks 'constraints'"),
        (None, "cannot be read"),
        (evidence(chosen=[1]), r"'chosen' is \[1\], expected an object"),
        (evidence(chosen="Q8_0"), "'chosen' is \"Q8_0\", expected an object"),
        (evidence(chosen={"type": 3}), "'chosen.type' is 3, expected a text"),
        (evidence(chosen={"type": "Q8_0"}), "lacks 'chosen.cache_type_k'"),
        (evidence(candidates=[3]), r"'candidates\[0\]' is 3, expected an object"),
        (evidence(constraints=3), "'constraints' is 3, expected an object"),
        (evidence(constraints={}), "lacks 'constraints.quality'"),
        (
            evidence(constraints={**WISHES, "min_speed": "fast"}),
            (
                "'constraints.min_speed' is \"fast\", expected a number above 0 and below 1e\\+12, "
                "or null"
            ),
        ),
        (
            evidence(constraints={**WISHES, "min_speed": -1}),
            "'constraints.min_speed' is -1, expected",
        ),
        (
            evidence(constraints={**WISHES, "min_speed": float("nan")}),
            "'constraints.min_speed' is \"NaN\", expected a number",
        ),
        (
            evidence(constraints={**WISHES, "min_speed": float("inf")}),
            "'constraints.min_speed' is Infinity, expected a number",
        ),
        (
            evidence(candidates=[{"verdict": "maybe"}]),
            r"'candidates\[0\].verdict' is \"maybe\", expected \"pass\", \"fail\"",
        ),
        (
            evidence(constraints={**WISHES, "memory_bytes": 1.5}),
            "'constraints.memory_bytes' is 1.5, expected a whole number",
        ),
        (
            evidence(constraints={**WISHES, "quality": "best"}),
            "cannot be walked again: `tier` is 'best'",
        ),
        (
            evidence(constraints={**WISHES, "tasks": "ours"}),
            "'constraints.tasks' is \"ours\", expected a list;",
        ),
        (
            evidence(constraints={**WISHES, "tasks": ["ours"], "language": None}),
            "'constraints.language' is null",
        ),
        (
            evidence(constraints={**WISHES, "tasks": ["/none.jsonl"], "language": "en"}),
            "cannot be walked again: /none.jsonl",
        ),
        (
            evidence(settings={**SETTINGS, "n_ctx": "many"}),
            "'settings.n_ctx' is \"many\", expected a whole number above 0",
        ),
        (
            evidence(settings={**SETTINGS, "n_ctx": -5}),
            "'settings.n_ctx' is -5, expected a whole number above 0",
        ),
        (
            evidence(settings={**SETTINGS, "n_ctx": 10**9}),
            "cannot be walked again: `n_ctx` is 1000000000",
        ),
        (evidence(settings={**SETTINGS, "type_k": ["f16"]}), "'settings.type_k' is"),
        (evidence(settings=None), "'settings' is null, expected an object"),
        (evidence(conditions=None), "'conditions' is null, expected an object"),
        (evidence(model={"path": 7}), "'model.path' is 7, expected a text"),
        (
            evidence(conditions={"chat_template": {"name": "x", "text": 3}}),
            "'conditions.chat_template.text' is 3, expected a text",
        ),
        (evidence(machine=[]), r"'machine' is \[\], expected an object"),
    ],
)
def test_what_is_no_evidence_is_not_replayed(tmp_path: Path, text: str | None, words: str) -> None:
    """One sentence, whatever the file holds."""
    file = tmp_path / "evidence.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Misuse, match=words):
        replay(file, Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")))


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    return decision_of_every_state(tmp_path)


def described_strictly(part: Any) -> Any:
    """A schema by which an object may hold nothing that is not described; the machine's description
    is that of `hakaru hardware`, and conditions are open.
    """
    if isinstance(part, list):
        return [described_strictly(each) for each in part]
    if not isinstance(part, dict):
        return part
    strict = {name: described_strictly(each) for name, each in part.items()}
    if isinstance(part.get("properties"), dict) and not {"fingerprint", "levels"} & set(
        part["properties"]
    ):
        return {"unevaluatedProperties": False} | strict
    return strict


def test_the_schema_describes_evidence_to_the_last_field(decision: Decision) -> None:
    """A file that hakaru 0.1 wrote, and what is written today."""
    schema = decision_schema()
    Draft202012Validator.check_schema(schema)
    strictly = Draft202012Validator(described_strictly(schema))
    read_evidence(EVIDENCE_OF_0_1)
    for written in (json.loads(EVIDENCE_OF_0_1.read_text(encoding="utf-8")), decision.as_json()):
        assert [
            error.message for error in strictly.iter_errors(json.loads(json.dumps(written)))
        ] == []


def test_whole_evidence_is_walked_again(tmp_path: Path) -> None:
    """It is only its model that is missing here."""
    file = tmp_path / "evidence.json"
    file.write_text(evidence(), encoding="utf-8")
    with pytest.raises(ModelNotFound, match=r"none.gguf: there is no such file"):
        replay(file, Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")))


def test_a_replay_asks_by_the_chat_template_of_then(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A built-in one by its name, and a file's text, which need not be there any more."""
    file, given = tmp_path / "evidence.json", list[Mode]()

    def walked(*_: object, mode: Mode, **__: object) -> NoReturn:
        given.append(mode)
        raise Interrupted("enough")

    monkeypatch.setattr("hakaru.choosing.replay.tune_at", walked)
    for template in (
        ChatTemplate(name="gemma"),
        ChatTemplate(name="own.jinja", text="{{ messages }}"),
    ):
        session = Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"))
        mode = Mode(template=template)
        written = evidence(conditions=mode.as_evidence(), model={"path": str(tiny)})
        file.write_text(written, encoding="utf-8")
        with pytest.raises(Interrupted):
            replay(file, session)
        assert given.pop() == mode


def test_a_replay_leaves_to_other_servers_what_they_hold(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine that the loop is given is the one that is left beside them; the model's own parts
    say whose weights are shared.
    """
    file, given = tmp_path / "evidence.json", []
    file.write_text(evidence(model={"path": str(tiny)}), encoding="utf-8")

    def walked(session: Session, *_: object, **__: object) -> NoReturn:
        given.append(session.machine.memory.available_bytes)
        raise Interrupted("enough")

    def beside(machine: Machine, parts: Collection[Path]) -> Machine:
        assert list(parts) == [tiny]
        return replace(machine, memory=replace(machine.memory, available_bytes=7))

    monkeypatch.setattr("hakaru.choosing.replay.tune_at", walked)
    with pytest.raises(Interrupted):
        replay(
            file,
            Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")),
            beside=beside,
        )
    assert given == [7]


def test_the_command_leaves_to_other_servers_what_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `up` and `tune` do, `tune --replay` does."""
    given = []

    def walked(*_: object, beside: object, **__: object) -> NoReturn:
        given.append(beside)
        raise Interrupted("enough")

    monkeypatch.setattr("hakaru.cli.commands.tune.replay", walked)
    run(["tune", "--replay", str(tmp_path / "e.json")])
    assert given == [beside_servers]


@pytest.mark.parametrize(
    "options",
    [
        ["--quality", "balanced"], ["--min-speed", "3"], ["--memory", "1GiB"], ["--tasks", "ours"],
        ["--context", "512"], ["--cache-type-k", "q8_0"], ["--parallel", "1"], ["--language", "ja"],
        ["--again"], ["--plot", "a.svg"],
    ],
)  # fmt: skip
def test_a_replay_takes_everything_from_its_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """An option beside it is refused, also one that says what it would be anyway; JSON and the
    language are how it is told.
    """
    file = tmp_path / "evidence.json"
    file.write_text(evidence(), encoding="utf-8")
    assert run(["tune", "--replay", str(file), *options]) == 2
    assert capsys.readouterr().err.startswith(
        f"hakaru: {options[0]} goes with a model, not with --replay"
    )
    assert run(["tune", "--replay", str(file), "--json", "--lang", "en"]) == 4
    assert run(["tune", "a.gguf", "--replay", str(file)]) == 2
