"""What the Hugging Face Hub says of a repository: its commit, its files, their sizes and hashes.

The library huggingface_hub tells the address of the Hub and the person's token; `web` makes the
requests.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx
from msgspec import Struct, field

from hakaru.errors import Misuse, ModelDamaged
from hakaru.formats.bounded_json import bounded_json
from hakaru.models.sources.reference import HubFile
from hakaru.models.sources.web import read_small

_HEX: Final = frozenset("0123456789abcdef")


class Listing(Struct, frozen=True, kw_only=True):
    """A repository at one commit."""

    repo: str
    commit: str
    files: dict[str, int | None]  # path -> bytes; None: the Hub does not tell
    sha256: dict[str, str] = field(default_factory=dict)  # of the large files
    blobs: dict[str, str] = field(default_factory=dict)  # git's id of every file
    licence: str | None = None
    is_gated: bool = False  # its authors ask for consent before a download


def hub_endpoint() -> str:
    """The Hub's address: HF_ENDPOINT, or the public one. Raises Misuse for what is no address."""
    from huggingface_hub import constants

    endpoint = str(constants.ENDPOINT)
    if not endpoint.lower().startswith(("http://", "https://")):
        raise Misuse(
            "HF_ENDPOINT is '{found}', expected the address of a Hub, such as https://host; unset "
            "it for the public one.",
            found=endpoint,
        )
    return endpoint


def hub_headers() -> dict[str, str]:
    """What makes a request that of this person."""
    from huggingface_hub import constants, get_token

    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def no_hub(url: str) -> ModelDamaged:
    """The error for an answer that no Hub gives."""
    return ModelDamaged("{url}: is no answer of a Hugging Face Hub; check HF_ENDPOINT.", url=url)


def file_url(repo: str, commit: str, name: str) -> str:
    """Where the Hub gives this file of this commit."""
    return f"{hub_endpoint()}/{repo}/resolve/{quote(commit, safe='')}/{quote(name)}"


def list_files(client: httpx.Client, wanted: HubFile, headers: Mapping[str, str]) -> Listing:
    """The repository at the wanted revision, with all its files.

    Source: the Hub's API, GET /api/models/{repo}/revision/{revision}?blobs=true.
    """
    url = f"{hub_endpoint()}/api/models/{wanted.repo}"
    url += f"/revision/{quote(wanted.revision, safe='')}" if wanted.revision else ""
    try:
        answer: Any = bounded_json(read_small(client, f"{url}?blobs=true", headers))
        commit = str(answer["sha"])
        rows = [row for row in answer["siblings"] if _is_plain(row["rfilename"])]
        sizes = {str(row["rfilename"]): row.get("size") for row in rows}
        hashes = {str(row["rfilename"]): (row.get("lfs") or {}).get("sha256") for row in rows}
        blobs = {str(row["rfilename"]): row.get("blobId") for row in rows}
        licence = (answer.get("cardData") or {}).get("license")
        gated = bool(answer.get("gated"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise no_hub(url) from error
    return Listing(
        repo=wanted.repo,
        commit=commit,
        files={
            name: size if type(size) is int and size >= 0 else None for name, size in sizes.items()
        },
        sha256={name: str(text) for name, text in hashes.items() if is_hash(text, 64)},
        blobs={name: str(text) for name, text in blobs.items() if is_hash(text, 40)},
        licence=licence if isinstance(licence, str) and licence.isprintable() else None,
        is_gated=gated,
    )


def is_hash(text: object, n: int) -> bool:
    """Whether a stranger's text is a hash of `n` hexadecimal digits."""
    return isinstance(text, str) and len(text) == n and set(text) <= _HEX


def _is_plain(name: object) -> bool:
    """True if a stranger's file name may become the name of a file on this machine."""
    return (
        isinstance(name, str)
        and 0 < len(name) < 250
        and name.isprintable()
        and not {"..", ".", "/", ""} & set(name.split("/"))
    )
