"""How the server is run beside its context: what it gives, by which template it writes a
conversation, whether it sees, whether it guesses tokens ahead, and how it chooses them.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from hakaru.engine.sampling import AS_THE_MODEL_SAYS, Sampling
from hakaru.engine.speculation import Speculation
from hakaru.errors import Misuse, system_reason
from hakaru.language import listed
from hakaru.text_files import text_of

Gives = Literal["text", "embedding", "reranker"]
MAX_TEMPLATE: Final = 2**18
"""Bytes of a chat template; the longest seen have 30,000."""
BUILT_IN: Final = (
    "bailing", "bailing-think", "bailing2", "chatglm3", "chatglm4", "chatml", "command-r",
    "deepseek", "deepseek-ocr", "deepseek2", "deepseek3", "exaone-moe", "exaone3", "exaone4",
    "falcon3", "gemma", "gigachat", "glmedge", "gpt-oss", "granite", "granite-4.0", "granite-4.1",
    "grok-2", "hunyuan-dense", "hunyuan-moe", "hunyuan-vl", "kimi-k2", "llama2", "llama2-sys",
    "llama2-sys-bos", "llama2-sys-strip", "llama3", "llama4", "megrez", "minicpm", "mistral-v1",
    "mistral-v3", "mistral-v3-tekken", "mistral-v7", "mistral-v7-tekken", "monarch", "openchat",
    "orion", "pangu-embedded", "phi3", "phi4", "rwkv-world", "seed_oss", "smolvlm", "solar-open",
    "vicuna", "vicuna-orca", "yandex", "zephyr",
)  # fmt: skip
"""Formats that the engine writes without a template. llama.cpp, src/llama-chat.cpp."""


class ChatTemplate(Struct, frozen=True, kw_only=True):
    """A template that takes the place of the model's own: the name of a built-in one, or the text
    of a Jinja file.
    """

    name: str
    text: str | None = None

    @property
    def digest(self) -> str:
        """What identifies it in the ledger."""
        return hashlib.sha256((self.text or self.name).encode()).hexdigest()


class Mode(Struct, frozen=True, kw_only=True):
    """What a server gives, by which template, on which devices its model lies, and what guesses
    ahead.
    """

    gives: Gives = "text"
    template: ChatTemplate | None = None  # None: the model's own
    n_gpu_layers: int | None = None  # layers on accelerators; None: the engine decides
    tensor_split: tuple[int, ...] = ()
    """Layers of each accelerator; empty: in proportion to their free memory."""
    n_cpu_moe: int = 0  # layers whose experts stay in RAM
    speculation: Speculation | None = None  # None: no token is guessed ahead
    alias: str | None = None  # what clients call the model; None: the name of its file
    projector: Path | None = None  # with which the model sees or hears; None: it does not
    sampling: Sampling = AS_THE_MODEL_SAYS  # where a request does not say
    n_threads: int | None = None  # None: one for each processor core that computes
    named_gpu_layers: int | None = None  # as a person named them; None: the planner decides
    must_guess: bool = False  # a person named what guesses: it is never left out
    private: bool = False  # the engine sees no network, and of all files only the model's
    warms_up: bool = True  # a run before the engine says that it is ready
    rpc: tuple[str, ...] = ()  # where workers on other machines lend their devices: `host:port`

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the engine reads beside the model's."""
        draft = self.speculation.draft if self.speculation else None
        return tuple(file for file in (draft, self.projector) if file)

    def as_key(self) -> dict[str, str]:
        """The part of the ledger's key of an answer; empty for the model's own template, so that
        old keys stay.
        """
        return {"template": self.template.digest} if self.template else {}

    def name_of(self, model: Path) -> str:
        """What clients call the model: its alias, or else the name of its file."""
        return self.alias or model.stem

    def as_record(self) -> dict[str, object]:
        """The part of a running server's record."""
        return {
            **self.as_key(),
            **({"speculation": self.speculation.as_json()} if self.speculation else {}),
            **({"alias": self.alias} if self.alias else {}),
            **self._set_by_hand(),
            **({"private": True} if self.private else {}),
            **({"rpc": list(self.rpc)} if self.rpc else {}),
        }

    def _set_by_hand(self) -> dict[str, object]:
        """What a person set, as far as anything was."""
        of_record = {
            "projector": str(self.projector) if self.projector else None,
            "sampling": self.sampling.as_json() or None,
            "n_threads": self.n_threads,
            "gpu_layers": self.named_gpu_layers,
            "must_guess": self.must_guess or None,
        }
        return {name: value for name, value in of_record.items() if value is not None}

    def as_evidence(self) -> dict[str, object]:
        """What evidence keeps, so that a decision can be walked again: the template, if it is not
        the model's own.
        """
        return (
            {"chat_template": {"name": self.template.name, "text": self.template.text}}
            if self.template
            else {}
        )

    def as_request(self, folder: Path) -> dict[str, Any]:
        """The part of the child's request. A template's text lies in a file in `folder`, since an
        argument has no room for it.
        """
        request: dict[str, Any] = {"gives": self.gives}
        if not self.warms_up:
            request["warms_up"] = False
        if self.n_gpu_layers is not None:
            request |= {
                "n_gpu_layers": self.n_gpu_layers,
                "tensor_split": self.tensor_split,
                "n_cpu_moe": self.n_cpu_moe,
            }
        if self.rpc:
            request["rpc"] = self.rpc
        if self.alias:
            request["alias"] = self.alias
        if self.n_threads:
            request["n_threads"] = self.n_threads
        if self.projector:
            request["projector"] = str(self.projector)
        if sampling := self.sampling.as_json():
            request["sampling"] = sampling
        if self.speculation:
            request["speculation"] = self.speculation.as_json()
        if self.template and self.template.text is not None:
            request["template_file"] = str(folder / "template.jinja")
        elif self.template:
            request["template_name"] = self.template.name
        return request


def checked_alias(alias: str) -> str:
    """`alias`, if clients can call a model so. Raises Misuse."""
    if not re.fullmatch(r"[\w.:/@+-]{1,128}", alias):
        raise Misuse(
            "`alias` is '{found}', expected a name of letters, digits and . : / @ + - _ without "
            "blanks, of at most 128 letters.",
            found=alias,
        )
    return alias


def named_template(name: str) -> ChatTemplate:
    """The built-in template of that name, or the template in the file. Raises Misuse for neither,
    or for a file that is no text.
    """
    if name in BUILT_IN:
        return ChatTemplate(name=name)
    path = Path(name)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_TEMPLATE + 1)
    except OSError as error:
        raise Misuse(
            "`chat_template` '{name}' is neither a file nor a format of the engine's ({reason}); "
            "expected a Jinja file, or one of {known}.",
            name=name,
            reason=system_reason(error),
            known=listed(BUILT_IN),
        ) from error
    if len(raw) > MAX_TEMPLATE:
        raise Misuse(
            "{path}: has more than {limit:,} bytes, so it is no chat template; name a Jinja file.",
            path=path,
            limit=MAX_TEMPLATE,
        )
    text = text_of(path, raw)
    if not text.strip():
        raise Misuse("{path}: is empty, so it is no chat template; name a Jinja file.", path=path)
    return ChatTemplate(name=path.name, text=text)
