"""What sentences call a field, and what the command line calls it.

Below the command line sentences name fields in backticks (see `language.spell_fields`): whoever
imports hakaru typed no option. Where a person typed options, each field is told as its option.
"""

from typing import Final

_AS_IT_IS: Final = (
    "alias", "allow_origin", "answer_tokens", "api_key", "api_key_file", "backend",
    "backend_key_file", "bits", "bpw", "calibrate", "chat_template", "cloud", "cluster",
    "converter", "depth", "draft",
    "drain", "dry_run", "electricity", "fit", "for_hardware", "force", "full_speed", "generate",
    "hakaru", "hardware", "host", "idle", "image", "importance", "insecure", "key",
    "kv_unified", "language", "license", "max_context", "memory", "min_p", "min_speed",
    "mmproj", "model", "mtp", "name", "no_speed", "only", "overwrite", "pin",
    "pipeline_parallel", "plot", "port", "price", "private", "programs", "prompt_tokens",
    "prompts", "queue", "race", "ray", "reference", "repeat_penalty", "report", "restart",
    "run", "seed", "size", "source", "speculative", "task", "tasks", "temp", "tensor_parallel",
    "tls_cert", "tls_key", "tokens_per_day", "top", "top_k", "top_p", "trust_network", "users",
    "vision", "watts", "weights", "yes",
)  # fmt: skip
OPTION_OF: Final = {field: f"--{field.replace('_', '-')}" for field in _AS_IT_IS} | {
    "budget_s": "--budget",
    "timeout_s": "--timeout",
    "explain_terms": "--explain",
    "first_token_s": "--first-token",
    "min_tokens_per_s": "--min-speed",
    "n_checkpoints": "--ctx-checkpoints",  # llama-server's own
    "n_ctx": "--context",
    "n_gpu_layers": "--gpu-layers",
    "n_parallel": "--parallel",
    "n_threads": "--threads",
    "n_ubatch": "--ubatch",
    "output": "-o",
    "preset": "--type",
    "texts": "--text",
    "tier": "--quality",
    "type_k": "--cache-type-k",
    "type_v": "--cache-type-v",
}
