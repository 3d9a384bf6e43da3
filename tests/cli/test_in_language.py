"""`--help` and what Click finds wrong are in Japanese where hakaru speaks Japanese."""

import re
from pathlib import Path

import click
import pytest

from hakaru.cli import run
from hakaru.cli.app import app
from hakaru.cli.in_language import OF_CLICK
from hakaru.cli.wrapping import cells_of

KEPT = {
    *(
        "hakaru",
        "llama",
        "cpp",
        "vllm",
        "bf",
        "fp",
        "awq",
        "gptq",
        "server",
        "GGUF",
        "TOML",
        "URL",
        "vLLM",
        "GPU",
        "CPU",
        "JSON",
        "JSONL",
        "Jinja",
        "RAM",
        "Ray",
        "SIGTERM",
    ),
    *("http", "localhost", "SIGTERM", "privacy"),
    *("Tab", "bash", "bashrc", "zsh", "zshrc", "compinit", "fish", "eval", "completion"),
    *("config", "completions"),
    *(
        "KV",
        "K",
        "k",
        "V",
        "MTP",
        "LLM",
        "OpenAI",
        "Hugging",
        "Face",
        "Ollama",
        "LM",
        "Linux",
        "Studio",
        "Ctrl",
        "C",
        "GiB",
        "GB",
        "HTTPS",
        "PEM",
        "TLS",
        "imatrix",
    ),
    *(
        "ours",
        "humaneval",
        "HumanEval",
        "auto",
        "none",
        "cpu",
        "svg",
        "png",
        "html",
        "py",
        "s",
        "m",
    ),
    *("transparent", "near", "lossless", "balanced", "compact", "extreme", "hf", "org", "repo"),
    *("https", "ollama", "RTX", "M", "Max", "L", "A", "x", "B", "convert", "lang", "en", "ja"),
    *("quick", "standard", "thorough", "computed", "dry", "run", "both", "f", "MiB", "h", "up"),
    *("IQ", "XS", "Q", "S", "jsonl", "contains", "tasks", "new", "hakaru", "ls", "more"),
    *("test", "tune", "JSON", "check", "n"),
    *("chat", "code", "reasoning", "rag", "vision", "embedding", "tool", "use", "any", "open"),
    *("errors", "stop", "ssh", "cluster", "toml", "hardware", "serve"),
    *("rpc", "systemd", "PATH", "vllm", "vLLM", "compose", "ray", "kubernetes"),
    *("bf", "fp", "awq", "gptq", "mxfp"),
    *("small", "medium", "large", "model", "catalog", "choose", "JPY", "kWh", "W"),
}
"""Names and values that are typed as they are, or that have no Japanese."""


def commands(group: click.Group, *words: str) -> list[list[str]]:
    """The words of the group and of every command below it."""
    found = [list(words)]
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, *words, name)
        else:
            found.append([*words, name])
    return found


def words_in(text: str) -> set[str]:
    """The Latin words of a help text, without options, placeholders and choices."""
    text = re.sub(r"(?m)^  -.*?(?=   |$)|^(Usage|使い方):.*$|^  [a-z]+  ", " ", text)
    text = re.sub(r'\{".*\}|^ +"check":.*|\{"prompt".*', " ", text, flags=re.MULTILINE)
    text = re.sub(r"--[a-z-]+|\[\d?<?=?x.*?\]|convert[_-]hf[\w-]+(\.py)?", " ", text)
    return set(re.findall(r"[A-Za-z]+", text))


