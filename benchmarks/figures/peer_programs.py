"""The peers as programs: how each is asked, and where its printed answer holds the figures.

Each answers its own question, and the nearest one to ours is put to it:

- hf-mem reads a GGUF header from the Hub: bytes of weights and KV cache for a context and a KV
  type. No compute buffers.
- llamafit plans llama.cpp for a file of its catalogue: the whole budget in lines, the micro-batch
  as an option.
- whichllm takes the number of parameters from the Hub: one total for a type and a context.
- llmfit looks a model up in its database: a total and the KV cache for a type and a context,
  weights as space on disk.

What a peer adds for the process, and tells as a line of its own, is taken off, because the dry run
does not have it.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.models.catalogue import KnownModel

GIB: Final = 2**30
TIMEOUT_S: Final = 120
FILE: Final = "model.gguf"

_TO_LOOPBACK: Final = """
import sys, httpx2
port, send = int(sys.argv.pop(1)), httpx2.AsyncHTTPTransport.handle_async_request
def redirected(self, request):
    request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=port)
    return send(self, request)
httpx2.AsyncHTTPTransport.handle_async_request = redirected
from hf_mem.cli import main
main()
"""
"""hf-mem's own program, whose requests to huggingface.co go to this machine: it has no option for
another endpoint.
"""


class Question(Struct, frozen=True, kw_only=True):
    """A model at a preset, `type_` as people call it, with `n_ctx` tokens of F16 cache; `hub` is a
    URL on loopback.
    """

    known: KnownModel
    preset: str
    n_ctx: int
    n_ubatch: int
    hub: str

    @property
    def type_(self) -> str:
        """The name of the type as the peers spell it."""
        return self.preset.removesuffix("_MOE")


class Answer(Struct, frozen=True, kw_only=True):
    """Bytes as a peer tells them; None for what it does not tell, with the reason where it tells
    nothing.
    """

    total_bytes: int | None = None
    weights_bytes: int | None = None
    kv_cache_bytes: int | None = None
    why: str = ""


class NoAnswer(Exception):
    """The program ended without a figure; the text is its reason."""


class Peer(Struct, frozen=True, kw_only=True):
    """A published program and how it is asked."""

    name: str
    answers: str
    ask: Callable[[Path, Question], Answer]


def ask_hf_mem(program: Path, question: Question) -> Answer:
    """Its figures for the header on the loopback Hub."""
    port = question.hub.rpartition(":")[2]
    told = _told(
        [
            *(
                str(interpreter(program)),
                "-W",
                "ignore",
                "-c",
                _TO_LOOPBACK,
                port,
                "--model-id",
                question.known.hf_repo,
            ),
            *("--gguf-file", FILE, "--experimental", "--json-output", "--kv-cache-dtype", "F16"),
            *("--max-model-len", str(question.n_ctx)),
        ]
    )
    return Answer(
        total_bytes=told["total_memory"],
        weights_bytes=told["memory"],
        kv_cache_bytes=told["kv_cache"],
    )


LLAMAFIT_NAMES: Final = {"mistral-nemo-instruct-2407": "mistral-nemo-12b-instruct"}


def ask_llamafit(program: Path, question: Question) -> Answer:
    """Its budget for a machine with much RAM and no accelerator, which is what the dry run lays
    out.
    """
    name = LLAMAFIT_NAMES.get(question.known.id, question.known.id)
    told = _told(
        [
            *(str(program), "--json", "--ram", "2TiB", "plan", name, "--quant", question.type_),
            *("--context", str(question.n_ctx), "--ub", str(question.n_ubatch), "--no-vision"),
        ]
    )
    placement = told["placement"]
    if placement["context"] != question.n_ctx or placement["gpu_layers"]:
        raise NoAnswer(
            f"planned {placement['context']} tokens and {placement['gpu_layers']} layers on an "
            "accelerator"
        )
    lines: dict[str, int] = {}
    for line in placement["budget"]["lines"]:
        lines[line["component"]] = lines.get(line["component"], 0) + line["bytes"]
    lines.pop("process-overhead", None)
    others = ("kv-cache", "compute-buffer", "output-buffer")
    weights = sum(n_bytes for component, n_bytes in lines.items() if component not in others)
    return Answer(
        total_bytes=sum(lines.values()), weights_bytes=weights, kv_cache_bytes=lines.get("kv-cache")
    )


def ask_whichllm(program: Path, question: Question) -> Answer:
    """Its one total; for types that its JSON leaves out, the figure in its text, which has one
    digit.
    """
    command = [
        str(program),
        "plan",
        question.known.hf_repo,
        "-c",
        str(question.n_ctx),
        "-q",
        question.type_,
    ]
    told = _told([*command, "--json"], {"HF_ENDPOINT": question.hub})["vram_by_quant"]
    if question.type_ in told:
        return Answer(total_bytes=told[question.type_]["vram_bytes"])
    text = _run(command, {"HF_ENDPOINT": question.hub})
    figure = re.search(rf"{question.type_}, ([0-9.]+) GB\s+required", text)
    if not figure:
        raise NoAnswer(f"tells no figure for {question.type_}")
    return Answer(total_bytes=round(float(figure[1]) * GIB))


def ask_llmfit(program: Path, question: Question) -> Answer:
    """Its plan. Its GB are GiB, as its figure for the machine's own RAM shows."""
    command = [
        str(program),
        "--json",
        "plan",
        question.known.hf_repo,
        "--context",
        str(question.n_ctx),
    ]
    told = _told([*command, "--quant", question.type_])
    if told["quantization"] != question.type_:
        raise NoAnswer(f"answers for {told['quantization']}")
    kv = next(row for row in told["kv_alternatives"] if row["kv_quant"] == "fp16")
    return Answer(
        total_bytes=round(kv["memory_required_gb"] * GIB),
        weights_bytes=round(told["disk_size_gb"] * GIB),
        kv_cache_bytes=round(kv["kv_cache_gb"] * GIB),
    )


PEERS: Final = (
    Peer(name="hf-mem", answers="weights and KV cache of a GGUF header", ask=ask_hf_mem),
    Peer(
        name="llamafit",
        answers="llama.cpp's whole budget for a file of its catalogue",
        ask=ask_llamafit,
    ),
    Peer(name="whichllm", answers="one total from the number of parameters", ask=ask_whichllm),
    Peer(name="llmfit", answers="a total and the KV cache from its database", ask=ask_llmfit),
)


def interpreter(program: Path) -> Path:
    """The Python that a console script starts."""
    return Path(program.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").strip())


def version(program: Path) -> str:
    """What the peer calls its own version."""
    if program.read_bytes()[:2] == b"#!":
        code = f"from importlib.metadata import version; print(version({program.name!r}))"
        return _run([str(interpreter(program)), "-c", code]).strip()
    return _run([str(program), "--version"]).split()[-1]


def _told(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Any:
    text = _run(command, environment or {})
    try:
        return json.loads(text)
    except ValueError:
        raise NoAnswer(_last_line(text) or "printed nothing") from None


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=os.environ | wide | dict(environment or {}),
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"no answer in {TIMEOUT_S} s") from None
    if done.returncode:
        raise NoAnswer(
            _last_line(done.stderr) or _last_line(done.stdout) or f"exit {done.returncode}"
        )
    return done.stdout


def _last_line(text: str) -> str:
    """The line that says what went wrong: the last one that is no hint."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Hint")
    ]
    return lines[-1][:110] if lines else ""
