"""YAML as several programs read it: Kubernetes, Ray and Compose. Pure.

A text stands in quotes wherever any of their readers could take it for something else: `1e3` is a
number to YAML 1.2 and a text to YAML 1.1, and `y` is the other way round.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import yaml

Table = dict[str, Any]
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]+")


class _Dumper(yaml.SafeDumper):
    """Texts in quotes but for plain words; texts of several lines as blocks; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(*documents: Table, about: str = "") -> str:
    """The documents one after the other, with the line `about` on top as a comment."""
    head = f"# {about}\n" if about else ""
    return head + "---\n".join(_dumped(document) for document in documents)


def _dumped(document: Table) -> str:
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text


def kubernetes_name(text: str) -> str:
    """`text` as a name of Kubernetes: lower case, digits and dashes, at most 40 of them.

    Source: RFC 1123, which Kubernetes follows for the names of services.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (name if name[:1].isalpha() else f"m-{name}")[:40].rstrip("-")


def literal_words(words: Iterable[str]) -> list[str]:
    """Words of a container's command line, in which Kubernetes puts variables for `$(NAME)`."""
    return [word.replace("$", "$$") for word in words]
