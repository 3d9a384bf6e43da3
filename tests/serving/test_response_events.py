"""The engine's answers to `/v1/responses`, made whole for OpenAI's clients."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from hakaru.serving.response_events import ResponseEvents

MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "content": []}
CALL = {"type": "function_call", "id": "fc_1", "status": "completed"}


def response(n_in: int, n_out: int) -> dict[str, Any]:
    """What the engine says of every answer."""
    usage = {"input_tokens": n_in, "output_tokens": n_out, "total_tokens": n_in + n_out}
    return {"status": "completed", "output": [dict(MESSAGE)], "usage": usage}


def event(kind: str, **fields: Any) -> bytes:
    """An event as the engine writes it."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def rewritten(
    answer: bytes,
    asked: dict[str, Any],
    *,
    at_a_time: int,
    is_stream: bool,
    is_ungrouped: bool = True,
) -> bytes:
    """What a client gets of `answer`, which comes in pieces of so many bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(answer), at_a_time):
            yield answer[at : at + at_a_time]

    async def joined() -> bytes:
        body = json.dumps(asked).encode()
        events = ResponseEvents(body, n_ctx=100, is_ungrouped=is_ungrouped)
        return b"".join([p async for p in events.rewritten(pieces(), is_stream=is_stream)])

    return asyncio.run(joined())


def streamed(answer: bytes, at_a_time: int = 7, **asked: Any) -> list[dict[str, Any]]:
    """The events that a client gets, which are named as their type says."""
    found = rewritten(answer, asked, at_a_time=at_a_time, is_stream=True).decode()
    blocks = [block.split("\n") for block in found.split("\n\n") if block]
    events: list[dict[str, Any]] = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {e['type']}" for e in events]
    return events


def status(n_in: int, n_out: int, **asked: Any) -> str:
    """How a whole answer is said to have ended."""
    body = json.dumps(response(n_in, n_out)).encode()
    found = json.loads(rewritten(body, asked, at_a_time=9, is_stream=False))
    assert (found["status"] == "incomplete") == ("incomplete_details" in found)
    assert found["output"][-1]["status"] == found["status"]
    return str(found["status"])


def test_events_are_numbered_and_name_their_item() -> None:
    """However the stream is cut into pieces."""
    answer = b"".join((
        event("response.created", response={"status": "in_progress"}),
        event("response.output_item.added", item=MESSAGE),
        event("response.output_text.delta", item_id="msg_1", delta="a\n\nb"),
        event("response.output_item.added", item=CALL),
        event("response.function_call_arguments.delta", item_id="fc_1", delta="{}"),
        event("response.output_text.done", item_id="msg_1", text="a\n\nb"),
        event("response.completed", response=response(3, 2)),
    ))  # fmt: skip
    events = streamed(answer)
    assert events == streamed(answer, at_a_time=10_000)
    assert [e["sequence_number"] for e in events] == list(range(7))
    assert [e.get("output_index") for e in events] == [None, 0, 0, 1, 1, 0, None]
    assert [e.get("content_index") for e in events] == [None, None, 0, None, None, 0, None]
    assert events[0]["response"]["output"] == [] and events[2]["delta"] == "a\n\nb"


def test_what_was_cut_says_so() -> None:
    """At its limit, or at the end of the context."""
    assert status(3, 15, max_output_tokens=16) == "completed"
    assert status(3, 16, max_output_tokens=16) == "incomplete"
    assert status(60, 40) == "incomplete"
    assert status(60, 39) == "completed"
    (end,) = streamed(event("response.completed", response=response(3, 16)), max_output_tokens=16)
    assert (end["type"], end["response"]["status"]) == ("response.incomplete", "incomplete")
    assert end["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_what_an_engine_writes_already_stays() -> None:
    """Its numbers, its errors, and what is no JSON."""
    numbered = event("response.output_text.delta", item_id="m", sequence_number=9, output_index=4)
    (found,) = streamed(numbered)
    assert (found["sequence_number"], found["output_index"]) == (9, 4)
    for other in (b'data: {"error": {"code": 500}}\n\n', b"data: [DONE]\n\n", b": a comment\n\n"):
        assert rewritten(other, {}, at_a_time=4, is_stream=True) == other
    for body in (b'{"error":{"code":500}}', b"not JSON", b"[]"):
        assert rewritten(body, {}, at_a_time=4, is_stream=False) == body


def test_a_call_names_the_group_of_its_function() -> None:
    """In every event that has the call, and in a whole answer; from another engine than
    llama.cpp's, whose groups were not taken apart, a function of that name is one.
    """
    sky, group = {"type": "function", "name": "sky"}, {"type": "namespace", "name": "mcp__w"}
    tools = [{**group, "tools": [sky]}, sky]
    shown, alone = {**CALL, "name": "mcp__w__sky"}, {**CALL, "name": "sky"}
    done = response(5, 1) | {"output": [shown, alone]}
    events = streamed(
        event("response.output_item.added", item=shown)
        + event("response.output_item.done", item=shown)
        + event("response.completed", response=done),
        tools=tools,
    )
    calls = [events[0]["item"], events[1]["item"], *events[2]["response"]["output"]]
    named = [(call.get("namespace"), call["name"]) for call in calls]
    assert named == [("mcp__w", "sky")] * 3 + [(None, "sky")]
    for is_ungrouped, names in ((True, ["sky", "sky"]), (False, ["mcp__w__sky", "sky"])):
        body, asked = json.dumps(done).encode(), {"tools": tools}
        whole = rewritten(body, asked, at_a_time=9, is_stream=False, is_ungrouped=is_ungrouped)
        assert [call["name"] for call in json.loads(whole)["output"]] == names
