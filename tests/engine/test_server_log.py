"""What a server says while it starts is read back; a small program stands for the engine."""

import sys
from pathlib import Path

import pytest

from hakaru.engine.log import is_host
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineDied, EngineRefused, ModelDamaged
from hakaru.memory.settings import ContextSettings

SAYS = "srv load_model: initializing slots, n_slots = 1, n_ctx_slot = {n_ctx}"


def serve(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(
        "hakaru.engine.server.server_command", lambda *_, **__: [sys.executable, "-c", program]
    )


def program(n_ctx: int) -> str:
    """Says its slots, is ready, and stays until its input closes."""
    return (
        f"import sys; print({SAYS.format(n_ctx=n_ctx)!r}, file=sys.stderr, flush=True); "
        "print('ready', flush=True); sys.stdin.read()"
    )


def test_a_server_is_ready_with_the_context_that_it_says(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is gone afterwards."""
    serve(monkeypatch, program(512))
    with EngineServer(tiny, ContextSettings(n_ctx=512)) as server:
        assert server.log.context_per_slot() == 512
        assert server.log.grown_bytes() == 0
        assert (server.peak_rss_bytes() or 0) > 0
    assert server.process.poll() is not None


def test_a_smaller_context_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never in silence."""
    serve(monkeypatch, program(256))
    with (
        pytest.raises(EngineRefused, match=r"gave 256 tokens of context .* expected 512"),
        EngineServer(tiny, ContextSettings(n_ctx=512)),
    ):
        pytest.fail("it was entered")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("out of luck", EngineDied, "out of luck"),
        ("chat template parsing error: line 3", ModelDamaged, r"cannot be used \(line 3\)"),
    ],
)
def test_a_server_that_does_not_come_up_says_why(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception], words: str
) -> None:
    """By its last words, which may come after its end."""
    serve(monkeypatch, f"import sys; sys.exit({said!r})")
    with pytest.raises(error, match=words), EngineServer(tiny, ContextSettings(n_ctx=512)):
        pytest.fail("it was entered")


def test_what_the_processor_packs_for_itself_is_host_memory() -> None:
    """A native build on a processor with AMX keeps its weights in a buffer of that name: that is no
    accelerator.
    """
    host = ("CPU", "CPU_Mapped", "CPU_REPACK", "CUDA_Host", "AMX")
    assert all(is_host(name) for name in host)
    assert not any(is_host(name) for name in ("CUDA0", "Vulkan0", "MTL0", "RPC[127.0.0.1:50052]"))
