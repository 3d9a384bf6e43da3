"""The options of `llama-server` that mean the same as a request to our own server child.

Both kinds of server are started from the one request that `server.py` builds: `server_child.py`
writes it into the wheel's parameters, and this module writes it as options. Source: llama.cpp,
common/arg.cpp.
"""

from dataclasses import replace
from typing import Any, Final

from hakaru.memory.settings import ContextSettings

VERBOSITY: Final = "4"  # the level at which the buffers are logged


def server_flags(request: dict[str, Any], settings: ContextSettings) -> list[str]:
    """The command line after the program's name. The context is spelled by its `settings`, the rest
    by the `request`.
    """
    is_text = request["gives"] == "text"
    flags = {
        "--model": request["path"],
        "--alias": request["alias"],
        "--host": request["socket"],
        "--batch-size": request["n_batch"],
        "--threads": request["n_threads"],
        "--threads-batch": request["n_threads"],
        "--cache-ram": 0,  # llama-server would reserve up to 8 GiB of host memory for old prompts
        "--fit": "off",  # never a smaller context than the one asked for
        "--log-verbosity": VERBOSITY,
        **_placement(request),
        **_template(request),
    }
    switches = ["--metrics", "--no-ui", *([] if is_text else ["--embedding"])]
    if "template_name" in request:
        switches.append("--no-jinja")  # with Jinja the name itself would be the template
    if request["gives"] == "reranker":
        flags["--pooling"] = "rank"
    context = replace(settings, n_checkpoints=settings.checkpoints_kept).as_flags()
    return [
        *(text for flag, value in flags.items() for text in (flag, str(value))),
        *context,
        *switches,
    ]


def _placement(request: dict[str, Any]) -> dict[str, object]:
    """Layers on accelerators; nothing where the engine is to decide."""
    if "n_gpu_layers" not in request:
        return {}
    split = (
        {"--tensor-split": ",".join(map(str, request["tensor_split"]))}
        if request["tensor_split"]
        else {}
    )
    experts = {"--n-cpu-moe": request["n_cpu_moe"]} if request["n_cpu_moe"] else {}
    return {"--n-gpu-layers": request["n_gpu_layers"], **split, **experts}


def _template(request: dict[str, Any]) -> dict[str, object]:
    if "template_file" in request:
        return {"--chat-template-file": request["template_file"]}
    return {"--chat-template": request["template_name"]} if "template_name" in request else {}


def every_flag() -> set[str]:
    """All options that `server_flags` may ever write, to hold a person's program against."""
    full = {
        "path": "", "alias": "", "socket": "", "n_threads": 1, "n_batch": 1, "gives": "reranker",
        "n_gpu_layers": 0, "tensor_split": (1,), "n_cpu_moe": 1,
    }  # fmt: skip
    settings = ContextSettings(n_ctx=1, kv_unified=True)
    both = [
        server_flags({**full, name: ""}, settings) for name in ("template_file", "template_name")
    ]
    return {text for flags in both for text in flags if text.startswith("-")}
