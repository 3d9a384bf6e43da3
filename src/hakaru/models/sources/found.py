"""What finding a model gives: a local path, and what is known about where it comes from."""

from dataclasses import dataclass
from pathlib import Path

from hakaru.formats.split import whole_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A file that belongs to the model, such as the vision projector. `path` is None where it is
    not on this machine.
    """

    role: str
    name: str
    bytes: int | None
    path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A Hugging Face checkpoint as it lies there: what its files take, and what can be done with
    it.

    `bpw` are the bits per weight of all its files together. `quantization` describes `method`; None
    if it is not quantized. `converter` is what llama.cpp's converter does: `converts`, `keeps` the
    quantized weights, `dequantizes` or `refuses`.
    """

    n_files: int
    bytes: int
    is_pickled: bool
    complete: bool  # the weights are on this machine
    class_name: str
    kind: str
    quantization: str | None
    method: str | None
    bpw: float
    runners: tuple[str, ...]
    converter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that `read_model` can read at `path`.

    `complete` is False for a stand-in: the true header, then a hole of the true size. `version` is
    the commit or the ETag that it was read from; `fetch` is the command that brings the weights;
    `fetched_bytes` is what finding it cost; `note` is a sentence about what is uncertain.
    """

    path: Path
    origin: str
    complete: bool
    companions: tuple[Companion, ...] = ()
    version: str | None = None
    fetch: str | None = None
    fetched_bytes: int = 0
    note: str | None = None
    stored: Stored | None = None  # the checkpoint that `path` is the stand-in of
    download_bytes: int | None = None  # what `fetch` would bring

    @property
    def workplace(self) -> Path:
        """A path without its ending for what is made from this model: beside a person's own file,
        else in the current folder, since other programs' stores are not ours to write in.
        """
        stem = Path(whole_name(self.path.name)).stem
        if self.origin == str(self.path):
            return self.path.with_name(stem)
        name = self.origin.partition(":")[2] if self.origin.startswith("ollama:") else stem
        return Path.cwd() / name.replace("/", "-").replace(":", "-")
