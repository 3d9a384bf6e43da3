"""The gateway before servers elsewhere, which small programs stand for: where requests go, what is
asked again, and what a client hears of a backend that fails.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hakaru.cli import run
from hakaru.errors import Misuse, Offline
from hakaru.servers import running
from hakaru.serving.entrance import entrance_for
from hakaru.serving.serve import serve as serve_model
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_backends import serve_backends
from scripted_server import Scripted
from stand_in_backend import StandIn, stand_in

SILENT_S = 0.6
Serve = Callable[..., Serving]
StandIns = Callable[..., StandIn]


@pytest.fixture
def stand_ins() -> Iterator[StandIns]:
    """Starts a backend, which ends after the gateway."""
    with ExitStack() as stack:
        yield lambda *model, **more: stack.enter_context(stand_in(*model, **more))


@pytest.fixture
def two(stand_ins: StandIns) -> tuple[StandIn, StandIn]:
    """Two backends with the same model."""
    return stand_ins(), stand_ins()


@pytest.fixture
def serve(stand_ins: StandIns, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A gateway before these backends, which hears of a lost one soon."""
    for name, seconds in {"QUIET_S": 0.2, "AGAIN_S": 0.2, "LOOK_S": 0.05}.items():
        monkeypatch.setattr(f"hakaru.serving.backend.{name}", seconds)
    monkeypatch.setattr("hakaru.serving.backend_pool.HELD_S", 1.0)
    with ExitStack() as stack:

        def served(*backends: StandIn, **options: Any) -> Serving:
            urls = [backend.url for backend in backends]
            asked: Any = {"silent_s": SILENT_S} | options
            return stack.enter_context(serve_backends(urls, **asked))

        yield served
    assert running() == []


def ask(serving: Serving, prompt: str = "x", **more: Any) -> httpx.Response:
    body = {"model": "smol", "prompt": prompt, **more}
    return httpx.post(f"{serving.url}/completions", json=body, timeout=20)


def stream(serving: Serving, prompt: str = "x") -> list[Any]:
    """The events of a stream."""
    text = ask(serving, prompt, stream=True).text
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    events = [line.removeprefix("data: ") for line in lines]
    return [event if event == "[DONE]" else json.loads(event) for event in events]


def status_of(serving: Serving) -> dict[str, dict[str, Any]]:
    """What `/status` tells, by the URL of each backend."""
    told = httpx.get(f"{serving.url.removesuffix('/v1')}/status").json()
    return {one["url"]: one for one in told["backends"]}


