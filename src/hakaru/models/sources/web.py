"""Requests to a web server: tried again after a cut, and every refusal in a sentence.

All errors of HTTP are translated here and nowhere else. httpx follows redirects and never shows the
Authorization header to another host. Nothing is sent in offline mode. If a server does not answer
at all, nothing is tried again, since a person should know that at once.
"""

import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from ssl import SSLContext
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from hakaru.errors import HakaruError, Misuse, ModelDamaged, ModelNotFound, Offline, TooManyRequests

TRIES: Final = 4
PAUSE_S: Final = 0.5  # doubled after every failure
TIMEOUT: Final = httpx.Timeout(20, connect=10)
SHORT_WAIT_S: Final = 10  # that a server may ask for without a word to the person
PATIENCE_S: Final = 300  # for one file: a server that drips is no server
MAX_REDIRECTS: Final = 5
MAX_SMALL: Final = 2**24

_AT_HUB: Final = re.compile(
    r"(?:/api/models)?/(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:/revision/(?P<revision>.+)|/resolve/(?P<at>[^/]+)/(?P<file>.+))?"
)

T = TypeVar("T")


class Cut(Exception):
    """A failure after which another try makes sense."""


def web_client() -> httpx.Client:
    """A client for all requests of one question. Raises Offline in offline mode."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise Offline(
            "the network is needed, but HF_HUB_OFFLINE is set; unset it, or name a file that is "
            "here."
        )
    try:
        return httpx.Client(
            verify=_trusted(), timeout=TIMEOUT, follow_redirects=True, max_redirects=MAX_REDIRECTS
        )
    except (ValueError, ImportError) as error:  # of a kind that httpx does not know
        raise Misuse(
            "the proxy of {variables} cannot be used ({reason}); set an address such as "
            "http://host:8080, or unset it.",
            variables=", ".join(f"{kind.upper()}_PROXY" for kind in getproxies()),
            reason=error,
        ) from error


@cache
def _trusted() -> SSLContext:
    """The certificates that servers are checked by, read once: that takes 25 ms."""
    return httpx.create_ssl_context()


def read_small(client: httpx.Client, url: str, headers: Mapping[str, str]) -> bytes:
    """The whole answer of `url`. Raises ModelDamaged above MAX_SMALL bytes, and what `send`
    raises.
    """

    def once() -> bytes:
        body = bytearray()
        with closing(send(client, url, headers)) as response:
            try:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MAX_SMALL:
                        raise ModelDamaged(
                            "{url}: answers with more than {limit} bytes.",
                            url=shown(url),
                            limit=MAX_SMALL,
                        )
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise Cut(reason(error)) from error
        return bytes(body)

    return Patience(url).until_done(once)


class Patience:
    """The limits for one file: TRIES failures, PATIENCE_S seconds. A server that asks for a short
    wait is waited for.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._failures = 0
        self._deadline = time.monotonic() + PATIENCE_S

    def until_done(self, action: Callable[[], T]) -> T:
        """The result of `action`, which is tried again after a cut. Raises Offline beyond the
        limits.
        """
        while True:
            try:
                result = action()
            except TooManyRequests as busy:
                self._failures += 1
                if (busy.wait_s or PATIENCE_S) > SHORT_WAIT_S or self._failures >= TRIES:
                    raise
                time.sleep(busy.wait_s or 0)
            except Cut as cut:
                self._failures += 1
                if self._failures >= TRIES:
                    raise Offline(
                        "{url}: failed {n} times ({reason}); try again later.",
                        url=shown(self._url),
                        n=TRIES,
                        reason=cut,
                    ) from cut
                time.sleep(PAUSE_S * 2 ** (self._failures - 1))
            else:
                if time.monotonic() > self._deadline:
                    raise Offline(
                        "{url}: the server is too slow ({n} s); try again later.",
                        url=shown(self._url),
                        n=PATIENCE_S,
                    )
                return result


def send(client: httpx.Client, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """The streamed answer with status 200, 206 or 416. Raises Cut if another try makes sense, else
    a HakaruError.
    """
    where = shown(url)
    try:
        response = client.send(client.build_request("GET", url, headers=dict(headers)), stream=True)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Misuse(
            "'{found}': is no web address; expected such as https://host/model.gguf.", found=where
        ) from error
    except httpx.TooManyRedirects as error:
        raise ModelNotFound(
            "{url}: redirects more than {n} times; check the address.", url=where, n=MAX_REDIRECTS
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise _unreachable(url, error) from error
    except httpx.TransportError as error:
        raise Cut(reason(error)) from error
    if response.status_code in {200, 206, 416}:
        return response
    response.close()
    raise _refusal(response, url)


def _unreachable(url: str, error: Exception) -> Offline:
    """The error for a server, or for the proxy before it, that does not answer at all."""
    parts = urlsplit(url)
    proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
    if proxy is None:
        return Offline(
            "{url}: cannot be reached ({reason}); check the network.",
            url=shown(url),
            reason=reason(error),
        )
    return Offline(
        "{url}: cannot be reached through the proxy {proxy} ({reason}); check {variable}, or unset "
        "it.",
        url=shown(url),
        proxy=shown(proxy),
        reason=reason(error),
        variable=f"{parts.scheme.upper()}_PROXY",
    )


def _refusal(response: httpx.Response, url: str) -> HakaruError | Cut:
    """The error for a status. Source of the Hub's X-Error-Code: huggingface_hub, utils/_http.py."""
    status, where = response.status_code, meant(url)
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        if wait.isdecimal():
            return TooManyRequests(
                "{url}: too many requests; the server asks to wait {n} s; try again then.",
                url=where,
                n=wait[:9],
            )
        return TooManyRequests(
            "{url}: too many requests; wait some minutes and try again.", url=where
        )
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return ModelNotFound(
            "{url}: its authors ask for consent first; fill in the form at {page} , then set "
            "HF_TOKEN to your token.",
            url=where,
            page=re.sub(r"/(resolve|revision)/.*", "", shown(url).replace("/api/models/", "/")),
        )
    if status in {401, 403}:
        return ModelNotFound(
            "{url}: access is refused ({status}), or there is no such model; check the name. If "
            "it is private or gated, ask for access on its page and set HF_TOKEN.",
            url=where,
            status=status,
        )
    if status in {404, 410}:
        return ModelNotFound(
            "{url}: there is no such file or repository; check the name.", url=where
        )
    if status >= 500 or status == 408:
        return Cut(f"HTTP {status}")
    return ModelNotFound(
        "{url}: the server answers {status}, expected the file; try again later, or name another "
        "repository.",
        url=where,
        status=status,
    )


def shown(url: str) -> str:
    """The address without its secret parts: a user's name and password, and the query."""
    return re.sub(r"(?<=://)[^/@]*@", "", url).partition("?")[0]


def meant(url: str) -> str:
    """What a person calls the address: `hf:org/repo` at the Hub, else the address itself."""
    from huggingface_hub import constants

    where = shown(url)
    match = _AT_HUB.fullmatch(unquote(where.removeprefix(shown(str(constants.ENDPOINT)))))
    if match is None or not where.startswith(shown(str(constants.ENDPOINT))):
        return where
    revision = match["at"] or match["revision"]
    at = f"@{revision}" if revision and not re.fullmatch("[0-9a-f]{40}", revision) else ""
    return f"hf:{match['repo']}{at}" + (f":{match['file']}" if match["file"] else "")


def reason(error: Exception) -> str:
    return str(error) or type(error).__name__
