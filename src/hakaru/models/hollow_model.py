"""A whole model whose weights are all zero, for timing alone: llama.cpp loads it, serves it and
computes with it as with any other, and it takes some kilobytes of disk.

The file is a header with a vocabulary and then a hole, which the system reads as zeros into real
pages of memory. Its layers are those of a known model. Its answers mean nothing.
"""

from pathlib import Path
from typing import Final

from hakaru.formats.header_file import write_header_only
from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.models.architectures import tensors_of
from hakaru.models.catalogue import known_models
from hakaru.models.hyperparameters import expand

LIKE: Final = "llama-3.2-1b-instruct"
"""Its layers have 61 million weights each."""
N_VOCAB: Final = 8192
N_CTX_TRAIN: Final = 8192


def write_hollow_model(path: Path, *, n_layer: int, type_name: str) -> Path:
    """Write a model with `n_layer` layers, all matrices of one type, to `path`. Returns `path`.
    Raises MachineError where the disk refuses.
    """
    known = next(model for model in known_models() if model.id == LIKE)
    changes = {"block_count": n_layer, "context_length": N_CTX_TRAIN}
    metadata = expand(known.architecture, {**known.hyperparameters, **changes})
    vocabulary: dict[str, MetadataValue] = {
        "model": "gpt2", "pre": "smollm", "tokens": [f"t{n}" for n in range(N_VOCAB)],
        "merges": ["a b"], "bos_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    return write_header_only(
        path,
        metadata | {f"tokenizer.ggml.{name}": value for name, value in vocabulary.items()},
        tensors_of(Metadata(path, metadata), n_vocab=N_VOCAB, tied=False),
        type_name,
    )
