"""What all pages have in common: the headers, the style sheet, and the script that copies."""

from starlette.requests import Request
from starlette.responses import Response

from hakaru.pictures.page_file import copy_script, style_sheet


def headers(*, images: str = "data:", scripts: str | None = None) -> dict[str, str]:
    """Headers of a page without anything from elsewhere. `images` and `scripts`: where the pictures
    and the scripts of the page may come from; None: there are no scripts.
    """
    policy = (
        f"default-src 'none'; style-src 'self'; img-src {images}; "
        f"{f'script-src {scripts}; ' if scripts else ''}"
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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


def script(request: Request) -> Response:
    """The script of the buttons that copy."""
    return Response(copy_script(), media_type="text/javascript", headers=headers())
