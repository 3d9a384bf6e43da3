"""Tasks: files say where they are broken, and models answer the tasks through the server."""

import json
from pathlib import Path

import pytest

from copies import quantized_copy
from hakaru.cli import run
from hakaru.engine.server import EngineServer
from hakaru.errors import Misuse
from hakaru.evaluation.answers import asking
from hakaru.evaluation.grading import grade
from hakaru.evaluation.sandbox import why_no_sandbox
from hakaru.evaluation.task_example import write_example
from hakaru.evaluation.tasks import LANGUAGES, named_tasks, our_items, parse_items, read_items
from hakaru.language import use_language
from hakaru.memory.settings import ContextSettings
from hakaru.testing import tiny_shape, write_tiny_llama

needs_sandbox = pytest.mark.skipif(
    why_no_sandbox() is not None, reason=f"no sandbox: {why_no_sandbox()}"
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "{",
            r"tasks.jsonl, line 2: no JSON object \(column 2: a name in double quotes is missing\)",
        ),
        ('{"prompt": "a", "check": "b"}', "'check' is \"b\", expected an object"),
        ('["a"]', "line 2: expected an object"),
        (
            '{"prompt": " ", "check": {"type": "exact", "answer": "a"}}',
            "'prompt' is missing or empty",
        ),
        ('{"prompt": "a"}', "'check' is missing"),
        (
            '{"prompt": "a", "check": {"type": "taste"}}',
            'type is "taste", expected one of contains, exact',
        ),
        (
            '{"prompt": "a", "check": {"type": "exact", "answer": " "}}',
            "no answer can ever be right",
        ),
        ('{"prompt": "a", "check": {"type": "regex", "pattern": "("}}', "no regular expression"),
        ('{"prompt": "a", "check": {"type": "numeric", "answer": "5"}}', "finite number"),
        ('{"prompt": "a", "check": {"type": "numeric", "answer": 1e999}}', "finite number"),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"type": 7}}}', "no JSON schema"),
        (
            (
                '{"prompt": "a", "check": {"type": "json", "schema": {"properties": {"a": '
                '{"pattern": "("}}}}}'
            ),
            r"'schema'.properties.a.pattern is \"\(\"",
        ),
        (
            (
                '{"prompt": "a", "check": {"type": "json", "schema": {"patternProperties": {"[": '
                "{}}}}}"
            ),
            r"'schema'.patternProperties is \"\[\"",
        ),
        (
            (
                '{"prompt": "a", "check": {"type": "json", "schema": {"$ref": '
                '"http://127.0.0.1:9/x"}}}'
            ),
            "which is not in it",
        ),
        (
            (
                '{"prompt": "a", "check": {"type": "json", "schema": {"items": {"$ref": '
                '"#/$defs/none"}}}}'
            ),
            "which is not in it",
        ),
        ('{"prompt": "a", "check": {"type": "json", "schema": {"$ref": "#"}}}', "without end"),
        (
            '{"prompt": "a", "check": {"type": ["exact"], "answer": "a"}}',
            r'type is \["exact"\], expected',
        ),
        (
            '{"prompt": "a", "check": {"type": "regex", "pattern": "a{99999999999}"}}',
            "no regular expression",
        ),
        (
            '{"prompt": "a", "check": {"type": "choice", "answer": "E"}}',
            "one of the first n letters",
        ),
        ('{"prompt": "a", "check": {"type": "python", "tests": "x ="}}', "no Python"),
        (
            '{"prompt": "a", "example": "b", "check": {"type": "regex", "pattern": "(?!)"}}',
            "line 2: the example does not pass",
        ),
        (
            '{"prompt": "a", "example": "{}", "check": {"type": "json", "schema": {"not": {}}}}',
            "line 2: the example does not pass",
        ),
        (
            '{"prompt": "a", "check": {"type": "json", "schema": false}}',
            "line 2: a json check needs a schema, a JSON object",
        ),
        (
            '{"prompt": "a", "check": {"type": "python", "tests": "f(1)  # assert"}}',
            "line 2: the tests assert nothing",
        ),
        (
            r'{"prompt": "\ud800 hi", "check": {"type": "exact", "answer": "a"}}',
            r"line 2: \\ud800 is half a character",
        ),
        (
            r'{"prompt": "a", "domain": "\udfff", "check": {"type": "exact", "answer": "a"}}',
            r"line 2: \\udfff is half",
        ),
        (
            r'{"prompt": "a", "check": {"type": "exact", "answer": "a\ud83d"}}',
            r"line 2: \\ud83d is half a character",
        ),
        (
            '{"prompt": "a", "example": "b", "check": {"type": "exact", "answer": "a"}}',
            "line 2: the example does not pass its own",
        ),
        (
            '{"prompt": "a", "example": 5, "check": {"type": "numeric", "answer": 5}}',
            "line 2: 'example' must be a text",
        ),
        ('{"prompt": "a", "check": {"type": "python", "tests": "pass"}}', "assert nothing"),
        (
            '{"prompt": "a", "max_tokens": 0, "check": {"type": "exact", "answer": "a"}}',
            "'max_tokens' is 0",
        ),
        (
            '{"id": "one", "prompt": "a", "check": {"type": "exact", "answer": "a"}}',
            "'one' was there before",
        ),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    """With its number, and what was expected."""
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '{"id": "one", "prompt": "a", "check": {"type": "exact", "answer": "a"}}\n' + line + "\n",
        encoding="utf-8",
    )
    with pytest.raises(Misuse, match=words):
        read_items(file)


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("{", '{"id": "capital"'),
        ('["a"]', '{"id": "capital"'),
        ('{"question": "a"}', '{"id": "capital"'),
        ('{"prompt": "a", "check": {"type": "regex"}}', '{"id": "date"'),
        ('{"prompt": "a", "check": {"type": "numeric", "answer": "5"}}', '{"id": "sum"'),
        ("", '{"id": "capital"'),
    ],
)
def test_a_right_line_stands_beside_a_wrong_one(line: str, right: str) -> None:
    """With the same type of check where the wrong line names one; and it is right."""
    with pytest.raises(Misuse) as caught:
        parse_items("x", line)
    shown = str(caught.value).partition("\nA right line: ")[2]
    assert shown.startswith(right)
    assert parse_items("x", shown)


