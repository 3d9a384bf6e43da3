"""Whether a server that has loaded its model also answers: one token, one vector or one order of
documents. Its own word that it is ready says only that it listens.
"""

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


def give_first_answer(server: EngineServer) -> None:
    """Have the server answer once. Raises EngineRefused where it answers with an error, and
    EngineDied where it ends.
    """
    import httpx  # see `engine.server`

    path, question = QUESTIONS[server.mode.gives]
    with server.client() as client:
        try:
            answer = client.post(path, json=question)
        except httpx.TransportError as error:
            if server.process.poll() is not None:
                raise server.death() from error
            raise _silent(server, type(error).__name__) from error
    if answer.status_code != 200:
        raise _silent(server, answer.text[:200])


def _silent(server: EngineServer, reason: str) -> EngineRefused:
    return EngineRefused(
        "{path}: was loaded, but the engine gives no answer ({reason}); choose another model.",
        path=server.path,
        reason=reason,
    )