def until(state: str, serving: Serving, backend: StandIn) -> None:
    """Wait until the gateway has seen that."""
    for _ in range(200):
        if status_of(serving)[backend.url]["status"] == state:
            return
        time.sleep(0.05)
    raise AssertionError(status_of(serving))


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer in the form of every error."""
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


def test_requests_are_shared_and_each_is_counted(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """Where nothing is known of the prompts and nobody is busy, each backend gets its part."""
    serving = serve(*two)
    answers = [ask(serving, f"prompt {i}") for i in range(6)]
    assert [answer.json()["choices"][0]["text"] for answer in answers] == ["one two three four"] * 6
    assert [len(backend.asked) for backend in two] == [3, 3]
    told = status_of(serving)
    assert [told[backend.url]["answered"] for backend in two] == [3, 3]
    metrics = httpx.get(f"{serving.url.removesuffix('/v1')}/metrics").text
    assert f'hakaru_backend_answered_total{{backend="{two[0].url}"}} 3' in metrics


def test_a_conversation_stays_where_its_beginning_is_known(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """Its turns are read once, however many others are asked meanwhile, and wherever they go."""
    serving = serve(*two)
    turns: list[dict[str, str]] = [{"role": "user", "content": "tell me " * 100}]
    at = []
    for n_others in (0, 1, 2, 3):
        body = {"model": "smol", "messages": turns}
        answer = httpx.post(f"{serving.url}/chat/completions", json=body).json()
        at.append(answer["choices"][0]["message"]["content"])
        turns += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "more"}]
        for i in range(n_others):
            ask(serving, f"another prompt {n_others} {i}")
    assert at == [at[0]] * 4


def test_a_busy_backend_is_left_although_it_knows_the_beginning(
    serve: Serve, stand_ins: StandIns
) -> None:
    """Reading a prompt again takes less than waiting for others."""
    two = stand_ins(owned_by="llamacpp"), stand_ins(owned_by="llamacpp")
    serving = serve(*two, silent_s=10)
    prompt = "the same long prompt " * 100
    assert [ask(serving, prompt).status_code for _ in range(4)] == [200] * 4
    assert sorted(len(backend.asked) for backend in two) == [0, 4]
    for backend in two:
        backend.pause_s = 1.5
    with ThreadPoolExecutor(4) as pool:  # two at once are answered by each
        list(pool.map(lambda _: ask(serving, prompt), range(4)))
    assert min(len(backend.asked) for backend in two) >= 1


@pytest.mark.parametrize("way", ["fails", "full", "fails at once"])
def test_who_fails_before_a_token_is_not_the_end_of_a_request(
    way: Any, serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """A 500, no place, or an error as the first event of a stream: the other backend is asked."""
    serving = serve(*two)
    two[0].way = way
    for i in range(4):
        assert stream(serving, f"p{i}")[-1] == "[DONE]"
    assert len(two[1].asked) == 4


def test_a_request_that_ends_who_hears_it_meets_two_and_not_all(
    serve: Serve, stand_ins: StandIns
) -> None:
    """It may be the request itself that is at fault."""
    one = stand_ins()
    two = stand_ins()
    three = stand_ins()
    serving = serve(one, two, three)
    for backend in (one, two, three):
        backend.way = "fails"
    answer = ask(serving)
    assert answer.status_code == 500 and error_of(answer)["code"] == "backend_error"
    assert sum(len(backend.asked) for backend in (one, two, three)) == 2


@pytest.mark.parametrize(
    ("more", "n_asked"),
    [
        ({"store": True}, 1),
        ({"background": True}, 1),
        ({"previous_response_id": "resp_1"}, 1),
        ({"tools": [{"type": "web_search"}]}, 1),
        ({"tools": [{"type": "function", "name": "f"}]}, 2),
    ],
)
def test_what_does_more_than_to_be_answered_is_asked_once(
    more: dict[str, Any], n_asked: int, serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """Kept twice, or searched twice, is not the same as once."""
    serving = serve(*two)
    for backend in two:
        backend.way = "fails"
    httpx.post(f"{serving.url}/responses", json={"model": "smol", "input": "x", **more})
    assert sum(len(backend.asked) for backend in two) == n_asked


def test_words_for_llama_cpp_are_for_llama_cpp_alone(serve: Serve, stand_ins: StandIns) -> None:
    """It drops the choice of a tool in silence; others follow it, in forms that we may not know."""
    choice = {"type": "some_day", "name": "f"}
    tool = {"type": "function", "function": {"name": "f"}}
    body = {"messages": [{"role": "user", "content": "x"}], "tools": [tool], "tool_choice": choice}
    vllm, llama_cpp = stand_ins(), stand_ins("other", owned_by="llamacpp")
    serving = serve(vllm, llama_cpp)
    asked = [
        httpx.post(f"{serving.url}/chat/completions", json={"model": model, **body})
        for model in ("smol", "other")
    ]
    assert [answer.status_code for answer in asked] == [200, 400]
    assert vllm.asked[0]["tool_choice"] == choice


def test_a_backend_that_breaks_in_a_stream_gives_an_error_event(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """What the client has of the answer is never sent again by another one."""
    serving = serve(*two)
    for backend in two:
        backend.way = "breaks"
    events = stream(serving)
    assert [event["choices"][0]["text"] for event in events[:-1]] == ["one", "two"]
    assert events[-1]["error"]["code"] == "backend_lost"
    assert sum(len(backend.asked) for backend in two) == 1
    assert sum(one["errors"] for one in status_of(serving).values()) == 1


def test_a_killed_backend_is_left_at_once_and_taken_again_when_it_is_back(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """No request is lost for that."""
    serving = serve(*two)
    two[0].kill()
    assert [ask(serving, f"p{i}").status_code for i in range(4)] == [200] * 4
    until("lost", serving, two[0])
    two[0].start()
    until("ready", serving, two[0])
    n_before = len(two[0].asked)
    for i in range(4):
        ask(serving, f"again {i}")
    assert len(two[0].asked) > n_before


def test_a_backend_that_takes_requests_and_never_answers_is_found_out(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """It lists its models all the time. Who waits for it is answered by the other one."""
    serving = serve(*two)
    two[0].way = "hangs"
    began = time.monotonic()
    answers = [ask(serving, f"p{i}") for i in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert time.monotonic() - began < 10 * SILENT_S
    told = status_of(serving)[two[0].url]
    assert told["status"] == "lost" and "no token within 0.6 s" in told["why_lost"]


def test_a_stream_that_stops_is_ended_with_the_reason(serve: Serve, stand_ins: StandIns) -> None:
    """A node behind the backend was lost: nobody closes the connection."""
    only = stand_ins()
    serving = serve(only)
    only.way = "hangs in a stream"
    with httpx.stream(
        "POST", f"{serving.url}/completions", json={"prompt": "x", "stream": True}, timeout=20
    ) as answer:
        pieces = answer.iter_text()
        assert "one" in next(pieces)
        only.way = "hangs"
        rest = "".join(pieces)
    assert '"code": "backend_lost"' in rest and "no token within" in rest


def test_a_slow_backend_is_not_a_lost_one(serve: Serve, stand_ins: StandIns) -> None:
    """As long as tokens come, however slowly: the gateway's own question may wait behind them."""
    only = stand_ins()
    serving = serve(only)
    only.pause_s = 0.4
    assert stream(serving)[-1] == "[DONE]"
    assert status_of(serving)[only.url]["errors"] == 0


