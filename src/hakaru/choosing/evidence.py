"""Evidence: a decision as a file, with everything that is needed to check the decision.

`decision.schema.json` describes such a file. A file that breaks the schema is refused in one
sentence, whoever wrote the file.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hakaru import __version__
from hakaru.choosing.evidence_files import evidence_texts
from hakaru.engine.builds import lab_build, server_build
from hakaru.engine.mode import Mode
from hakaru.errors import Misuse
from hakaru.evaluation.texts import PARTS, PROMPT_SEED, texts_at_hand, texts_digest
from hakaru.evaluation.windows import TEST_VERSION
from hakaru.language import listed, say
from hakaru.places import data_dir, written_whole
from hakaru.text_files import decoded, json_reason


def save_evidence(name: str, evidence: Mapping[str, object], path: Path | None = None) -> Path:
    """Write `evidence` to a new file, or over the file at `path`, and return the path, which the
    file holds, too.
    """
    folder = data_dir("evidence")
    now = datetime.now(UTC)
    path = path or folder / f"{now:%Y%m%dT%H%M%S.%f}Z-{name}.json"
    content = {**evidence, "evidence": str(path), "at": now.isoformat(timespec="seconds")}
    with written_whole(path) as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def conditions(mode: Mode) -> dict[str, object]:
    """What a figure depends on besides its model and settings."""
    texts = {part: texts_at_hand((part,)) for part in PARTS}
    return {
        "hakaru": __version__, "lab": lab_build(), "server": server_build(),
        "test_version": TEST_VERSION,
        "seeds": {"answers": PROMPT_SEED, "intervals": 0, "speed": 0},
        "texts": {part: {"n": len(documents), "digest": texts_digest(documents)} for part,
            documents in texts.items()},
    } | mode.as_evidence()  # fmt: skip


def last_choice() -> Path | None:
    """The model file that the latest decision chose, if that file is still there."""
    for text in evidence_texts():
        try:
            chosen = json.loads(text)["chosen"]
        except (ValueError, KeyError):
            continue
        if chosen and Path(chosen["path"]).is_file():
            return Path(chosen["path"])
    return None


def decision_schema() -> dict[str, Any]:
    """The JSON schema of `hakaru.decision/1`."""
    text = (files("hakaru.choosing") / "decision.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_evidence(path: Path) -> dict[str, Any]:
    """The evidence in a file. Raises Misuse with the place that breaks the schema, such as
    `settings.n_ctx`, what stands there, and what was expected.
    """
    from jsonschema import Draft202012Validator

    schema = decision_schema()
    try:
        evidence = json.loads(decoded(path), parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Misuse(
            "{path}: no evidence of a decision ({reason}).", path=path, reason=json_reason(error)
        ) from error
    if not isinstance(evidence, dict) or evidence.get("schema") != schema["title"]:
        raise Misuse(
            "{path}: no evidence of a decision; expected the schema {schema}.",
            path=path,
            schema=schema["title"],
        )
    for violation in Draft202012Validator(schema).iter_errors(evidence):
        raise _complaint(path, violation)
    return evidence


def _constant(name: str) -> float | str:
    """The value of NaN or an infinity, which are no JSON. NaN stays a text, so that it breaks the
    schema wherever a number is expected.
    """
    return name if name == "NaN" else float(name)


def _complaint(path: Path, error: Any) -> Misuse:
    """The refusal in one sentence; `error` is jsonschema's."""
    place = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    )
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        what = f"{place}.{missing}".removeprefix(".")
        return Misuse(
            "{path}: this evidence lacks '{what}'; name a file that `hakaru up` or `hakaru tune` "
            "wrote.",
            path=path,
            what=what,
        )
    return Misuse(
        "{path}: '{what}' is {found}, expected {expected}; name a file that `hakaru up` or "
        "`hakaru tune` wrote.",
        path=path,
        what=place.removeprefix("."),
        found=json.dumps(error.instance)[:40],
        expected=_expected(error.schema),
    )


def _expected(part: Mapping[str, Any]) -> str:
    """What a part of the schema expects, in words."""
    if "enum" in part:
        return listed(json.dumps(value) for value in part["enum"])
    words = {
        "object": say("an object"), "array": say("a list"), "string": say("a text"),
        "boolean": say("true or false"), "integer": say("a whole number"),
        "number": say("a number"),
    }  # fmt: skip
    kinds = [part["type"]] if isinstance(part["type"], str) else part["type"]
    expected = words[kinds[0]]
    if "exclusiveMaximum" in part:
        low, high = part["exclusiveMinimum"], part["exclusiveMaximum"]
        expected = say("{what} above {low:g} and below {high:g}", what=expected, low=low, high=high)
    elif "exclusiveMinimum" in part:
        expected = say("{what} above {low:g}", what=expected, low=part["exclusiveMinimum"])
    return say("{what}, or null", what=expected) if "null" in kinds else expected
