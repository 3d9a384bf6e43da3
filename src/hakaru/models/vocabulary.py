"""llama.cpp's conditions for a pair of models, of which one drafts tokens for the other.

Both vocabularies must be of one kind, begin and end a text with the same tokens, have nearly the
same number of tokens, and the same texts from the sixth token on. A value that a header leaves out
is no reason against the pair: llama.cpp has a default for it.

Source: llama.cpp, common/speculative.cpp (common_speculative_are_compatible).
"""

import struct
from itertools import islice
from typing import Final

from hakaru.errors import ModelError
from hakaru.formats.gguf import read_header
from hakaru.language import say
from hakaru.models.model import Model

MOST_MORE_TOKENS: Final = 128
FIRST_COMPARED: Final = 5
TOKENS_KEY: Final = "tokenizer.ggml.tokens"
KINDS: Final = {"gpt2": "BPE", "llama": "SPM", "gemma4": "BPE"}
"""The kind of vocabulary by `tokenizer.ggml.model`, where several names mean one kind."""


def why_not_drafted_by(target: Model, draft: Model) -> str | None:
    """The reason in words, with the values of both models; None where nothing speaks against the
    pair.
    """
    ours, theirs = _kind(target), _kind(draft)
    if ours and theirs and ours != theirs:
        return say("{theirs} tokens instead of {ours}", theirs=theirs, ours=ours)
    for end in ("bos", "eos"):
        pair = (target.metadata, draft.metadata)
        added = [metadata.get(f"tokenizer.ggml.add_{end}_token") for metadata in pair]
        ids = [metadata.get(f"tokenizer.ggml.{end}_token_id") for metadata in pair]
        if None not in added and (
            added[0] != added[1] or (added[0] and None not in ids and ids[0] != ids[1])
        ):
            return say(
                "{end} is token {theirs}, added: {theirs_added}, instead of {ours}, added: "
                "{ours_added}",
                end=end.upper(),
                theirs=ids[1],
                theirs_added=added[1],
                ours=ids[0],
                ours_added=added[0],
            )
    sizes = target.shape.n_vocab, draft.shape.n_vocab
    if all(sizes) and abs(sizes[0] - sizes[1]) > MOST_MORE_TOKENS:
        return say(
            "{theirs} tokens instead of {ours}, and they may differ by {most}",
            theirs=f"{sizes[1]:,}",
            ours=f"{sizes[0]:,}",
            most=MOST_MORE_TOKENS,
        )
    return _other_text(target, draft)


def _kind(model: Model) -> str | None:
    name = model.meta.text("tokenizer.ggml.model")
    return None if name in {None, "none", "no_vocab"} else KINDS.get(name or "", name)


def _other_text(target: Model, draft: Model) -> str | None:
    """The reason if a token has another text, naming the first such token."""
    if (
        not target.tokenizer_digest
        or not draft.tokenizer_digest
        or target.tokenizer_digest == draft.tokenizer_digest
    ):
        return None
    try:
        ours, theirs = token_texts(target), token_texts(draft)
    except (ModelError, OSError, struct.error):
        return None
    pairs = enumerate(zip(ours, theirs, strict=False))
    for i, (our, their) in islice(pairs, FIRST_COMPARED, None):
        if our != their:
            return say(
                "token {i} is {theirs} instead of {ours}", i=i, theirs=repr(their), ours=repr(our)
            )
    return None


def token_texts(model: Model) -> list[str]:
    """The texts of a model's vocabulary, read from its file; empty for one without. Raises
    ModelError, OSError and struct.error.
    """
    span = read_header(model.path).key_spans.get(TOKENS_KEY)
    if span is None:
        return []
    with model.path.open("rb") as file:
        file.seek(span[0])
        raw = file.read(span[1] - span[0])
    position = 8 + len(TOKENS_KEY) + 4 + 4  # the key, the type of the value, that of its entries
    (count,) = struct.unpack_from("<Q", raw, position)
    position, texts = position + 8, []
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", raw, position)
        position += 8
        texts.append(raw[position : position + length].decode("utf-8", errors="replace"))
        position += length
    return texts
