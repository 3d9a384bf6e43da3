"""Our own server, with a real engine behind it."""

from pathlib import Path

import pytest

from hakaru.conformance.conform import conform
from hakaru.serving.serve import serve
from hakaru.testing import tiny_hyperparameters, write_tiny

NOT_YET = {"json.object"}
"""What the engine does wrong, wherever the gateway lets a request through: a check that fails
besides is a step back. Random weights write bytes that are no text, and the engine cannot read such
an answer itself, and says 500.
"""
SURE = {
    "models.list", "chat.shape", "chat.usage", "chat.max_tokens", "chat.n", "stream.done",
    "stream.finish", "stream.usage", "json.schema", "completions.shape", "errors.json_cut",
    "errors.alive", "context.chat", "context.completions", "together.answers", "form.error",
}  # fmt: skip


@pytest.mark.engine
def test_our_server_does_nothing_else_wrong(tiny: Path) -> None:
    """A model of random weights suffices: no answer is judged by what it says."""
    with serve(tiny, n_ctx=512) as serving:
        found = conform(serving.url, timeout_s=60)
    assert found.n_ctx == 512
    failed = {result.check.name: result.outcome.reason for result in found.of("fail")}
    assert failed.keys() - NOT_YET == set(), failed
    assert {result.check.name for result in found.of("pass")} >= SURE


@pytest.mark.engine
def test_our_server_of_vectors_does_nothing_else_wrong(tmp_path: Path) -> None:
    """Two texts at the same time get the vectors that each gets alone; a chat is skipped."""
    metadata = tiny_hyperparameters("bert", context_length=512)
    model = write_tiny(
        tmp_path / "bert.gguf", metadata | {"tokenizer.ggml.token_type_count": 2}, vocabulary=True
    )
    with serve(model, n_ctx=1024, n_parallel=2) as serving:
        found = conform(serving.url, timeout_s=60)
    failed = {result.check.name: result.outcome.reason for result in found.of("fail")}
    assert failed.keys() - NOT_YET == set(), failed
    passed = {result.check.name for result in found.of("pass")}
    assert passed >= {"embeddings.shape", "embeddings.batch", "embeddings.base64", "auth.any"}
    assert "chat.shape" in {result.check.name for result in found.of("skipped")}
