"""What is known about a model, gathered for whoever wants to show it. Nothing here is computed: it
was read, and what the file does not state is None.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

from hakaru.formats.metadata import Metadata
from hakaru.models.model import Model, read_model
from hakaru.models.sources.found import Found

LONGEST: Final = 200  # characters of a stranger's text that are shown
_STATED: Final = {
    "license": "general.license",
    "license_link": "general.license.link",
    "basename": "general.basename",
    "size_label": "general.size_label",
    "organization": "general.organization",
    "quantized_by": "general.quantized_by",
    "url": "general.repo_url",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A model and where it was found."""

    found: Found
    model: Model

    @property
    def name(self) -> str:
        """The name that the file states, or the file's."""
        return printable(self.model.name)

    @property
    def n_expert_used(self) -> int | None:
        """Experts that one token passes."""
        return Metadata(self.found.origin, self.model.metadata).integer(
            f"{self.model.shape.architecture}.expert_used_count"
        )

    @property
    def has_chat_template(self) -> bool | None:
        """Whether the file says how a conversation is written; None where only its sizes are
        known.
        """
        return None if self._has_no_vocabulary else "tokenizer.chat_template" in self.model.metadata

    @property
    def _has_no_vocabulary(self) -> bool:
        return self.model.metadata.get("tokenizer.ggml.model") == "no_vocab"

    @property
    def download_bytes(self) -> int | None:
        """What fetching the weights would bring; None where they are here, or nobody says."""
        if (
            self.model.complete
            or (self.found.stored and self.found.stored.complete)
            or self.found.version is None
        ):
            return None
        return self.found.download_bytes or (None if self.found.stored else self.model.file_bytes)

    def tokenizer(self) -> dict[str, str | None]:
        """Its kind, its splitting into words, and a digest of its tokens: equal digests, equal
        vocabularies.
        """
        keys = Metadata(self.found.origin, self.model.metadata)
        return {
            "model": None if self._has_no_vocabulary else _text(keys, "tokenizer.ggml.model"),
            "pre": _text(keys, "tokenizer.ggml.pre"),
            "digest": self.model.tokenizer_digest,
        }

    def stated(self) -> dict[str, str]:
        """What the authors say about it: licence, organization and such, where they do."""
        keys = Metadata(self.found.origin, self.model.metadata)
        return {name: text for name, key in _STATED.items() if (text := _text(keys, key))}

    def as_json(self) -> dict[str, Any]:
        """The object that `hakaru show --json` prints."""
        model, shape, found = self.model, self.model.shape, self.found
        return {
            "schema": "hakaru.show/1",
            "name": self.name,
            "origin": found.origin,
            "version": found.version,
            "complete": model.complete,
            "files": [{"path": str(p), "bytes": p.stat().st_size} for p in model.parts],
            "file_bytes": model.file_bytes,
            "architecture": shape.architecture,
            "n_params": model.n_params,
            "weights_bytes": model.weights_bytes,
            "type": model.type_name,
            "types": model.type_bytes(),
            "bpw": model.bpw,
            "n_ctx_train": shape.n_ctx_train,
            "n_layer": shape.n_layer,
            "n_embd": shape.n_embd,
            "n_head": shape.n_head,
            "n_head_kv": list(shape.n_head_kv),
            "n_vocab": shape.n_vocab,
            "n_expert": shape.n_expert,
            "n_expert_used": self.n_expert_used,
            "tokenizer": self.tokenizer(),
            "chat_template": self.has_chat_template,
            "stated": self.stated(),
            "companions": [
                asdict(c) | {"path": str(c.path) if c.path else None} for c in found.companions
            ],
            "fetch": found.fetch,
            "download_bytes": self.download_bytes,
            "checkpoint": asdict(found.stored) if found.stored else None,
            "note": found.note,
            "fetched_bytes": found.fetched_bytes,
        }


def describe(found: Found) -> Description:
    """What is known about the model at `found`. Raises what `read_model` raises."""
    return Description(found=found, model=read_model(found.path))


def printable(text: str) -> str:
    """A stranger's text without what would move a terminal's cursor, and not too long."""
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST])


def _text(keys: Metadata, key: str) -> str | None:
    text = keys.text(key)
    return printable(text) if text else None