def test_a_wrong_line_tells_the_fields_that_it_has() -> None:
    """So a person who calls it `question` sees what to rename."""
    with pytest.raises(Misuse, match=r"'prompt' is missing .*\(fields of this line: question, a\)"):
        parse_items("x", '{"question": "a", "a": "b"}')


def test_a_missing_file_is_told_what_could_stand_there(tmp_path: Path) -> None:
    """A misspelt `ours` is taken for a file."""
    with pytest.raises(
        Misuse, match=r"ourz: there is no such file. `tasks` takes ours | humaneval"
    ):
        named_tasks([str(tmp_path / "ourz")], "en")


def test_comments_are_left_out_and_lines_are_counted_with_them() -> None:
    """So the line in an error is the line in the editor."""
    task = '{"prompt": "a", "check": {"type": "contains", "answer": "#"}}'
    (item,) = parse_items("x", f"# one\n  // two\n\n{task}\n")
    assert item.id == "line 4"
    with pytest.raises(Misuse, match="holds no task"):
        parse_items("x", "# only a comment\n")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_example_has_every_check_and_each_can_pass(tmp_path: Path, language: str) -> None:
    """In both languages; its own answers pass, and nothing that was there is replaced."""
    use_language(language)
    file = tmp_path / "自分の tasks.jsonl"
    write_example(file)
    items = read_items(file)
    assert sorted(i.check.kind for i in items) == [
        "choice", "contains", "contains", "exact", "json", "numeric", "python", "regex",
    ]  # fmt: skip
    assert all(item.is_proven for item in items)
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(Misuse, match=r"(?s)自分の tasks.jsonl: "):
        write_example(file)
    assert file.read_text(encoding="utf-8") == "mine"
    with pytest.raises(Misuse):
        write_example(tmp_path / "no folder" / "tasks.jsonl")


def test_a_line_is_what_ends_with_a_newline(tmp_path: Path) -> None:
    """Other ends of lines are characters of a text; a byte order mark and Windows' ends are read
    over, and lines are counted as editors do.
    """
    file = tmp_path / "tasks.jsonl"
    lines = [
        '{"prompt": "a\u2028b\u0085c\x7f", "check": {"type": "exact", "answer": "a"}}',
        "",
        r'{"prompt": "\ud83d\ude00"}',
    ]
    file.write_bytes("\ufeff".encode() + lines[0].encode() + b"\r\n")
    (item,) = read_items(file)
    assert (item.prompt, item.id) == ("a\u2028b\u0085c\x7f", "line 1")
    with pytest.raises(Misuse, match="line 3: 'check' is missing"):
        parse_items("x", "\n".join(lines))


