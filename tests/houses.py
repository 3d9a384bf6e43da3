"""Several models behind one address, where a small program stands for the engine of each."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hakaru.engine.mode import Mode
from hakaru.memory.settings import ContextSettings
from hakaru.servers import running
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_several import serve_several
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama

FAKE = Path(__file__).parent / "fake_engine.py"


class House:
    """Models that are served, and the engines that were started for them."""

    def __init__(self, folder: Path, serve: Callable[..., Serving]) -> None:
        self.folder, self._serve = folder, serve
        self.loads_s = 0.0
        self.url = ""

    def serves(self, *names: str, **options: Any) -> None:
        """Serve models of these names; the first is loaded."""
        shape = tiny_shape(n_ctx_train=65536)
        models = [write_tiny_llama(self.folder / f"{name}.gguf", shape) for name in names]
        self.url = self._serve(models, **options).url

    @property
    def started(self) -> list[str]:
        """The models whose engines were started, in order."""
        log = self.folder / "started"
        return log.read_text().split() if log.exists() else []

    def ask(self, model: str, prompt: str = "x", **more: Any) -> httpx.Response:
        """Ask for a completion."""
        body = {"model": model, "prompt": prompt, **more}
        return httpx.post(f"{self.url}/completions", json=body, timeout=30)

    def states(self) -> dict[str, str]:
        """Each model's state, as `/v1/models` tells it."""
        models = httpx.get(f"{self.url}/models").json()["data"]
        return {model["id"]: model["status"]["value"] for model in models}


@contextmanager
def house_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session_with: Callable[..., Session]
) -> Iterator[House]:
    """A server that ends with the test, and leaves no process."""

    def command(path: Path, settings: ContextSettings, *, socket: Path, mode: Mode) -> list[str]:
        with (tmp_path / "started").open("a") as log:
            log.write(f"{path.stem}\n")
        asked = {
            "socket": str(socket), "alias": path.stem, "n_parallel": settings.n_parallel,
            "n_ctx_slot": settings.tokens_each, "loads_s": made.loads_s,
            "dies": str(tmp_path / f"{path.stem}.dies"),
        }  # fmt: skip
        return [sys.executable, str(FAKE), json.dumps(asked)]

    monkeypatch.setattr("hakaru.engine.server.server_command", command)
    before = set(psutil.Process().children(recursive=True))
    with ExitStack() as stack:

        def serve(models: list[Path], **options: Any) -> Serving:
            session = session_with()
            stack.callback(session.ledger.close)
            asked: Any = {"n_ctx": 512, "session": session} | options
            return stack.enter_context(serve_several(models, **asked))

        made = House(tmp_path, serve)
        yield made
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [process for process in left if process.name().startswith("python")]
    assert running() == []