def test_nobody_there_is_a_503_after_a_wait(serve: Serve, two: tuple[StandIn, StandIn]) -> None:
    """With the time after which to come again."""
    serving = serve(*two)
    for backend in two:
        backend.kill()
    first = ask(serving)
    assert first.status_code == 503 and error_of(first)["code"] == "backend_lost"
    second = ask(serving)
    assert second.status_code == 503 and error_of(second)["code"] == "no_backend"
    assert second.headers["retry-after"] == "1"
    health = httpx.get(f"{serving.url.removesuffix('/v1')}/health")
    assert health.status_code == 503 and health.json()["status"] == "lost"


def test_the_queue_has_an_end(serve: Serve, stand_ins: StandIns) -> None:
    """Behind the conversations that llama.cpp says it answers at once; behind it is a 429."""
    only = stand_ins(owned_by="llamacpp")
    serving = serve(only, queue=1, silent_s=10)
    only.pause_s = 1.5
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(serving), range(6)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 3 + [429] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert error_of(refused)["code"] == "queue_full" and refused.headers["retry-after"] == "1"


def test_a_drained_backend_ends_what_it_answers_and_gets_nothing_more(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """Until it is let in again."""
    serving = serve(*two)
    for backend in two:
        backend.pause_s = 0.3
    root = serving.url.removesuffix("/v1")
    with ThreadPoolExecutor(2) as pool:
        running_answers = [pool.submit(stream, serving, f"p{i}") for i in range(2)]
        while sum(len(backend.asked) for backend in two) < 2:
            time.sleep(0.01)
        drained = httpx.post(f"{root}/backends/drain", json={"backend": two[0].url})
        assert drained.json()["status"] == "draining"
        assert [answer.result()[-1] for answer in running_answers] == ["[DONE]"] * 2
    two[0].asked.clear()
    two[1].pause_s = 0.0
    assert [ask(serving, f"p{i}").status_code for i in range(4)] == [200] * 4
    assert two[0].asked == []
    again = {"backend": two[0].url, "draining": False}
    assert httpx.post(f"{root}/backends/drain", json=again).json()["status"] == "ready"
    unknown = httpx.post(f"{root}/backends/drain", json={"backend": "http://nobody/v1"})
    assert unknown.status_code == 404 and two[0].url in error_of(unknown)["message"]


def test_a_request_goes_to_who_has_its_model(serve: Serve, stand_ins: StandIns) -> None:
    """Without a model it could be meant for any."""
    chat = stand_ins("chat")
    code = stand_ins("code")
    serving = serve(chat, code)
    ids = [model["id"] for model in httpx.get(f"{serving.url}/models").json()["data"]]
    assert ids == ["chat", "code"]
    for _ in range(3):
        assert ask(serving, model="code").json()["model"] == "code"
    assert (len(chat.asked), len(code.asked)) == (0, 3)
    missing = httpx.post(f"{serving.url}/completions", json={"prompt": "x"})
    assert missing.status_code == 400 and error_of(missing)["code"] == "missing_model"
    unknown = ask(serving, model="gpt-5")
    assert unknown.status_code == 404 and error_of(unknown)["code"] == "model_not_found"


def test_what_only_llama_cpp_answers_is_refused_before_others(
    serve: Serve, stand_ins: StandIns
) -> None:
    """vLLM's `/tokenize` takes another form."""
    only = stand_ins()
    serving = serve(only)
    url = f"{serving.url.removesuffix('/v1')}/tokenize"
    answer = httpx.post(url, json={"content": "x"})
    assert answer.status_code == 400 and error_of(answer)["code"] == "unsupported"


def test_requests_are_read_as_before_an_engine(serve: Serve, stand_ins: StandIns) -> None:
    """What is no such request reaches no backend."""
    only = stand_ins()
    serving = serve(only)
    answer = ask(serving, stop=5)
    assert answer.status_code == 400 and error_of(answer)["param"] == "stop"
    assert only.asked == []
    other = {"host": "example.com"}
    assert httpx.get(f"{serving.url}/models", headers=other).status_code == 403


def test_the_keys_of_clients_and_of_backends_are_two_things(
    serve: Serve, two: tuple[StandIn, StandIn], tmp_path: Path
) -> None:
    """What a client sends goes no further, and each backend gets its own key."""
    keys = tmp_path / "keys"
    keys.write_text(f"for-all  # each\n{two[1].url} for-two\n")
    serving = serve(*two, key_file=keys)
    for i in range(2):
        httpx.post(
            f"{serving.url}/completions",
            json={"prompt": f"p{i}"},
            headers={"authorization": "Bearer of-the-client", "cookie": "a=b"},
        )
    for backend, key in zip(two, ("for-all", "for-two"), strict=True):
        (head,) = backend.heads
        assert f"Authorization: Bearer {key}\r\n" in head
        assert "of-the-client" not in head and "cookie" not in head.lower()


def test_a_storm_of_clients_that_leave_leaves_nothing_behind(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """The backends stop working on what nobody waits for, and nothing of it is an error."""
    serving = serve(*two, silent_s=10)
    for backend in two:
        backend.pause_s = 0.2

    def leave(i: int) -> None:
        body = {"prompt": f"p{i}", "stream": bool(i % 2)}
        with httpx.Client() as client:
            try:
                client.post(f"{serving.url}/completions", json=body, timeout=0.05 + i % 7 * 0.1)
            except httpx.TimeoutException:
                return

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(leave, range(96)))
    for _ in range(100):
        told = status_of(serving)
        if not any(one["answering"] + one["waiting"] for one in told.values()):
            break
        time.sleep(0.05)
    assert [one["errors"] for one in told.values()] == [0, 0]
    assert all(one["status"] == "ready" for one in told.values())
    time.sleep(0.1)
    assert sum(backend.n_open for backend in two) <= 2  # a question whether it answers


def test_ps_tells_of_each_backend_and_stop_drains_one(
    serve: Serve, two: tuple[StandIn, StandIn], capsys: pytest.CaptureFixture[str]
) -> None:
    """And where prompts go; other commands come in with their own key."""
    serving = serve(*two, entrance=entrance_for(api_key=["of-a-client-of-ours"]))
    answer = httpx.post(f"{serving.url}/completions", json={"prompt": "x"})
    assert answer.status_code == 401
    assert run(["ps"]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines() if "127.0.0.1" in line]
    assert [row[:4] for row in rows] == [
        [backend.url, "smol", str(serving.deployment.port), "ready"] for backend in two
    ]
    assert "stay on loopback" in told and "nothing" not in told
    assert run(["stop", two[0].url]) == 0
    capsys.readouterr()
    assert run(["ps", "--json"]) == 0
    states = {
        one["backend"]: one["state"] for one in json.loads(capsys.readouterr().out)["servers"]
    }
    assert states == {two[0].url: "draining", two[1].url: "ready"}


def test_a_backend_that_tells_nonsense_is_met_all_the_same(
    serve: Serve, stand_ins: StandIns
) -> None:
    """What is no count is not known."""
    only = stand_ins(owned_by="llamacpp")
    only.n_slots, only.n_ctx = "many", [0]
    serving = serve(only)
    told = status_of(serving)[only.url]
    assert (told["status"], told["n_slots"], told["n_ctx"]) == ("ready", None, None)
    assert ask(serving).status_code == 200


def test_no_backend_at_all_ends_the_command(serve: Serve, stand_ins: StandIns) -> None:
    """With the reason of each."""
    gone = stand_ins()
    gone.kill()
    with pytest.raises(Offline, match=r"no backend answers .*nobody listens there"):
        serve(gone)


def test_one_that_is_not_there_yet_is_waited_for(
    serve: Serve, two: tuple[StandIn, StandIn]
) -> None:
    """The others answer meanwhile."""
    two[0].kill()
    serving = serve(*two)
    assert ask(serving).status_code == 200
    two[0].start()
    until("ready", serving, two[0])


def test_what_passes_the_checks_passes_them_through_a_gateway(server: Scripted) -> None:
    """Every interface, every error, every stream."""
    from hakaru.conformance.conform import conform

    with serve_backends([server.url]) as serving:
        report = conform(serving.url)
    assert report.counts["fail"] == 0 and report.counts["pass"] > 100


def test_addresses_are_judged_before_anything_is_asked(tmp_path: Path) -> None:
    """Plain http to another machine needs a word."""
    refusals: list[tuple[list[str], dict[str, Any], str]] = [
        (["http://10.0.0.2:8000"], {}, "over plain http everybody"),
        (["http://[fd00::1]:8000"], {}, "over plain http everybody"),
        (["http://u:secret@10.0.0.2"], {}, "backend_key_file"),
        (["localhost:1", "http://localhost:1/v1"], {}, "named twice"),
        (["ftp://x"], {}, "no address"),
        (["localhost:1"], {"key_file": tmp_path / "none"}, "cannot be read"),
    ]
    for urls, options, words in refusals:
        with pytest.raises(Misuse, match=words) as refused, serve_backends(urls, **options):
            pass
        assert "secret" not in str(refused.value)


@pytest.mark.engine
def test_a_real_engine_answers_through_it_as_it_does_alone(embedded: Path) -> None:
    """The same text at temperature 0, and the same refusal of a prompt that is too long. When its
    engine is killed in a stream, the stream says so, and the next request is answered.
    """
    with serve_model(embedded, n_ctx=512) as alone, serve_backends([alone.url]) as serving:
        body = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}
        urls = [f"{one.url}/completions" for one in (alone, serving)]
        texts = [
            httpx.post(url, json=body, timeout=60).json()["choices"][0]["text"] for url in urls
        ]
        assert texts[0] == texts[1] != ""
        long = {"prompt": "apple " * 900, "max_tokens": 1}
        refusals = [httpx.post(url, json=long, timeout=60).json()["error"] for url in urls]
        assert refusals[0] == refusals[1] and refusals[0]["code"] == "context_length_exceeded"
        endless = body | {"max_tokens": 400, "stream": True, "ignore_eos": True}
        with httpx.stream("POST", urls[1], json=endless, timeout=60) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: {")
            (record,) = [one for one in running() if not one.backend]
            psutil.Process(record.engine).kill()
            last = [line for line in lines if line][-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_died"
        assert httpx.post(urls[1], json=body, timeout=60).status_code == 200
