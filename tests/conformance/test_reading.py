"""What comes over the wire is read as it is, and what a person types leads to the API."""

import pytest

from hakaru.conformance.api_address import bases_of
from hakaru.conformance.chat_checks import judged_stop, judged_usage, stop_in
from hakaru.conformance.stream_events import ChatStream, events_of
from hakaru.conformance.vector_checks import cosine
from hakaru.errors import Misuse


@pytest.mark.parametrize(
    ("typed", "bases"),
    [
        ("localhost:8600", ["http://localhost:8600/v1", "http://localhost:8600"]),
        ("http://127.0.0.1:8600/", ["http://127.0.0.1:8600/v1", "http://127.0.0.1:8600"]),
        ("http://127.0.0.1:8600/v1/", ["http://127.0.0.1:8600/v1"]),
        ("http://[::1]:8600/v1/chat/completions", ["http://[::1]:8600/v1"]),
        ("HTTPS://example.org/v1/models?x=1#y", ["https://example.org/v1"]),
        ("https://x.example/openai", ["https://x.example/openai/v1", "https://x.example/openai"]),
    ],
)
def test_an_address_may_be_typed_as_people_type_it(typed: str, bases: list[str]) -> None:
    """With or without scheme, `/v1`, endpoint and slash."""
    assert bases_of(typed) == bases


@pytest.mark.parametrize("typed", ["", "ftp://x", "http://", "http://x:port", "model.gguf x"])
def test_what_is_no_address_is_refused(typed: str) -> None:
    """With an example of one."""
    with pytest.raises(Misuse, match="is no address of a server"):
        bases_of(typed)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_events_are_read_however_they_are_cut(end: bytes, size: int) -> None:
    """By the standard: comments, names, data of several lines, letters of several bytes, a last
    event without a blank line; a blank line without data is no event.
    """
    lines = [b": hello", b"event: a", b"data: {", b'data:"x": "\xe9\x9b\xa8"}', b"", b"event: b"]
    raw = end.join([*lines, b"", b"data: [DONE]"])
    pieces = [(float(i), raw[i : i + size]) for i in range(0, len(raw), size)]
    found = [(event.name, event.data) for event in events_of(pieces)]
    assert found == [("a", '{\n"x": "雨"}'), (None, "[DONE]")]


def test_the_time_of_an_event_is_that_of_its_end() -> None:
    """Not that of its first byte."""
    (event,) = events_of([(1.0, b"data: x"), (2.0, b"y\n\n")])
    assert (event.data, event.at_s, event.value) == ("xy", 2.0, None)


def test_a_stream_of_nonsense_is_read_without_an_error() -> None:
    """Numbers, lists and texts where objects belong."""
    raw = b'data: 5\n\ndata: {"choices": [5]}\n\ndata: {"choices": [{"delta": 5}]}\n\ndata: x\n\n'
    stream = ChatStream(tuple(events_of([(0.0, raw)])))
    assert (stream.text, stream.deltas, stream.finish_reasons, stream.usages) == ("", [], [], [])
    assert len(stream.chunks) == 4


@pytest.mark.parametrize(
    ("text", "reason", "verdict"),
    [
        ("one two ", "stop", "pass"),
        ("one two three four", "length", "fail"),
        ("one two ", "length", "fail"),
        ("something else", "stop", "pass"),
        ("something else", "length", "unknown"),
    ],
)
def test_a_stop_is_judged_by_what_the_answer_is_known_to_write(
    text: str, reason: str, verdict: str
) -> None:
    """Another answer proves nothing, unless it stopped."""
    assert judged_stop("one two three four", "three", text, reason).verdict == verdict


@pytest.mark.parametrize(
    ("text", "stop"), [("one two three", "two"), ("", None), ("ab", None), ("aaaaaaaa", None)]
)
def test_a_stop_text_stands_in_the_middle_of_an_answer(text: str, stop: str | None) -> None:
    """It does not begin the answer, which would prove nothing."""
    assert stop_in(text) == stop or (stop and text.find(stop_in(text) or "") > 0)


@pytest.mark.parametrize(
    ("usage", "verdict"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, "pass"),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 6}, "fail"),
        ({"prompt_tokens": 3}, "fail"),
        ({"prompt_tokens": "3", "completion_tokens": 2, "total_tokens": 5}, "fail"),
        (None, "fail"),
    ],
)
def test_a_usage_adds_up(usage: object, verdict: str) -> None:
    """Three counts, of which the last is the sum."""
    assert judged_usage(usage).verdict == verdict


def test_vectors_are_alike_by_their_direction() -> None:
    """Of different lengths they are not."""
    assert cosine([1, 2], [2, 4]) == pytest.approx(1)
    assert cosine([1, 0], [0, 1]) == 0
    assert cosine([1, 0], [1]) == 0
