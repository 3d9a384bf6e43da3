"""What every page has in common: its policy, its files, its style."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from hakaru.serving.gateway import refused


def headers(*, images: str = "data:") -> dict[str, str]:
    """Headers of a page without scripts and without anything from elsewhere; `images`: where its pictures may come from."""
    policy = f"default-src 'none'; style-src 'self'; img-src {images}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return {
        "Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }  # fmt: skip


def static(name: str) -> str:
    """The text of a file that comes with the pages."""
    return (files("hakaru.web") / "static" / name).read_text(encoding="utf-8")


def style(request: Request) -> Response:
    """The style sheet."""
    return refused(request) or Response(static("page.css"), media_type="text/css", headers=headers())
