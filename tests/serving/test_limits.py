"""What a request may weigh: what cannot fit is refused before it is tokenized, what could fit never
is, and memory stays flat.
"""

import asyncio
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr
from test_serving import Served, served_from

from hakaru.memory.growth import requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.serving.limits import (
    MAX_BODY,
    MAX_VALUES,
    TOKENIZING,
    Limits,
    Turnstile,
    holds_too_many,
    limits_of,
)
from hakaru.testing import write_tiny_llama

LIMITS = Limits(n_ctx=100, longest=8, max_body=2**20, at_once=2**18)


@pytest.mark.parametrize(
    ("prompt", "least"),
    [
        ("", 0),
        ("x" * 8, 1),
        ("x" * 9, 2),
        ("é" * 8, 2),  # bytes count, not characters
        ([1, 2, 3], 3),
        ([1, "x" * 16, 2], 4),
        ([True, None, {}], 0),  # the engine says what is wrong with it
    ],
)
def test_a_prompt_has_at_least_so_many_tokens(prompt: Any, least: int) -> None:
    """Its bytes by the longest token, and every token id."""
    assert LIMITS.least_tokens(prompt) == least


def test_the_longest_token_is_the_header_s(tmp_path: Path) -> None:
    """`[unused99]` and others of the tiny vocabulary; the body has room for escapes and for what
    stands around the prompt.
    """
    model = read_model(write_tiny_llama(tmp_path / "tiny.gguf"))
    limits = limits_of(model, ContextSettings(n_ctx=2048, n_parallel=2))
    assert (limits.n_ctx, limits.longest) == (1024, len("<|im_start|>"))
    assert limits.max_body == 2**20 + 6 * 1024 * 12
    assert limits.at_once == requests_bytes(ContextSettings(n_ctx=2048, n_parallel=2)) // TOKENIZING
    assert limits_of(model, ContextSettings(n_ctx=2**21)).max_body == MAX_BODY


@pytest.mark.parametrize(
    ("kind", "name"), [("bert", "any"), ("t5", "any"), ("gpt2", "Phi-3 mini"), ("llama", "jina v2")]
)
def test_a_tokenizer_that_drops_text_proves_nothing(tmp_path: Path, kind: str, name: str) -> None:
    """One unknown word of a megabyte is one token of WordPiece; white space behind Phi-3's special
    tokens is none.
    """
    model = read_model(write_tiny_llama(tmp_path / "tiny.gguf"))
    model.metadata["tokenizer.ggml.model"] = kind
    force_setattr(model, "name", name)
    limits = limits_of(model, ContextSettings(n_ctx=1024))
    assert (limits.longest, limits.least_tokens("x" * 10**6)) == (None, 0)


def test_a_body_of_too_many_values_is_known() -> None:
    """Without taking a hundred times its size."""
    assert holds_too_many(b'{"x":[' + b"{}," * (MAX_VALUES + 1) + b"{}]}")
    assert not holds_too_many(b'{"x":[' + b"{}," * 10 + b"{}]}")


def test_commas_in_a_text_are_no_values() -> None:
    """Text may hold as many as it likes, also behind an escaped quotation mark."""
    text = '"\\' + ",[{" * MAX_VALUES
    assert not holds_too_many(json.dumps({"prompt": text}).encode())


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=30))
def test_never_more_than_the_budget_is_inside(visits: list[tuple[int, bool]]) -> None:
    """Whoever comes, leaves early or gives up; and at the end all is free again."""

    async def scenario() -> None:
        gate, inside, most = Turnstile(100), 0, 0

        async def visit(n: int, gives_up: bool) -> None:
            nonlocal inside, most
            try:
                leave = await gate.entered(n, within_s=0.001 if gives_up else 5)
            except TimeoutError:
                return
            inside += min(n, 100)
            most = max(most, inside)
            await asyncio.sleep(0.0002)
            inside -= min(n, 100)
            leave()
            leave()

        await asyncio.gather(*(visit(*v) for v in visits))
        assert most <= 100
        (await asyncio.wait_for(gate.entered(100, within_s=1), 1))()

    asyncio.run(scenario())


