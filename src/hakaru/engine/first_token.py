"""Whether a build of llama.cpp answers on this machine: its library and its server each give one
token of a model of two layers that is made for it.

A build that compiled may still die at its first product: of an instruction that the processor
announces and does not run, or of a library that is missing (docs/labbook.md, AMX). So a build is
called ready only behind this trial. All weights are zero: the trial tells whether the build runs,
and nothing of whether its numbers are right.

All of it runs in a child, for which HAKARU_ENGINE names the build: what is used here stays as it is
meanwhile.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hakaru.engine.builds import OVERRIDE
from hakaru.engine.environment import child_environment
from hakaru.engine.lab import Lab
from hakaru.engine.process import child_command, how_it_ended
from hakaru.engine.server import EngineServer
from hakaru.errors import EngineRefused, HakaruError
from hakaru.formats.header_file import stays_f32, write_header_only
from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import tensors_of
from hakaru.models.byte_letters import byte_letters
from hakaru.models.hyperparameters import expand

WITHIN_S: Final = 180.0
"""Seconds for the trial: the first start of a build for a GPU may compile its kernels."""
N_CTX: Final = 256
TYPES: Final = {
    "attn_q": "Q8_0", "attn_k": "Q4_1", "attn_v": "F16", "attn_output": "Q5_K",
    "ffn_gate": "Q4_K", "ffn_up": "Q6_K", "ffn_down": "IQ4_XS",
}  # fmt: skip
"""The types of the model's matrices: each has kernels of its own."""


def give_first_token(engine: Path | str) -> None:
    """Have the build answer that HAKARU_ENGINE would name so. Raises EngineRefused where it does
    not.
    """
    command = child_command("hakaru.engine.first_token")
    environment = child_environment() | {OVERRIDE: str(engine)}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            env=environment, timeout=WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _silent(f"{WITHIN_S:.0f} s") from error
    if done.returncode:
        raise _silent(done.stderr.strip() or how_it_ended(done.returncode))


def _silent(reason: str) -> EngineRefused:
    return EngineRefused(
        "the engine compiled, but gave no token of a small model on this machine ({reason}); it is "
        "not kept, and the engine that was used before stays in use.",
        reason=reason.splitlines()[-1][:400],
    )


def write_model(path: Path) -> Path:
    """Write a whole model of two layers with a vocabulary of bytes, and weights of zero."""
    metadata: dict[str, MetadataValue] = expand(
        "llama",
        {
            "block_count": 2, "context_length": N_CTX, "embedding_length": 256,
            "feed_forward_length": 512, "attention.head_count": 4, "attention.head_count_kv": 2,
            "attention.layer_norm_rms_epsilon": 1e-5, "rope.dimension_count": 64,
        },
    )  # fmt: skip
    tokens = ["<bos>", "<eos>", *byte_letters(), "ab"]
    metadata |= {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 1,
    }  # fmt: skip
    shapes = dict(tensors_of(Metadata(path, metadata), n_vocab=len(tokens), tied=False, having=()))
    types = {
        name: "F32" if stays_f32(name, dims) else TYPES.get(name.split(".")[-2], "Q8_0")
        for name, dims in shapes.items()
    }
    return write_header_only(path, metadata, shapes.items(), types)


def _trial() -> Iterator[int]:
    """The tokens that the library gave, then those of the server."""
    with TemporaryDirectory(prefix="first-token-") as folder:
        model = write_model(Path(folder) / "small.gguf")
        (answer,) = Lab().answer(model, ["a"], n_predict=1, seed=0)
        yield len(answer["tokens"]) - answer["n_prompt"]
        with EngineServer(model, ContextSettings(n_ctx=N_CTX)) as server, server.client() as client:
            asked = client.post("/completion", json={"prompt": "a", "n_predict": 1})
            yield asked.json()["tokens_predicted"] if asked.status_code == 200 else 0


def main() -> None:
    """The trial of the build that HAKARU_ENGINE names; ends with 1 and one line where it fails."""
    try:
        silent = any(n_tokens < 1 for n_tokens in _trial())
    except HakaruError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(1) from error
    if silent:
        print("no token", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
