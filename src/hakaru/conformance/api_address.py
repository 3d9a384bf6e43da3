"""From what a person typed to the address of an API: `localhost:8600`, `http://host/v1`,
`https://host/openai/v1/chat/completions` all lead there.
"""

import re
from typing import Any, Final

import httpx
from msgspec import Struct

from hakaru.conformance.wire import NoAnswer, Reply, Wire
from hakaru.errors import Misuse, Offline

_ENDPOINT: Final = re.compile(
    r"/(chat/completions|completions|models|embeddings|rerank|responses|messages)/*$"
)
_SCHEME: Final = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class Api(Struct, frozen=True):
    """Where a server's API begins."""

    base: str  # what OpenAI's clients take as base_url, without a slash at the end
    models: Reply | None  # the answer to GET /models; None: the server has none

    @property
    def root(self) -> str:
        """The base without `/v1`."""
        return self.base.removesuffix("/v1")


def bases_of(typed: str) -> list[str]:
    """The base URLs that an address may mean, the likeliest first. Raises Misuse."""
    text = typed.strip() if _SCHEME.match(typed.strip()) else f"http://{typed.strip()}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise _no_address(typed) from error
    if url.scheme not in {"http", "https"} or not url.host or re.search(r"\s", text):
        raise _no_address(typed)
    path = _ENDPOINT.sub("", url.path.rstrip("/")).rstrip("/")
    base = str(url.copy_with(path=path or "/", query=None, fragment=None)).rstrip("/")
    return [base] if path.endswith("/v1") else [f"{base}/v1", base]


def _no_address(typed: str) -> Misuse:
    return Misuse(
        "'{found}' is no address of a server; expected one such as http://127.0.0.1:8600/v1.",
        found=typed,
    )


async def find_api(typed: str, wire: Wire) -> Api:
    """The API behind the address that a person typed. Raises Offline if nothing answers there, and
    Misuse if what answers is no such API or asks for a key.
    """
    bases, seen = bases_of(typed), list[Reply]()
    for base in bases:
        reply = await _asked(wire, "GET", f"{base}/models", None)
        if reply.status in {401, 403}:
            raise _wants_key(base, reply, wire.key)
        if reply.status == 200 and _is_list_of_models(reply.value):
            return Api(base, reply)
        seen.append(reply)
    for base in bases:
        for path, body in _LEAST.items():
            reply = await _asked(wire, "POST", f"{base}/{path}", body)
            if reply.status in {401, 403} and reply.value is not None:
                raise _wants_key(base, reply, wire.key)
            if reply.status not in {404, 405} and isinstance(reply.value, dict):
                return Api(base, None)
            seen.append(reply)
    raise _no_api(bases[0], seen[0])


_LEAST: Final[dict[str, dict[str, Any]]] = {
    "chat/completions": {
        "model": "default",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 1,
    },
    "completions": {"model": "default", "prompt": "Hello", "max_tokens": 1},
    "embeddings": {"model": "default", "input": "Hello"},
}
"""The least that one may ask of each endpoint, for servers without a list of models."""


def _is_list_of_models(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("data"), list)


async def _asked(wire: Wire, method: str, url: str, body: dict[str, Any] | None) -> Reply:
    """The answer to a first question. Raises Offline if nothing answers."""
    try:
        return await wire.ask(method, url, body)
    except NoAnswer as error:
        at = str(httpx.URL(url).copy_with(raw_path=b"/", userinfo=b"")).rstrip("/")
        if error.reply is not None and error.trouble != "slow":
            return error.reply
        if error.trouble == "slow":
            raise Offline(
                "{url} did not answer within {n:g} s; is the server still loading its model?",
                url=at,
                n=wire.within_s,
            ) from error
        raise Offline(
            "nothing answers at {url} ({reason}); start the server, or name another address.",
            url=at,
            reason=error.detail,
        ) from error


def _wants_key(base: str, reply: Reply, key: str | None) -> Misuse:
    if key is None:
        return Misuse("{url} asks for a key ({n}); give it as `key`.", url=base, n=reply.status)
    return Misuse("{url} refuses this `key` ({n}); give another one.", url=base, n=reply.status)


def _no_api(base: str, reply: Reply) -> Misuse:
    moved = reply.headers.get("location")
    if moved:
        return Misuse(
            "{url}/models leads elsewhere ({n}, {place}); give that server's base URL.",
            url=base,
            n=reply.status,
            place=moved,
        )
    return Misuse(
        "{url} answers, but not as an OpenAI-style API does (GET {url}/models gave {n} {found}); "
        "give the base URL that OpenAI clients take.",
        url=base,
        n=reply.status,
        found=reply.media or "without a content type",
    )
