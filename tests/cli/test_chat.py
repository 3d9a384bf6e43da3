"""`hakaru chat` at a prompt, without a model."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hakaru.cli import run
from hakaru.cli.commands import chat
from hakaru.cli.slash_commands import COMMANDS, Talk, command_in
from hakaru.cli.talking import answer_once, talk_on
from hakaru.language import use_language
from hakaru.models.embedded import is_english_only
from hakaru.servers import Deployment
from hakaru.serving.conversation import Conversation
from scripted_server import MODEL, Scripted

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


class Endless(Conversation):
    """A model that repeats one word until it is stopped."""

    def _stream(self, begun: str) -> Iterator[str]:
        self.n_tokens, self.is_cut = self.max_tokens or 0, True
        yield "again " * self.n_tokens


class Lines:
    """A person who types these lines."""

    def __init__(self, *lines: str) -> None:
        self._left = iter(lines)

    def question(self) -> str:
        for text in self._left:
            return text
        raise EOFError


def typed(*lines: str, **changes: Any) -> Talk:
    """What is left of a talk in which a person typed these lines."""
    talk = Talk(conversation=Endless(httpx.Client(), "m", max_tokens=3), **changes)
    talk_on(talk, Lines(*lines))
    return talk


def test_an_endless_answer_is_stopped_and_goes_on_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said after how many tokens, and what to type; `/more` goes on with the same answer."""
    talk = typed("hello", "/more")
    said = capsys.readouterr()
    assert "[stopped after 3 tokens; /more goes on, --max-tokens 12 allows more]" in said.err
    assert said.out == "again again again \n" * 2
    assert [turn["role"] for turn in talk.conversation.turns] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", True),
        ("SmolLM2-135M-Instruct.Q4_1-Q3_K_M.gguf", True),
        ("smollm2-135m-instruct-q8_0.gguf", True),
        ("SmolLM2-360M-Instruct.gguf", False),
        ("モデル.gguf", False),
    ],
)
def test_what_is_made_of_the_embedded_model_speaks_english_only_too(
    name: str, expected: bool, tmp_path: Path
) -> None:
    """A level that `up` chose is served from a file of another name."""
    assert is_english_only(tmp_path / name) == expected


def test_more_without_a_cut_answer_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The model does not get `/more` for a question."""
    talk = typed("/more", "/retry")
    said = capsys.readouterr()
    assert (said.out, talk.conversation.turns) == ("", [])
    assert "no answer was cut" in said.err
    assert "nothing was asked yet" in said.err


def test_a_single_answer_that_is_stopped_names_the_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After `-p` there is no prompt at which `/more` could be typed."""
    answer_once(Talk(conversation=Endless(httpx.Client(), "m", max_tokens=3)), "hello")
    assert "for more: --max-tokens 12" in capsys.readouterr().err


def test_what_begins_with_a_slash_is_a_command_or_said_to_be_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path is a question, and so is what has a blank before it."""
    talk = typed("/quit", "/etc/hosts: what is it?", " /quit means what?")
    said = capsys.readouterr().err
    assert "there is no /quit; /help lists the commands" in said
    asked = [turn["content"] for turn in talk.conversation.turns[::2]]
    assert asked == ["/etc/hosts: what is it?", " /quit means what?"]
    assert command_in("/system Be brief.") == ("system", "Be brief.")


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_help_lists_every_command(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it is for, in the language in use."""
    use_language(lang)
    typed("/help")
    said = capsys.readouterr().err
    assert all(command.typed in said for command in COMMANDS.values())
    assert ("begin a new conversation" in said) == (lang == "en")


def test_clear_and_retry_change_the_turns(capsys: pytest.CaptureFixture[str]) -> None:
    """Another answer takes the place of the last; a new conversation keeps the instruction."""
    talk = typed("/system Be brief.", "one", "/retry")
    assert [turn["role"] for turn in talk.conversation.turns] == ["user", "assistant"]
    talk_on(talk, Lines("/clear", "/system"))
    assert (talk.conversation.turns, talk.conversation.system) == ([], "Be brief.")
    assert "[instruction: Be brief.]" in capsys.readouterr().err


