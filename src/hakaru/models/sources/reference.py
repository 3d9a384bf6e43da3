"""The text that a person typed for a model, taken apart.

model.gguf, folder/              Local         also any part of a split model
hf:org/repo[@revision][:file]    HubFile       `file` may be a type, such as Q4_K_M
https://host/model.gguf          Address       an address at the Hub becomes a HubFile
ollama:name[:tag]                OllamaName
qwen3-8b                         Word          a name of the catalogue, or a mistake
"""

import os
import re
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from hakaru.errors import Misuse

HUB: Final = "https://huggingface.co"
_REPO: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<file>.+))?")
_HUB_PATH: Final = re.compile(
    r"/(?P<repo>[\w.-]+/[\w.-]+)(/(resolve|blob|tree)/(?P<revision>[^/]+)(/(?P<file>.+))?)?/?"
)
_OLLAMA: Final = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+){0,2})(:(?P<tag>[\w.-]+))?")


class Local(Struct, frozen=True, kw_only=True):
    """A path, absolute."""

    path: Path


class HubFile(Struct, frozen=True, kw_only=True):
    """A repository of the Hugging Face Hub, and the file or type in it if one was named."""

    repo: str
    revision: str | None
    file: str | None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repo}{revision}" + (f":{self.file}" if self.file else "")


class Address(Struct, frozen=True, kw_only=True):
    """A web address."""

    url: str

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


class OllamaName(Struct, frozen=True, kw_only=True):
    """A model in Ollama's store, by its full name: registry, namespace, name."""

    name: str
    tag: str

    def __str__(self) -> str:
        short = self.name.removeprefix("registry.ollama.ai/").removeprefix("library/")
        return f"ollama:{short}:{self.tag}"


class Word(Struct, frozen=True, kw_only=True):
    """A single word that names no file."""

    text: str


Origin: TypeAlias = Local | HubFile | Address | OllamaName | Word


def parse_reference(text: str, *, endpoint: str = HUB) -> Origin:
    """Where the model lies that `text` means. `endpoint` is the Hub's address. Raises Misuse."""
    if not text.strip():
        raise Misuse(
            "the model's name is empty; expected a GGUF file, a name of the catalogue, "
            "hf:org/repo, https://… or ollama:name."
        )
    kind, _, name = text.partition(":")
    match kind.lower():
        case "hf":
            return _hub(text, name)
        case "ollama":
            return _ollama(text, name)
        case "http" | "https":
            return _address(text, endpoint)
    path = Path(text).expanduser()
    if os.path.exists(path) or path.suffix.lower() == ".gguf" or "/" in text:
        return Local(path=path.absolute())
    return Word(text=text)


def _hub(text: str, name: str) -> HubFile:
    match = _REPO.fullmatch(name)
    if match is None or {".", ".."} & {*name.replace("@", "/").replace(":", "/").split("/")}:
        raise Misuse(
            "'{found}': expected such as hf:org/repo, hf:org/repo:Q4_K_M or hf:org/repo:file.gguf.",
            found=text,
        )
    return HubFile(repo=match["repo"], revision=match["revision"], file=match["file"])


def _ollama(text: str, name: str) -> OllamaName:
    match = _OLLAMA.fullmatch(name)
    if (
        match is None
        or set(match["name"].split("/")) & {".", ".."}
        or set(match["tag"] or "") == {"."}
    ):
        raise Misuse(
            "'{found}': expected such as ollama:llama3.2 or ollama:llama3.2:3b.", found=text
        )
    prefix = ("registry.ollama.ai/library/", "registry.ollama.ai/", "")[match["name"].count("/")]
    return OllamaName(name=prefix + match["name"], tag=match["tag"] or "latest")


def _address(text: str, endpoint: str) -> Address | HubFile:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if not host:
        raise Misuse(
            "'{found}': is no web address; expected such as https://host/model.gguf.", found=text
        )
    hub = _HUB_PATH.fullmatch(unquote(parts.path))
    at_hub = (parts.scheme, parts.netloc) in (urlsplit(endpoint)[:2], urlsplit(HUB)[:2])
    if at_hub and hub and ".." not in unquote(parts.path).split("/"):
        return HubFile(
            repo=hub["repo"],
            revision=hub["revision"] if hub["revision"] != "main" else None,
            file=hub["file"],
        )
    return Address(url=text)
