"""The origin of a site: what a browser says of a page that asks."""

from urllib.parse import urlsplit

from hakaru.errors import Misuse


def origin_of(text: str) -> str:
    """An origin as browsers spell it: `HTTPS://App.Example/` -> `https://app.example`. Raises
    Misuse for what is none.
    """
    parts = urlsplit(text.strip().lower())
    try:
        port = parts.port
    except ValueError:
        port = -1
    more = (parts.path.removesuffix("/"), parts.query, parts.fragment, parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(more) or port == -1:
        raise Misuse(
            "`allow_origin` is '{found}', expected the origin of a site: https://app.example or "
            "http://localhost:3000.",
            found=text,
        )
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = parts.netloc.rpartition(":")[0] if port == usual else parts.netloc
    return f"{parts.scheme}://{host}"
