"""What is known about a model, gathered for `hakaru show`. Nothing is computed: everything was
read, and a value that the file does not state is None.
"""

from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict

from hakaru.formats.metadata import Metadata
from hakaru.models.by_word import size_class_of
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


class Description(Struct, frozen=True, kw_only=True):
    """A model and where it was found."""

    found: Found
    model: Model

    @property
    def name(self) -> str:
        """The name that the file states, else the name of the file."""
        return printable(self.model.name)

    @property
    def n_expert_used(self) -> int | None:
        """Experts that one token passes."""
        return Metadata(self.found.origin, self.model.metadata).integer(
            f"{self.model.shape.architecture}.expert_used_count"
        )

    @property
    def has_chat_template(self) -> bool | None:
        """True if the file has a template for conversations; None where only the sizes of the model
        are known.
        """
        return None if self._has_no_vocabulary else "tokenizer.chat_template" in self.model.metadata

    @property
    def _has_no_vocabulary(self) -> bool:
        return self.model.metadata.get("tokenizer.ggml.model") == "no_vocab"

    @property
    def download_bytes(self) -> int | None:
        """Bytes of the weights that are to be fetched; None where the weights are here, or their
        size is not known.
        """
        if (
            self.model.complete
            or (self.found.stored and self.found.stored.complete)
            or self.found.version is None
        ):
            return None
        return self.found.download_bytes or (None if self.found.stored else self.model.file_bytes)

    def tokenizer(self) -> dict[str, str | None]:
        """The kind of the tokenizer, its rule for splitting text into words, and a digest of its
        tokens. Equal digests mean equal vocabularies.
        """
        keys = Metadata(self.found.origin, self.model.metadata)
        return {
            "model": None if self._has_no_vocabulary else _text(keys, "tokenizer.ggml.model"),
            "pre": _text(keys, "tokenizer.ggml.pre"),
            "digest": self.model.tokenizer_digest,
        }

    def stated(self) -> dict[str, str]:
        """What the authors state in the file: licence, organization and such."""
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
            "files": [{"path": str(part), "bytes": part.stat().st_size} for part in model.parts],
            "file_bytes": model.file_bytes,
            "architecture": shape.architecture,
            "n_params": model.n_params,
            "class": size_class_of(model),
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
                asdict(companion) | {"path": str(companion.path) if companion.path else None}
                for companion in found.companions
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
    """The first characters of a stranger's text, with a question mark for every character that
    would move a terminal's cursor.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST])


def _text(keys: Metadata, key: str) -> str | None:
    text = keys.text(key)
    return printable(text) if text else None
