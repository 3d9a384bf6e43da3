"""The server's child process: llama.cpp's own HTTP server, in xllamacpp's build, on a Unix socket.

`python -m hakaru.engine.server_child '{"path": …, "socket": …, …}'` prints `ready` when the model
answers, and leaves when stdin closes. Its log goes to stderr. Why a parameter is fixed stands in
`server_flags.py`, behind the option of the same meaning.

Every start of an engine waits for what this module imports: next to nothing but llama.cpp.
"""

import json
import os
import sys
from typing import Any

from hakaru.engine.core_dump import leave_no_core_dump
from hakaru.engine.orphan import die_with_parent
from hakaru.engine.spellings import N_MATCH, SIMILARITY, SPELLINGS, TYPES, VERBOSITY


def main() -> None:
    """Serve until stdin closes."""
    request = json.loads(sys.argv[1])
    ready = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    die_with_parent()
    leave_no_core_dump()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = request["path"]
    params.model_alias = {request["alias"]}
    params.hostnames = [request["socket"]]
    params.n_ctx = request["n_ctx"]
    params.n_ubatch = request["n_ubatch"]
    params.n_batch = request["n_batch"]
    params.n_parallel = request["n_parallel"]
    params.kv_unified = request["kv_unified"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["n_threads"]
    params.cache_type_k = xllamacpp.ggml_type(request["type_k"])
    params.cache_type_v = xllamacpp.ggml_type(request["type_v"])
    params.cache_ram_mib, params.slot_prompt_similarity = request["cache_ram_mib"], SIMILARITY
    params.n_ctx_checkpoints = request["n_checkpoints"]
    params.fit_params = params.cache_idle_slots = False
    params.endpoint_metrics, params.warmup = True, request.get("warms_up", True)
    if "n_gpu_layers" in request:
        params.n_gpu_layers = request["n_gpu_layers"]
        if split := [float(n) for n in request["tensor_split"]]:
            params.tensor_split = split + [0.0] * (len(params.tensor_split) - len(split))
        # what --n-cpu-moe sets; llama.cpp, common/common.h
        experts = r"ffn_(up|down|gate|gate_up)_(ch|)exps=CPU"
        params.tensor_buft_overrides = ",".join(
            rf"blk\.{i}\.{experts}" for i in range(request["n_cpu_moe"])
        )
    if "speculation" in request:
        _speculate(params.speculative, request["speculation"])
    if "projector" in request:
        params.mmproj.path = request["projector"]
    for name, value in request.get("sampling", {}).items():
        setattr(params.sampling, SPELLINGS[name].parameter, value)
        params.sampling.user_sampling_config |= SPELLINGS[name].bit
    if request["gives"] != "text":
        params.embedding = True
    if request["gives"] == "reranker":
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    if "template_file" in request:
        with open(request["template_file"], encoding="utf-8") as file:
            params.chat_template = file.read()
    elif "template_name" in request:
        params.chat_template = request["template_name"]
        params.use_jinja = False
    params.ui = False
    params.verbosity = VERBOSITY
    server = xllamacpp.Server(params)
    ready.write("ready\n")
    ready.flush()
    sys.stdin.read()
    del server
    os._exit(0)


def _speculate(params: Any, speculation: dict[str, Any]) -> None:
    """What `server_flags._speculation` writes as options."""
    import xllamacpp

    name = TYPES[speculation["means"]].upper().replace("-", "_")
    params.types = [getattr(xllamacpp.common_speculative_type, f"COMMON_SPECULATIVE_TYPE_{name}")]
    params.draft.n_max = params.ngram_simple.size_m = speculation["n_max"]
    params.ngram_simple.size_n = N_MATCH
    if speculation["draft"]:
        params.draft.mparams.path = speculation["draft"]


if __name__ == "__main__":
    main()
