"""Whether a server that has loaded its model also answers: one token, one vector or one order of
documents. Its own word that it is ready says only that it listens.
"""

import json
import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

from hakaru.engine.mode import Gives
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineRefused

# tokens, not texts, since every vocabulary has a second one; documents can only be texts
QUESTIONS: Final[dict[Gives, tuple[str, dict[str, Any]]]] = {
    "text": ("/completion", {"prompt": [1], "n_predict": 1, "cache_prompt": False}),
    "embedding": ("/v1/embeddings", {"input": [1]}),
    "reranker": ("/v1/rerank", {"query": "1", "documents": ["1"]}),
}

WITHIN_S: Final = 600.0
JSON: Final = {"Content-Type": "application/json"}


class _Connection(HTTPConnection):
    """To a server that listens on the Unix socket `path`."""

    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=WITHIN_S)
        self._path = path

    def connect(self) -> None:
        """Open the connection. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def give_first_answer(server: EngineServer) -> None:
    """Have the server answer once. Raises EngineRefused where it answers with an error, and
    EngineDied where it ends.
    """
    path, question = QUESTIONS[server.mode.gives]
    with closing(_Connection(server.socket)) as connection:
        try:
            connection.request("POST", path, json.dumps(question), JSON)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            if server.process.poll() is not None:
                raise server.death() from error
            raise _silent(server, type(error).__name__) from error
    if answer.status != 200:
        raise _silent(server, text[:200])


def _silent(server: EngineServer, reason: str) -> EngineRefused:
    return EngineRefused(
        "{path}: was loaded, but the engine gives no answer ({reason}); choose another model.",
        path=server.path,
        reason=reason,
    )
