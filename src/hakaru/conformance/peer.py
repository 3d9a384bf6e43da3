"""A server as it was met: its models, what it offers, its context, and how fast it answers; and the
plain questions that checks ask of it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from hakaru.conformance.api_address import Api
from hakaru.conformance.wire import Exchange, NoAnswer, Reply, Wire
from hakaru.errors import EngineRefused, Misuse
from hakaru.language import listed, say

OMIT: Final = object()
"""In the place of a value: the field is left out."""
ENDPOINTS: Final = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "rerank": "/rerank",
    "responses": "/responses",
    "messages": "/messages",
}
LOADS: Final = 4
"""How many times as long the first answer may take: some servers load the model when asked."""
_HELLO: Final = "Write the numbers from one to one hundred as words."
_ABSENT: Final = frozenset({400, 403, 404, 405, 410, 422, 501})
_CONTEXT_FIELDS: Final = (
    "n_ctx", "loaded_context_length", "max_model_len", "context_length", "context_window",
    "max_context_length", "n_ctx_train",
)  # fmt: skip
"""Names under which servers tell a model's context, the one in use before the largest possible."""


def user(text: Any) -> list[dict[str, Any]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


class Peer(Struct, kw_only=True):
    """A server and one of its models."""

    wire: Wire
    api: Api
    model: str
    models: tuple[str, ...] = ()
    n_ctx: int | None = None
    lacks: dict[str, str] = field(default_factory=dict)  # endpoints it has not, and what it said
    first_s: float = 1.0  # seconds of a short answer
    first_tokens: int = 4
    facts: dict[str, Any] = field(default_factory=dict)  # what one check keeps for a later one

    kept: dict[str, Exchange] = field(default_factory=dict)  # by the question

    def url(self, endpoint: str) -> str:
        """The address of one of ENDPOINTS, or of a path below the base."""
        return self.api.base + ENDPOINTS.get(endpoint, endpoint)

    async def post(self, endpoint: str, body: Mapping[str, Any] | bytes, **how: Any) -> Reply:
        """The answer of an endpoint. Fields that are OMIT are left out. Raises NoAnswer."""
        if isinstance(body, Mapping):
            body = {name: value for name, value in body.items() if value is not OMIT}
        return await self.wire.ask("POST", self.url(endpoint), body, **how)

    async def once(self, endpoint: str, body: Mapping[str, Any]) -> Reply:
        """The same for a question that several checks ask: it is sent once."""
        name = f"{endpoint} {body}"
        if name in self.kept:
            self.wire.log.append(self.kept[name])
        else:
            await self.post(endpoint, body)
            self.kept[name] = self.wire.log[-1]
        reply = self.kept[name].reply
        assert reply
        return reply

    async def chat(self, how: Mapping[str, Any] | None = None, /, **fields: Any) -> Reply:
        """The answer to a short conversation, with these fields set or in the place of others."""
        return await self.post("chat", self.chat_body(**fields), **(how or {}))

    def chat_body(self, **fields: Any) -> dict[str, Any]:
        """The request of `chat`."""
        return {
            "model": self.model,
            "messages": user(_HELLO),
            "max_tokens": 4,
            "temperature": 0,
            **fields,
        }

    async def complete(self, how: Mapping[str, Any] | None = None, /, **fields: Any) -> Reply:
        """The same for `/completions`."""
        return await self.post("completions", self.completion_body(**fields), **(how or {}))

    def completion_body(self, **fields: Any) -> dict[str, Any]:
        """The request of `complete`."""
        return {
            "model": self.model,
            "prompt": "one, two, three,",
            "max_tokens": 4,
            "temperature": 0,
            **fields,
        }

    def is_slow_for(self, body: Mapping[str, Any]) -> bool:
        """Whether an answer to `body` may well take longer than the time of one question, by the
        time that the first answer took.
        """
        n_tokens = body.get("max_tokens") or 256
        foreseen = self.first_s * max(1.0, n_tokens / self.first_tokens)
        return foreseen * 3 > self.wire.within_s

    def plainest(self) -> tuple[str, dict[str, Any]]:
        """An endpoint that the server has, and the plainest right request to it."""
        endpoint = next((name for name in ENDPOINTS if name not in self.lacks), "chat")
        return endpoint, _least(self.model)[endpoint]

    async def answers(self) -> bool:
        """Whether the server still answers a short question."""
        try:
            await self.post(*self.plainest())
        except NoAnswer:
            return False
        return True


def _least(model: str) -> dict[str, dict[str, Any]]:
    """The plainest right request to each endpoint."""
    return {
        "chat": {"model": model, "messages": user("Hello"), "max_tokens": 4},
        "completions": {"model": model, "prompt": "Hello", "max_tokens": 4},
        "embeddings": {"model": model, "input": "Hello"},
        "rerank": {"model": model, "query": "Hello", "documents": ["Hello", "Good night"]},
        "responses": {"model": model, "input": "Hello", "max_output_tokens": 16},
        "messages": {"model": model, "messages": user("Hello"), "max_tokens": 4},
    }


async def meet(wire: Wire, api: Api, model: str | None) -> Peer:
    """The server behind `api`, with `model` or the first that it lists. Raises Misuse for a model
    that it does not list, and EngineRefused if it answers at no endpoint.
    """
    entries = _entries(api.models)
    names = tuple(str(entry["id"]) for entry in entries)
    if model and names and model not in names:
        raise Misuse(
            "the server has no `model` {found}; it lists {known}.", found=model, known=listed(names)
        )
    chosen = model or (names[0] if names else "default")
    peer = Peer(wire=wire, api=api, model=chosen, models=names)
    entry: Mapping[str, Any] = next((e for e in entries if e["id"] == chosen), {})
    peer.n_ctx = _told_context(entry) or await _context_of_props(peer)
    said = dict[str, str]()
    for endpoint, body in _least(chosen).items():
        await _offers(peer, endpoint, body, said)
    if not ENDPOINTS.keys() - peer.lacks.keys() - said.keys():
        raise EngineRefused(
            "{url} answers no question with the model {model}: {reason}",
            url=api.base,
            model=chosen,
            reason=said.get("chat") or peer.lacks.get("chat", "?"),
        )
    return peer


async def _offers(peer: Peer, endpoint: str, body: dict[str, Any], said: dict[str, str]) -> None:
    """Find out whether the server has an endpoint; `said` hears why one that it has failed."""
    how = {"within_s": LOADS * peer.wire.within_s} if endpoint == "chat" else {}
    try:
        reply = await peer.post(endpoint, body, **how)
    except NoAnswer as error:
        said[endpoint] = error.detail or error.trouble
        return
    if reply.status in _ABSENT:
        peer.lacks[endpoint] = f"{reply.status}: {error_text(reply)}"
    elif reply.status != 200:
        said[endpoint] = f"{reply.status}: {error_text(reply)}"
    elif endpoint in {"chat", "completions"} and "first" not in peer.facts:
        peer.facts["first"] = endpoint
        again = await peer.post(endpoint, body)  # the first may have loaded the model
        peer.first_s = min(reply.seconds, again.seconds)


def _entries(models: Reply | None) -> list[Mapping[str, Any]]:
    """The models that the server lists."""
    data = models.value["data"] if models else []
    return [entry for entry in data if isinstance(entry, dict) and entry.get("id")]


def _told_context(entry: Mapping[str, Any]) -> int | None:
    """The tokens of context that an entry of the list tells, by any of the usual names."""
    meta = entry.get("meta")
    places = [entry, meta] if isinstance(meta, dict) else [entry]
    for name in _CONTEXT_FIELDS:
        for place in places:
            value = place.get(name)
            if type(value) is int and value > 0:
                return value
    return None


async def _context_of_props(peer: Peer) -> int | None:
    """The context that llama.cpp's server tells at /props."""
    try:
        reply = await peer.wire.ask("GET", f"{peer.api.root}/props")
    except NoAnswer:
        return None
    props = reply.value if isinstance(reply.value, dict) else {}
    settings = props.get("default_generation_settings")
    value = settings.get("n_ctx") if isinstance(settings, dict) else None
    return value if type(value) is int and value > 0 else None


def error_text(reply: Reply) -> str:
    """What an answer says went wrong, in one short line."""
    value = reply.value
    error = value.get("error", value.get("detail", value)) if isinstance(value, dict) else None
    told = error.get("message", error) if isinstance(error, dict) else error
    text = str(told) if told is not None else reply.body.decode("utf-8", "replace")
    return re.sub(r"\s+", " ", text).strip()[:160] or say("nothing")
