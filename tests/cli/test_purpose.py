"""What a model is for is said before anything is loaded: models without a chat template, with a
broken one, and those that do not write.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import httpx
import pytest
from msgspec.structs import force_setattr
from test_interrupts import Command

from hakaru.cli import run
from hakaru.engine.mode import BUILT_IN, MAX_TEMPLATE, Mode, named_template
from hakaru.engine.server import EngineServer
from hakaru.errors import Misuse, ModelDamaged
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.purpose import chat_template_in, purpose_of
from hakaru.servers.holding import who_holds_what
from hakaru.testing import tiny_hyperparameters, write_header, write_tiny, write_tiny_llama
from ports import free_port


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Exit code, and everything that was printed."""
    code = run([str(a) for a in arguments])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def hyperparameters(architecture: str, **changes: Any) -> dict[str, Any]:
    """Of a tiny model; encoders tell segments of a text apart."""
    own = {"tokenizer.ggml.token_type_count": 2} if "bert" in architecture else {}
    return tiny_hyperparameters(architecture, **changes) | own


def without_template(path: Path) -> Path:
    """The tiny model as a base model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_chat_template", lambda *_: None)
        return write_tiny_llama(path)


@pytest.mark.parametrize(
    ("architecture", "own", "purpose"),
    [
        ("llama", {}, "text"),
        ("llama", {"llama.pooling_type": 0}, "text"),
        ("qwen3", {"qwen3.pooling_type": 3}, "embedding"),  # Qwen3-Embedding
        ("qwen3", {"qwen3.pooling_type": 4}, "reranker"),  # Qwen3-Reranker
        ("bert", {}, "embedding"),
        ("bert", {"bert.pooling_type": 4}, "reranker"),  # bge-reranker
        ("nomic-bert", {}, "embedding"),
        ("llama", {"llama.attention.causal": False}, "embedding"),
    ],
)
def test_the_header_says_what_a_model_is_for(
    tmp_path: Path, architecture: str, own: Mapping[str, Any], purpose: str
) -> None:
    """Pooling, causality and the architecture; a model that pools gives vectors though it could
    write.
    """
    path = write_header(tmp_path / "m.gguf", {**hyperparameters(architecture), **own}, n_vocab=512)
    assert purpose_of(read_model(path)) == purpose


@pytest.mark.parametrize(
    ("architecture", "purpose"),
    [
        ("t5", "encoder-decoder"),
        ("t5encoder", "embedding"),
        ("llada", "diffusion"),
        ("dream", "diffusion"),
    ],
)
def test_architectures_that_write_in_other_ways(
    tmp_path: Path, architecture: str, purpose: str
) -> None:
    """Told by their names, whatever else stands there."""
    model = read_model(
        write_header(tmp_path / "m.gguf", tiny_hyperparameters("llama"), n_vocab=512)
    )
    force_setattr(model.shape, "architecture", architecture)
    assert purpose_of(model) == purpose


@pytest.mark.engine
@pytest.mark.parametrize("command", ["chat", "test", "up", "tune"])
def test_what_gives_no_text_is_not_asked_for_any(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    """One sentence with what can be done, exit code 2, no load."""
    path = write_tiny(tmp_path / "bert.gguf", hyperparameters("bert"))
    code, told = said(capsys, command, path)
    assert code == 2
    assert (
        f"is an embedding model: it gives no text, so hakaru {command} has nothing to ask" in told
    )
    assert "hakaru serve" in told


@pytest.mark.engine
def test_vectors_and_text_come_from_one_address(tiny: Path, tmp_path: Path) -> None:
    """As a program needs them that looks things up: each model by its name, the second loaded when
    it is asked, though the context is more than it was trained for.
    """
    vectors = write_tiny(tmp_path / "bert.gguf", hyperparameters("bert", context_length=512))
    port = free_port()
    with Command("serve", tiny, vectors, "--context", "1024", "--port", str(port)) as started:
        assert started.process.stdout
        greeting = started.process.stdout.readline()
        assert greeting.startswith("tiny-f16, bert: each answers at"), started.process.communicate()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client:
            answer = client.post("/embeddings", json={"input": [[1, 2, 3]], "model": "bert"})
            assert answer.status_code == 200, answer.text
            assert answer.headers["hakaru-loaded"] == "bert"
            assert len(answer.json()["data"][0]["embedding"]) == 256
            text = client.post(
                "/completions", json={"prompt": [1], "max_tokens": 2, "model": "tiny-f16"}
            )
            assert text.json()["model"] == "tiny-f16", text.text
        holdings, _ = who_holds_what()
        assert [h.server.model for h in holdings] == ["tiny-f16", "bert"]
        assert all(h.state == "ready" and (h.ram_bytes or 0) > 10**7 for h in holdings)


@pytest.mark.engine
def test_an_embedding_model_is_served_as_one(tmp_path: Path) -> None:
    """Vectors of the model's width at /v1/embeddings; a chat is refused with the reason, not with a
    500.
    """
    path = write_tiny(tmp_path / "bert.gguf", hyperparameters("bert", context_length=512))
    with Command("serve", path, "--port", str(port := free_port())) as started:
        assert started.process.stdout
        greeting = started.process.stdout.readline()
        assert "gives vectors: POST" in greeting, started.process.communicate()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client:
            answer = client.post(
                "/embeddings", json={"input": [[1, 2, 3], list(range(5, 405))], "model": "m"}
            )
            assert answer.status_code == 200, answer.text
            assert [len(entry["embedding"]) for entry in answer.json()["data"]] == [256, 256]
            long = client.post("/embeddings", json={"input": [5] * 600, "model": "m"})
            assert (long.status_code, long.json()["error"]["code"]) == (
                400,
                "context_length_exceeded",
            )
            chat = client.post(
                "/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]}
            )
            assert (chat.status_code, chat.json()["error"]["code"]) == (400, "unsupported")
            assert "ask /v1/embeddings" in chat.json()["error"]["message"]


@pytest.mark.engine
def test_a_base_model_is_told_when_it_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: Path
) -> None:
    """That it has no template, what happens, and what to do; tasks are refused. A template that is
    named ends it.
    """
    base = without_template(tmp_path / "base.gguf")
    assert chat_template_in(read_model(base).meta) is None
    warning = (
        "base.gguf has no chat template: a base model, which continues texts. Conversations are "
        "written as ChatML"
    )
    assert warning in said(capsys, "chat", base, "-p", "hi", "--port", "1")[1]
    assert "no chat template" not in said(capsys, "chat", tiny, "-p", "hi", "--port", "1")[1]
    assert (
        "no chat template"
        not in said(capsys, "chat", base, "-p", "hi", "--port", "1", "--chat-template", "gemma")[1]
    )
    for command in (("test", "--no-speed"), ("up", "--no-serve")):
        code, told = said(capsys, command[0], base, *command[1:], "--tasks", "ours")
        assert (code, "would measure the wrong format and not the model" in told) == (2, True)


@pytest.mark.engine
def test_a_named_template_writes_the_conversation(tiny: Path, tmp_path: Path) -> None:
    """A built-in one by the engine, a file by Jinja; without one the model's own."""
    (tmp_path / "mine.jinja").write_text(
        "{% for m in messages %}[{{ m.role }}: {{ m.content }}]{% endfor %}"
    )
    body = {"messages": [{"role": "user", "content": "hi"}]}
    expected = {
        None: "<|im_start|>user\nhi<|im_end|>",
        "gemma": "<start_of_turn>user\nhi<end_of_turn>",
        str(tmp_path / "mine.jinja"): "[user: hi]",
    }
    for name, written in expected.items():
        mode = Mode(template=named_template(name) if name else None)
        with (
            EngineServer(tiny, ContextSettings(n_ctx=256), mode) as server,
            server.client() as client,
        ):
            assert client.post("/apply-template", json=body).json()["prompt"].startswith(written), (
                name
            )