@pytest.mark.parametrize("command", commands(app), ids=" ".join)
def test_the_help_of_every_command_is_in_japanese(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under `LANG=ja_JP.UTF-8` as under `--lang ja`; afterwards it is in English again."""
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "1000")
    assert run([*command, "--help"]) == 0
    by_environment = capsys.readouterr().out
    assert run([*command, "--help", "--lang", "ja"]) == 0
    assert capsys.readouterr().out == by_environment
    assert by_environment.startswith("使い方: hakaru")
    assert words_in(by_environment) <= KEPT
    assert run([*command, "--help", "--lang", "en"]) == 0
    english = capsys.readouterr().out
    assert "Show this message and exit." in english
    assert not re.search("[ぁ-ん]", english)


@pytest.mark.parametrize("command", commands(app), ids=" ".join)
def test_what_stands_for_a_value_is_in_japanese(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--memory 大きさ`, `hakaru fit [オプション] モデル`; choices stay as they are typed. What
    is beside the options begins in one column, though wide letters take two.
    """
    monkeypatch.setenv("COLUMNS", "1000")
    assert run([*command, "--help", "--lang", "ja"]) == 0
    help_text = capsys.readouterr().out
    usage = help_text.splitlines()[0]
    options = re.findall(r"(?m)^  (-.*?)  +(?=\S)", help_text)
    assert options
    assert re.findall(r"\b[A-Z]+\b", " ".join([usage, *options])) == []
    begin = {cells_of(line[0]) for line in re.finditer(r"(?m)^  -.*?  +(?=\S)", help_text)}
    assert len(begin) == 1


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("nothing", "'nothing' というコマンドはありません。"),
        ("fit", "引数を指定してください: 'モデル'。"),
        ("engine use", "引数を指定してください: 'wheel|native|パス'。"),
        ("formula --bits 4", "オプションを指定してください: '--params'。"),
        ("hardware --jsn", "'--jsn' というオプションはありません。'--json' のことですか。"),
        ("up --context x", "8192 や 32k のように指定してください（k は 1,024）。"),
        ("up --parallel x", "'--parallel' の値が正しくありません: 'x' は整数として読めません。"),
        ("up --port x", "'--port' の値が正しくありません: 'x' は整数として読めません。"),
        ("up --min-speed x", "毎秒のトークン数を 0 より大きい数で指定してください。"),
        ("up --port 0", "'--port' の値が正しくありません: 0 は範囲 1<=x<=65535 に入っていません。"),
        ("fit x --source y", "'computed'、'dry-run'、'both' のいずれかを指定してください。"),
        ("hardware a b", "余分な引数があります（a b）。"),
        ("up --context", "オプション '--context' には値が必要です。"),
        ("up --json=1", "オプション '--json' に値は指定できません。"),
    ],
)
def test_what_is_typed_wrong_is_said_in_japanese(
    typed: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Click's own sentences, too."""
    assert run([*typed.split(), "--lang", "ja"]) == 2
    error = capsys.readouterr().err
    assert f"{sentence}使い方: hakaru " in error
    assert not re.search(r"\. |\.$", error)


@pytest.mark.parametrize("typed", ["up --context", "engine build --backend", "tasks new --x"])
def test_the_help_of_the_command_that_was_typed_is_named(
    typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where Click does not say which command it was reading."""
    assert run(typed.split()) == 2
    command = typed.partition(" -")[0]
    assert capsys.readouterr().err.endswith(f"See: hakaru {command} --help\n")


def test_an_unknown_language_of_tasks_is_refused_without_tasks_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`test x --language fr` does not measure as if nothing had been asked."""
    assert run(["test", "x", "--language", "fr", "--lang", "ja"]) == 2
    assert "--language が 'fr' です。en、ja のいずれか" in capsys.readouterr().err


def test_an_unknown_language_is_refused_in_the_one_of_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who set LANG=ja_JP.UTF-8 is not answered in English."""
    for name in ("LC_ALL", "LC_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert run(["hardware", "--lang", "fr"]) == 2
    assert "--lang が 'fr' です。en、ja のいずれか" in capsys.readouterr().err


def test_click_still_says_these_sentences() -> None:
    """A sentence that a newer Click words otherwise would be English again."""
    source = "".join(
        path.read_text(encoding="utf-8") for path in Path(click.__file__).parent.glob("*.py")
    )
    assert [
        text
        for text in OF_CLICK
        if f'"{text}"'.replace("\n", "\\n").replace("\t", "\\t") not in source
    ] == []


def test_the_list_of_commands_tells_whole_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut off with dots where the line of 80 columns ends."""
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], ["engine"], ["tasks"]):
        run([*words, "--help"])
        listed = capsys.readouterr().out.partition("Commands:")[2]
        assert listed
        assert "..." not in listed
