"""What all pages have in common: the headers and the style sheet."""

from starlette.requests import Request
from starlette.responses import Response

from hakaru.pictures.page_file import style_sheet


def headers(*, images: str = "data:") -> dict[str, str]:
    """Headers of a page without scripts and without anything from elsewhere. `images`: where the
    pictures of the page may come from.
    """
    policy = (
        f"default-src 'none'; style-src 'self'; img-src {images}; base-uri 'none'; form-action "
        "'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def style(request: Request) -> Response:
    """The style sheet."""
    return Response(style_sheet(), media_type="text/css", headers=headers())