@pytest.mark.engine
@pytest.mark.parametrize(
    "template",
    ["{% for m in messages %}", "{{ raise_exception('no') }}", "{{ messages | nosuchfilter }}"],
)
def test_a_broken_template_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path, template: str
) -> None:
    """Whether it stands in the model or in a file of the person's: that is whose it is."""
    (tmp_path / "broken.jinja").write_text(template)
    with pytest.raises(Misuse, match=r"`chat_template` broken.jinja: cannot be used \(.+\)"):
        EngineServer(
            tiny,
            ContextSettings(n_ctx=256),
            Mode(template=named_template(str(tmp_path / "broken.jinja"))),
        ).__enter__()
    monkeypatch.setattr("hakaru.testing.CHATML", template)
    model = write_tiny_llama(tmp_path / "broken.gguf")
    with pytest.raises(
        ModelDamaged,
        match=r"broken.gguf: its chat template cannot be used \(.+\); "
        r"go on with another one: `chat_template`",
    ):
        EngineServer(model, ContextSettings(n_ctx=256)).__enter__()
    with EngineServer(model, ContextSettings(n_ctx=256), Mode(template=named_template("chatml"))):
        pass


def test_a_file_that_is_no_template_is_refused(tmp_path: Path) -> None:
    """Too large, no text, empty, or not there: one sentence each, before anything is loaded."""
    (tmp_path / "large").write_text("x" * (MAX_TEMPLATE + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").write_text(" \n")
    for name, reason in {
        "large": "has more than",
        "binary": "not UTF-8",
        "empty": "is empty",
        "absent": "is neither a file nor a format",
    }.items():
        with pytest.raises(Misuse, match=reason):
            named_template(str(tmp_path / name))
    assert named_template("llama3").text is None
    assert json.dumps(BUILT_IN) == json.dumps(sorted(BUILT_IN))