@needs_sandbox
def test_an_example_must_pass_its_own_check() -> None:
    """Also where it is code, which runs in the sandbox."""
    check = {"type": "python", "tests": "def test_f():\n    assert f(1) == 2"}
    good = {"prompt": "a", "check": check, "example": "```python\ndef f(n): return n + 1\n```"}
    assert parse_items("x", json.dumps(good))[0].check.kind == "python"
    with pytest.raises(Misuse, match="x, line 1: the example does not pass its own check"):
        parse_items("x", json.dumps(good | {"example": "def f(n): return n"}))


def test_a_file_without_tasks_is_refused(tmp_path: Path) -> None:
    """Empty, or not UTF-8."""
    with pytest.raises(Misuse, match="holds no task"):
        parse_items("x", "\n \n")
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(b"\n")  # of a text this is "a few hundred words" too few
    with pytest.raises(Misuse, match="holds no task"):
        read_items(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Misuse, match="not UTF-8"):
        read_items(file)


@pytest.mark.engine
def test_a_model_answers_through_the_server(tmp_path: Path) -> None:
    """A model that knows nothing answers something, a choice by a letter, the same each time."""
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    choices = [item for item in our_items("en") if item.check.kind == "choice"]
    items = [*our_items("en")[:2], *choices[:3]]
    with EngineServer(tiny, ContextSettings(n_ctx=1024)) as server, asking(server) as ask:
        first = [ask(item) for item in items]
        assert first == [ask(item) for item in items]
    assert all(
        a.text in item.check.letters and a.text and not a.is_cut
        for item, a in zip(items[2:], first[2:], strict=True)
    )
    assert len(grade(items, [a.text for a in first])) == 5


@pytest.mark.engine
def test_the_command_tells_tasks_and_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model against itself: no flips, and the same answers."""
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    file = tmp_path / "own.jsonl"
    file.write_text(
        '{"prompt": "ab", "max_tokens": 4, "example": "a", "check": {"type": "regex", "pattern": '
        '"."}}\n',
        encoding="utf-8",
    )
    command = ["test", str(tiny), "--reference", str(tiny), "--no-speed", "--tasks", str(file)]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["tasks"]
    assert (
        told["n"],
        told["paired"]["lost"],
        told["paired"]["won"],
        told["paired"]["verdict"],
    ) == (1, 0, 0, "cannot tell")
    assert run(command) == 0
    assert "cannot tell them apart" in capsys.readouterr().out


@pytest.mark.engine
def test_several_models_are_compared_in_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model, its copy and two bits of it: the copy cannot be told apart, the two bits lose more;
    without a reference or tasks there is nothing to compare.
    """
    tiny, worse, copy = (
        write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024)),
        tmp_path / "q2.gguf",
        tmp_path / "q8.gguf",
    )
    quantized_copy(tiny, worse, "Q2_K")
    quantized_copy(tiny, copy, "Q8_0")
    command = ["test", str(worse), str(copy), "--reference", str(tiny), "--no-speed"]
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (found,) = told["pairs"]
    assert (found["less_loss"], found["kld_ratio"]["low"] > 1, found["tasks"]) == (
        "second",
        True,
        None,
    )
    assert [Path(m["path"]).name for m in told["models"]] == ["q2.gguf", "q8.gguf"]
    assert run(["test", str(copy), str(copy), "--reference", str(tiny), "--no-speed"]) == 0
    assert "cannot tell their losses apart" in capsys.readouterr().out
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab\n" * 6, encoding="utf-8")
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
def test_own_prompts_are_a_domain_and_a_budget_ends_the_reading(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference answers them; with hardly any time one batch is read, and nothing is
    claimed.
    """
    tiny, worse = (
        write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024)),
        tmp_path / "q8.gguf",
    )
    quantized_copy(tiny, worse, "Q8_0")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("ab\n\nabc\n" * 12, encoding="utf-8")
    command = [
        "test",
        str(worse),
        "--reference",
        str(tiny),
        "--no-speed",
        "--prompts",
        str(prompts),
        "--json",
    ]
    assert run(command) == 0
    assert "answers-own" in json.loads(capsys.readouterr().out)["quality"]["domains"]
    quantized_copy(tiny, other := tmp_path / "q6.gguf", "Q6_K")
    assert run([*command[:1], str(other), *command[2:], "--budget", "0.001s"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "inconclusive"
    assert told["quality"]["n_windows"] < told["windows_available"]