def test_a_conversation_is_saved_and_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, with the instruction and pictures; another file is refused and changes nothing."""
    path, other = tmp_path / "talk 1.json", tmp_path / "other.json"
    before = typed("/system Be brief.", "one", f"/save {path}").conversation
    after = typed(f"/load {path}").conversation
    assert (after.turns, after.system) == (before.turns, "Be brief.")
    for content in ("{}", "[]", '{"messages": [{"role": "x"}]}', "\x00"):
        other.write_text(content)
        kept = typed("one", f"/load {other}", f"/load {tmp_path / 'none'}", "/load")
        assert len(kept.conversation.turns) == 2
    said = capsys.readouterr().err
    assert "is no conversation; expected a file that /save wrote" in said
    assert "no file is named" in said


def test_files_and_pictures_go_with_the_next_question(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once. A model that does not see gets no picture, and what is none is refused."""
    notes, photo = tmp_path / "notes.txt", tmp_path / "photo.png"
    notes.write_text("Buy rice.")
    photo.write_bytes(PNG)
    talk = typed(f"/file {notes}", f"/image {photo}", "What?", "And?", sees=True)
    first, second = talk.conversation.turns[0]["content"], talk.conversation.turns[2]["content"]
    assert first[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert first[1]["text"] == "notes.txt:\n```\nBuy rice.\n```\n\nWhat?"
    assert second == "And?"
    blind = typed(f"/image {photo}", "What?")
    assert blind.conversation.turns[0]["content"] == "What?"
    typed(f"/image {notes}", f"/file {photo}", sees=True)
    said = capsys.readouterr().err
    assert "this model does not see" in said
    assert "is no picture that the engine reads" in said
    assert "not UTF-8" in said


@pytest.fixture
def deployed(server: Scripted) -> Iterator[Callable[..., Deployment]]:
    """The scripted server as one of ours, which `hakaru chat` finds."""
    made = []

    def announced(path: str = "/models/scripted.gguf") -> Deployment:
        deployment = Deployment(
            pid=os.getpid(),
            started=psutil.Process().create_time(),
            port=int(server.url.split(":")[2].split("/")[0]),
            model=MODEL,
            path=path,
            settings={},
        )
        deployment.announce()
        made.append(deployment)
        return deployment

    yield announced
    for deployment in made:
        deployment.record.unlink(missing_ok=True)


def test_all_of_a_pipe_is_one_question(
    deployed: Callable[..., Deployment],
    server: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A file of several lines is not asked line by line. Only the answer is on stdout."""
    deployed()
    monkeypatch.setattr("sys.stdin", io.StringIO("Say this:\nhello\n"))
    assert run(["chat", "--temp", "0", "--top-k", "3", "--max-tokens", "5"]) == 0
    path, body = server.asked[-1]
    request = json.loads(body)
    assert path.endswith("/chat/completions")
    assert request["messages"] == [{"role": "user", "content": "Say this:\nhello"}]
    assert (request["temperature"], request["top_k"]) == (0, 3)
    assert capsys.readouterr().out.startswith("one")


def test_a_pipe_that_is_not_answered_is_an_error(
    deployed: Callable[..., Deployment],
    server: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A letter beyond the context: whoever calls it in a script sees it by the exit code."""
    deployed()
    monkeypatch.setattr("sys.stdin", io.StringIO("word " * 1000))
    assert run(["chat"]) == 6
    told = capsys.readouterr()
    assert told.out == "" and "did not answer" in told.err


@pytest.mark.parametrize(
    ("text", "asked"),
    [("A letter.\nIts end.\n", "A letter.\nIts end.\n\nSum it up"), ("\n", "Sum it up")],
)
def test_a_pipe_is_the_text_of_a_prompt(
    deployed: Callable[..., Deployment], server: Scripted, tmp_path: Path, text: str, asked: str
) -> None:
    """`cat letter | hakaru chat -p "Sum it up"`: the text, then what to do with it. Where stdin is
    nobody's, it is not read.
    """
    deployed()
    command = [sys.executable, "-m", "hakaru", "chat", "-p", "Sum it up", "--max-tokens", "5"]
    for given, expected in ((text, asked), (None, "Sum it up")):
        source = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
        done = subprocess.run(
            command, text=True, capture_output=True, timeout=60, check=False, **source
        )
        assert done.returncode == 0, done.stderr
        request = json.loads(server.asked[-1][1])
        assert request["messages"] == [{"role": "user", "content": expected}]


def test_options_of_loading_are_too_late_for_a_running_server(
    deployed: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    """They would be dropped in silence."""
    deployed()
    assert run(["chat", "-p", "hi", "-ngl", "3", "-c", "512"]) == 2
    said = capsys.readouterr().err
    assert "--context" in said and "--gpu-layers" in said
    assert f"{MODEL} is served already" in said


def test_what_is_loaded_without_a_server_is_named(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: Path,
    embedded: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last choice by its path, the embedded model by its name; a model that was named is
    known.
    """
    monkeypatch.setattr(chat, "last_choice", lambda: tiny)
    assert chat._model(None).path == tiny
    assert f"loading {tiny}, the last choice here" in capsys.readouterr().err
    monkeypatch.setattr(chat, "last_choice", lambda: None)
    assert chat._model(None).path == embedded
    assert f"loading {embedded.name}, which comes with hakaru" in capsys.readouterr().err
    chat._model(str(tiny))
    assert capsys.readouterr().err == ""


class Terminal:
    """`hakaru chat` in a terminal of its own, to whose server the test speaks."""

    def __init__(self, *options: str) -> None:
        self.main, side = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hakaru", "chat", *options],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        )  # fmt: skip
        os.close(side)

    def until(self, text: str, within_s: float = 30) -> None:
        """Read until the terminal shows `text` behind what was seen before."""
        end = time.monotonic() + within_s
        while text.encode() not in self.seen:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.main], [], [], left)[0], self.seen
            piece = os.read(self.main, 65536)
            if b"\x1b[6n" in piece:  # where is the cursor?
                os.write(self.main, b"\x1b[1;1R")
            self.seen += piece
        self.seen = self.seen.partition(text.encode())[2]

    def type(self, text: str) -> None:
        """Wait for a prompt, and type."""
        self.until(">")
        os.write(self.main, text.encode())

    def end(self) -> int:
        """The exit code of a talk that should be ending."""
        try:
            while select.select([self.main], [], [], 20)[0]:
                os.read(self.main, 65536)
        except OSError:  # nobody writes any more
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()
            os.close(self.main)
        raise AssertionError("it goes on")


def test_a_person_types_at_a_terminal(
    deployed: Callable[..., Deployment], server: Scripted
) -> None:
    """Japanese goes through; a backslash begins a line; what was typed is there again in the next
    run, in a file that nobody else may read, but for what had a blank before it.
    """
    deployed()
    terminal = Terminal("--max-tokens", "5")
    terminal.until("--no-history")
    terminal.type("こんにちは\\\r世界\r")
    terminal.until("tokens/s")
    terminal.type(" a secret\r")
    terminal.until("tokens/s")
    terminal.type("\x04")
    assert terminal.end() == 0
    asked = [json.loads(body) for path, body in server.asked if path.endswith("completions")]
    assert asked[0]["messages"][-1]["content"] == "こんにちは\n世界"
    history = Path(os.environ["XDG_DATA_HOME"]) / "hakaru" / "chat-history"
    assert history.stat().st_mode & 0o777 == 0o600
    kept = history.read_text()
    assert "世界" in kept and "secret" not in kept
    again = Terminal("--max-tokens", "5")
    again.type("\x1b[A")
    again.until("世界")
    os.write(again.main, b"\r")
    again.until("tokens/s")
    again.type("/forget\r")
    again.until("not on the disk")
    assert not history.exists()
    again.type("\x04")
    assert again.end() == 0


def test_ctrl_c_stops_an_answer_and_not_the_talk(deployed: Callable[..., Deployment]) -> None:
    """The next question is answered. SIGTERM ends a talk at its prompt."""
    deployed()  # it takes ten seconds for a thousand words
    terminal = Terminal("--no-history")
    terminal.type("count\r")
    terminal.until("one")
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.until("…")
    terminal.until(">")
    terminal.process.terminate()
    assert terminal.end() == 130
    assert not (Path(os.environ["XDG_DATA_HOME"]) / "hakaru" / "chat-history").exists()