@pytest.fixture(scope="module")
def served(embedded: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The embedded model with 2,048 tokens, and no copies of prompts beside them."""
    options = ("--context", "2048", "--cache-ram", "0")
    found = served_from(tmp_path_factory.mktemp("t"), embedded, *options)
    yield found
    found.stop()


def peak(pid: int) -> int:
    """The process's peak resident memory, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


HOSTILE: list[tuple[str, bytes]] = [
    ("/completions", json.dumps({"prompt": "word " * 6_000_000}).encode()),
    ("/chat/completions",
        json.dumps({"messages": [{"role": "user", "content": "x" * 30_000_000}]}).encode()),
    ("/completions", json.dumps({"prompt": " " * 1_000_000}).encode()),
    ("/chat/completions",
        json.dumps({"messages": [{"role": "user",
            "content": os.urandom(400_000).hex()}]}).encode()),
    ("/completions", b'{"prompt":[' + b"1," * 600_000 + b"1]}"),
    ("/completions", b'{"prompt":"hi","max_tokens":1,"x":[' + b"{}," * 400_000 + b"{}]}"),
    ("/completions", b'{"prompt":' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    ("/chat/completions", b"x" * 1_000_000),
]  # fmt: skip


@pytest.mark.engine
@pytest.mark.parametrize(("n", "at_once"), [(len(HOSTILE), 1), (2 * len(HOSTILE), 16)])
def test_hostile_bodies_leave_memory_as_planned(served: Served, n: int, at_once: int) -> None:
    """One after the other and all together: each is a 4xx (or nothing worse than its own answer),
    and the engine grows by no more than the plan has for requests.
    """
    full = {
        "prompt": [1] * 2000,
        "max_tokens": 8,
    }  # whatever the engine takes for a context that is really used stands elsewhere in the plan
    assert httpx.post(served.url + "/completions", json=full, timeout=600).status_code == 200
    engine, gateway = served.engine_pid(), served.process.pid
    before = psutil.Process(engine).memory_info().rss, psutil.Process(gateway).memory_info().rss

    def send(i: int) -> tuple[int, str]:
        path, body = HOSTILE[i % len(HOSTILE)]
        with httpx.Client(timeout=120) as client:
            answer = client.post(
                served.url + path, content=body, headers={"Content-Type": "application/json"}
            )
        return answer.status_code, answer.text[:300]

    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(send, range(n)))
    for i, (status, text) in enumerate(answers):
        assert status in ({200} if i % len(HOSTILE) == 5 else {400, 413}), (i, status, text)
    assert all(
        "context_length_exceeded" in text
        for i, (_, text) in enumerate(answers)
        if i % len(HOSTILE) < 5
    )
    grown = peak(engine) - before[0]
    assert grown < requests_bytes(ContextSettings(n_ctx=2048)), (
        f"the engine grew by {grown / 2**20:.0f} MiB"
    )
    assert peak(gateway) - before[1] < 200 * 2**20
    assert httpx.get(served.url.removesuffix("/v1") + "/health").json()["restarts"] == 0


@pytest.mark.engine
def test_texts_one_after_the_other_leave_memory_as_planned(served: Served) -> None:
    """Each is short enough to be tokenized at once and takes another of the server's threads: what
    they held is given back.
    """
    engine = psutil.Process(served.engine_pid())
    before = engine.memory_info().rss
    body = json.dumps({"prompt": os.urandom(140_000).hex(), "max_tokens": 1}).encode()
    for _ in range(12):
        answer = httpx.post(
            served.url + "/completions",
            content=body,
            headers={"Content-Type": "application/json"},
            timeout=120,
        )
        assert answer.status_code == 400
    assert engine.memory_info().rss - before < requests_bytes(ContextSettings(n_ctx=2048)) // 2


@pytest.mark.engine
def test_what_could_fit_is_never_refused(served: Served) -> None:
    """Runs of the longest token, a conversation of which the template leaves most out, escapes, and
    several prompts at once.
    """
    spaces = " " * 64 * 1500
    escaped = '{"max_tokens":1,"prompt":"' + "\\u0020" * len(spaces) + '"}'
    bodies: list[tuple[str, str]] = [
        ("/completions", json.dumps({"prompt": spaces, "max_tokens": 1})),
        ("/completions", escaped),
        ("/completions", json.dumps({"prompt": [spaces] * 2, "max_tokens": 1})),
        (
            "/chat/completions",
            json.dumps(
                {
                    "messages": [{"role": "user", "content": "Hello"}],
                    "max_tokens": 1,
                    "metadata": {"x": "y" * 500_000},
                }
            ),
        ),
    ]
    with httpx.Client(timeout=120) as client:
        for path, body in bodies:
            answer = client.post(
                served.url + path, content=body, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code == 200, answer.text[:300]
