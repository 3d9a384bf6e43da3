"""A model that was found: its local path, and where it comes from."""

import shlex
from pathlib import Path

from msgspec import Struct

from hakaru.formats.split import whole_name


class Companion(Struct, frozen=True, kw_only=True):
    """A file that belongs to the model, such as the vision projector."""

    role: str  # such as "mmproj"
    name: str
    bytes: int | None  # None: unknown
    path: Path | None = None  # None: the file is not on this machine


class Stored(Struct, frozen=True, kw_only=True):
    """A Hugging Face checkpoint: its size, and what can be done with it."""

    n_files: int
    bytes: int  # of all files
    is_pickled: bool
    complete: bool  # the weights are on this machine
    class_name: str  # of the model, such as "Qwen3ForCausalLM"
    kind: str  # what a model of this class does, such as "language model"
    quantization: str | None  # the method in words; None: not quantized
    method: str | None  # the method as transformers spells it
    bpw: float  # bits per weight, over all files
    runners: tuple[str, ...]  # programs that run the checkpoint as it is
    converter: str
    """What llama.cpp's converter does with the weights: `converts`, `keeps`, `dequantizes` or
    `refuses`.
    """


def search_for_gguf(base_repo: str) -> str:
    """The command that lists repositories of Hugging Face with GGUF files that were made of the
    original weights in `base_repo`.
    """
    tags = ("gguf", f"base_model:quantized:{base_repo}")
    filters = [word for tag in tags for word in ("--filter", tag)]
    return shlex.join(["hf", "models", "ls", *filters, "--sort", "downloads"])


class Found(Struct, frozen=True, kw_only=True):
    """A model that `read_model` can read."""

    path: Path
    origin: str  # where it comes from, such as "hf:org/repo"
    complete: bool  # False: a stand-in, the true header and then a hole of the true size
    companions: tuple[Companion, ...] = ()
    version: str | None = None  # the commit or the ETag of the file that was read
    fetch: str | None = None  # the command that brings the weights
    fetched_bytes: int = 0  # from the network, to find the model
    note: str | None = None  # a sentence about what is uncertain
    stored: Stored | None = None  # the checkpoint for which `path` stands in
    download_bytes: int | None = None  # that `fetch` would bring
    base_repo: str | None = None  # with the original weights, which are no GGUF file

    @property
    def gguf_search(self) -> str | None:
        """`search_for_gguf` of these original weights; None where the weights are GGUF already, on
        this machine, or at an address that is known.
        """
        return None if self.base_repo is None else search_for_gguf(self.base_repo)

    def fetch_at(self, preset: str | None) -> str | None:
        """The command that brings the weights, of a model that the catalogue names at `preset`."""
        by_name = preset and self.fetch and self.origin.startswith("catalogue:")
        return f"{self.fetch}:{preset}" if by_name else self.fetch

    @property
    def workplace(self) -> Path:
        """The path, without an ending, for files that are made from this model. It lies beside a
        file that a person named, else in the current folder, since hakaru writes nothing into the
        stores of other programs.
        """
        stem = Path(whole_name(self.path.name)).stem
        if self.origin == str(self.path):
            return self.path.with_name(stem)
        name = self.origin.partition(":")[2] if self.origin.startswith("ollama:") else stem
        return Path.cwd() / name.replace("/", "-").replace(":", "-")
