"""Answers to tasks: token by token, with their ends; a server that says nothing or goes is told
truly.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hakaru.cli.tell.tasks import print_tasks
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineDied, EngineRefused
from hakaru.evaluation.answers import Answer, asking
from hakaru.evaluation.findings import tasks_as_json
from hakaru.evaluation.grading import grade
from hakaru.evaluation.tasks import Item, parse_items
from hakaru.memory.settings import ContextSettings
from hakaru.testing import write_tiny_llama

ITEMS = parse_items(
    "x",
    "\n".join(
        json.dumps(
            {
                "id": str(i),
                "prompt": "ab",
                "max_tokens": 4,
                "check": {"type": "exact", "answer": "a"},
            }
        )
        for i in range(3)
    ),
)


class Server:
    """A server whose answers are made here; its process is one that really runs, or has ended."""

    path = Path("model.gguf")

    def __init__(
        self, handler: Callable[[httpx.Request], httpx.Response], seconds: float = 30
    ) -> None:
        self.handler, self.timeout = handler, 0.0
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({seconds})"]
        )

    def client(self, *, timeout: float = 0) -> httpx.Client:
        self.timeout = timeout
        return httpx.Client(transport=httpx.MockTransport(self.handler), base_url="http://engine")

    def death(self) -> EngineDied:
        return EngineDied("ended ({how})", log=[], how=self.process.poll())


def answered(
    handler: Callable[[httpx.Request], httpx.Response],
    *,
    items: list[Item] = ITEMS[:1],
    seconds: float = 30,
) -> list[Answer]:
    server = Server(handler, seconds)
    try:
        with asking(server) as ask:  # type: ignore[arg-type]  # a stand-in
            return [ask(item) for item in items]
    finally:
        server.process.kill()
        server.process.wait()


def stream(*deltas: str, end: str | None = "stop") -> httpx.Response:
    lines = [
        json.dumps(
            {"choices": [{"delta": {"content": delta}, "finish_reason": None}]}, ensure_ascii=False
        )
        for delta in deltas
    ]
    lines += [json.dumps({"choices": [{"delta": {}, "finish_reason": end}]})] if end else []
    body = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
    pieces = [
        body[i : i + 7] for i in range(0, len(body), 7)
    ]  # as they come: anywhere in a line or a character

    def sent() -> Iterator[bytes]:
        yield from pieces

    return httpx.Response(200, content=sent())


def test_an_answer_is_put_together_from_its_tokens() -> None:
    """Whatever is in them: U+2028 and U+0085 end no line. Whoever reaches the limit is cut, whoever
    says nothing is empty.
    """
    asked: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        answers = [stream("日本", "\u2028\x85", "語"), stream("a", "a", end="length"), stream()]
        return answers[len(asked) - 1]

    found = answered(handler, items=ITEMS)
    assert found == [Answer("日本\u2028\x85語", False), Answer("aa", True), Answer("", False)]
    assert all(
        request["stream"] and request["max_tokens"] == 4 and request["temperature"] == 0
        for request in asked
    )


def test_a_server_that_says_nothing_for_long_is_not_said_to_have_ended() -> None:
    """It lives: the task, how long it was waited for and what to do, and no exit code that there is
    not.
    """

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with pytest.raises(
        EngineRefused,
        match=r"no token of its answer to the task '0' within 600 s and was ended; shorten",
    ) as caught:
        answered(handler)
    assert "exit" not in str(caught.value)


def test_a_server_that_breaks_off_is_told_by_its_process() -> None:
    """Ended, it is a death; alive, or silent in the middle of an answer, it broke off."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError("peer closed", request=request)

    with pytest.raises(EngineDied, match=r"ended \(0\)"):
        answered(handler, seconds=0)
    with pytest.raises(
        EngineRefused, match=r"broke off its answer to the task '0' \(peer closed\)"
    ):
        answered(handler)
    with pytest.raises(
        EngineRefused, match="broke off its answer to the task '0' without a reason"
    ):
        answered(lambda request: stream("a", end=None))
    with pytest.raises(EngineRefused, match="answered 503 to the task '0': busy"):
        answered(lambda request: httpx.Response(503, text="busy"))


def test_models_that_never_stop_or_say_nothing_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    """How many answers, of the model and of its reference, in text and in JSON."""
    mine, theirs = (
        grade(ITEMS, ["", "aa", " "], cut=[False, True, False]),
        grade(ITEMS, ["a", "a", "a"]),
    )
    told = tasks_as_json(mine, theirs)
    assert (told["empty"], told["cut"], [i["cut"] for i in told["items"]]) == (
        2,
        1,
        [False, True, False],
    )
    print_tasks(mine, theirs)
    out = capsys.readouterr().out
    assert "the model: 2 of 3 answers are empty." in out
    assert (
        "the model: 1 of 3 answers reached their limit of tokens without an end, and were "
        "checked as they are." in out
    )
    assert "reference: 0" not in out


@pytest.mark.engine
def test_a_model_that_never_stops_is_cut(tmp_path: Path) -> None:
    """Random weights hardly ever choose the one token that ends an answer."""
    tiny = write_tiny_llama(tmp_path / "tiny.gguf")
    with EngineServer(tiny, ContextSettings(n_ctx=256)) as server, asking(server) as ask:
        assert [ask(item).is_cut for item in ITEMS[:1]] == [True]
