"""The options of `llama-server` that mean the same as a request to our own server child.

Both kinds of server are started from the one request that `server.py` builds: `server_child.py`
writes it into the wheel's parameters, and this module writes it as options. Source: llama.cpp,
common/arg.cpp.
"""

from typing import Any

from msgspec.structs import replace

from hakaru.engine.spellings import N_MATCH, SIMILARITY, SPELLINGS, TYPES, VERBOSITY
from hakaru.memory.settings import ContextSettings


def server_flags(request: dict[str, Any], settings: ContextSettings) -> list[str]:
    """The command line behind the program's name: the context from `settings`, all else from
    `request`.
    """
    flags = {
        "--model": request["path"],
        "--alias": request["alias"],
        "--host": request["socket"],
        "--batch-size": request["n_batch"],
        "--threads": request["n_threads"],
        "--threads-batch": request["n_threads"],
        "--slot-prompt-similarity": SIMILARITY,
        "--fit": "off",  # never a smaller context than the one asked for
        "--log-verbosity": VERBOSITY,
    }
    switches = ["--metrics", "--no-ui"]
    if not request.get("warms_up", True):
        switches.append("--no-warmup")
    if settings.cache_ram_mib:  # a slot is copied when another prompt takes it, and not before
        switches.append("--no-cache-idle-slots")
    if "n_gpu_layers" in request:
        flags["--n-gpu-layers"] = request["n_gpu_layers"]
        if request["tensor_split"]:
            flags["--tensor-split"] = ",".join(map(str, request["tensor_split"]))
        if request["n_cpu_moe"]:
            flags["--n-cpu-moe"] = request["n_cpu_moe"]
    if "rpc" in request:
        flags["--rpc"] = ",".join(request["rpc"])
    if "template_file" in request:
        flags["--chat-template-file"] = request["template_file"]
    elif "template_name" in request:
        flags["--chat-template"] = request["template_name"]
        switches.append("--no-jinja")  # with Jinja the name itself would be the template
    if "speculation" in request:
        flags |= _speculation(request["speculation"])
    if "projector" in request:
        flags["--mmproj"] = request["projector"]
    for name, value in request.get("sampling", {}).items():
        flags[SPELLINGS[name].flag] = value
    if request["gives"] != "text":
        switches.append("--embedding")
    if request["gives"] == "reranker":
        flags["--pooling"] = "rank"
    context = replace(settings, n_checkpoints=settings.checkpoints_kept).as_flags()
    named = [text for flag, value in flags.items() for text in (flag, str(value))]
    return [*named, *context, *switches]


def _speculation(speculation: dict[str, Any]) -> dict[str, object]:
    """The options that make a server guess ahead."""
    means, n_max = speculation["means"], speculation["n_max"]
    flags: dict[str, object] = {"--spec-type": TYPES[means]}
    if means == "ngram":
        return flags | {"--spec-ngram-simple-size-n": N_MATCH, "--spec-ngram-simple-size-m": n_max}
    flags["--spec-draft-n-max"] = n_max
    return flags | ({"--spec-draft-model": speculation["draft"]} if means == "draft" else {})


def every_flag() -> set[str]:
    """All options that `server_flags` may write, to hold a person's program against; but for those
    that guess ahead, see or choose tokens, without which an older program serves as well.
    """
    request = {
        "path": "", "alias": "", "socket": "", "n_threads": 1, "n_batch": 1, "gives": "reranker",
        "n_gpu_layers": 0, "tensor_split": (1,), "n_cpu_moe": 1,
    }  # fmt: skip
    settings = ContextSettings(n_ctx=1, kv_unified=True)
    return {
        text
        for template in ("template_file", "template_name")
        for text in server_flags({**request, template: ""}, settings)
        if text.startswith("-")
    }
