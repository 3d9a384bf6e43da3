"""What a backend is asked about itself: its models, a token, and how far it is.

The kind of server is what the entries of its list of models say (`owned_by`): `llamacpp`, `vllm`,
`hakaru`. Only llama.cpp tells how many conversations it answers at once, and only vLLM and hakaru
tell the context in the list.
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.mode import Gives
from hakaru.serving.engine_client import EngineClient, EngineLost

ASSUMED_SLOTS: Final = 16
"""Conversations that a server is assumed to answer at once where it does not tell: vLLM batches
what comes.
"""
LOOK_S: Final = 0.2
PROGRESS_S: Final = 2.0
"""How often a backend that gives nothing is asked how far it is, and how long that may take."""
TOKEN: Final[dict[str, dict[str, Any]]] = {
    "/v1/completions": {"prompt": "1", "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "1"}], "max_tokens": 1},
    "/v1/embeddings": {"input": "1"},
    "/v1/rerank": {"query": "1", "documents": ["1"]},
}
"""The least that can be asked of each kind of model."""
GIVEN_AT: Final[dict[str, Gives]] = {"/v1/embeddings": "embedding", "/v1/rerank": "reranker"}
"""What models give that answer there; the others give text."""
_LLAMA_CPP: Final = frozenset({"llamacpp", "hakaru"})
_TOKENS: Final = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")


class Told(Struct, frozen=True, kw_only=True):
    """What a backend tells of itself."""

    models: dict[str, dict[str, Any]] = {}  # entries of /v1/models, by id
    owned_by: str = ""
    n_slots: int | None = None  # conversations at once; None: it does not tell
    n_ctx: int | None = None  # tokens of one conversation; None: it does not tell

    @property
    def is_llama_cpp(self) -> bool:
        """Whether llama.cpp's own endpoints are there, and its errors come."""
        return self.owned_by in _LLAMA_CPP

    @property
    def names(self) -> list[str]:
        """All names of its models."""
        return [n for name, model in self.models.items() for n in (name, *aliases_of(model))]

    @property
    def loaded(self) -> str | None:
        """The first model that is loaded; None with hakaru, which may load one when it is asked."""
        for name, model in self.models.items():
            status = model.get("status")
            if not isinstance(status, dict) or status.get("value") == "loaded":
                return name
        return None


def aliases_of(model: dict[str, Any]) -> list[str]:
    """The other names of a model, as llama.cpp's server lists them."""
    return [str(alias) for alias in model.get("aliases") or ()]


async def read_models(client: EngineClient) -> Told:
    """What a backend tells. Raises EngineLost where it tells nothing."""
    answer = await client.ask("GET", "/v1/models")
    try:
        raw, status = await answer.body(), answer.status
    finally:
        answer.close()
    if to := answer.headers.get("location"):
        raise EngineLost(f"it leads elsewhere ({status}), to {to}; name that address")
    if status != 200:
        raise EngineLost(f"GET /v1/models gave {status}")
    try:
        models = {str(model["id"]): dict(model) for model in json.loads(raw)["data"]}
    except (ValueError, KeyError, TypeError) as error:
        raise EngineLost("GET /v1/models gave no list of models") from error
    if not models:
        raise EngineLost("it has no model")
    first = next(iter(models.values()))
    n_ctx = _count(first.get("max_model_len") or first.get("context_length"))
    told = Told(models=models, owned_by=str(first.get("owned_by", "")), n_ctx=n_ctx)
    if told.is_llama_cpp:
        with suppress(ValueError, AttributeError):
            props = await client.told("/props") or {}
            n_ctx = _count(props.get("default_generation_settings", {}).get("n_ctx")) or n_ctx
            n_slots = _count(props.get("total_slots"))
            return Told(models=models, owned_by=told.owned_by, n_slots=n_slots, n_ctx=n_ctx)
    return told


def _count(told: object) -> int | None:
    """A count that a server tells; None where it is none."""
    return told if isinstance(told, int) and told > 0 else None


async def give_token(client: EngineClient, model: str, endpoint: str | None) -> str:
    """Have `model` give one token, vector or order; returns the endpoint that gave it. `endpoint`:
    the one that did before. Raises EngineLost where none gives one.
    """
    reasons = list[str]()
    for path in [endpoint] if endpoint else list(TOKEN):
        body = json.dumps({"model": model, **TOKEN[path]}).encode()
        status, _ = await client.whole("POST", path, body, is_work=True)
        if status in {200, 429}:  # who has no place free answers others
            return path
        reasons.append(f"POST {path} gave {status}")
    raise EngineLost(f"it gives no token ({reasons[0]})")


async def _progress(client: EngineClient, *, is_llama_cpp: bool) -> Any:
    """Something that changes while the backend works; None: it does not tell."""
    with suppress(EngineLost, TimeoutError, ValueError):
        async with asyncio.timeout(PROGRESS_S):
            if is_llama_cpp:
                return await client.told("/slots")
            _, raw = await client.whole("GET", "/metrics")
            lines = raw.decode(errors="replace").splitlines()
            return [line for line in lines if line.startswith(_TOKENS)] or None
    return None


async def wait_for_evidence(
    client: EngineClient, asked: "asyncio.Task[None]", told: Callable[[], Told], within_s: float
) -> None:
    """Return when the question `asked` has its answer, or the backend has given something else
    meanwhile. Raises EngineLost, also where nothing comes within `within_s` seconds.
    """
    began = last = time.monotonic()
    before: Any = None
    try:
        while not asked.done():
            await asyncio.wait({asked}, timeout=LOOK_S)
            now = time.monotonic()
            if asked.done() or (told().models and client.heard_at > began):
                break
            if now - last > PROGRESS_S:
                after, last = await _progress(client, is_llama_cpp=told().is_llama_cpp), now
                if None not in (before, after) and before != after:
                    client.heard_at = time.monotonic()
                before = after
            if now - began > within_s:
                raise EngineLost(f"no token within {within_s:g} s")
        if asked.done():
            asked.result()
    finally:
        asked.cancel()
