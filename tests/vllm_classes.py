"""Run by vLLM's own Python, not by ours: the bytes that vLLM's own classes take on one rank of each
stage, without memory.

The classes are made on PyTorch's device `meta`, where a tensor has a shape and no storage. Groups
of ranks are stood in for: a class asks them only how many ranks there are, and which one it is on.
Reads a list of `{"config", "tp", "pp"}` from standard input, prints a list of lists.
"""

# mypy: ignore-errors
# The libraries are in vLLM's environment, and not in ours.

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers import rotary_embedding
from vllm.model_executor.layers.quantization import fp8
from vllm.model_executor.model_loader.utils import initialize_model

fp8.init_fp8_linear_kernel = MagicMock()  # it asks for a processor that has FP8; sizes need none


class Group:
    """Ranks that work together, seen from one of them."""

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank_in_group = self.rank = self.local_rank = rank
        self.world_size = world_size
        self.is_first_rank, self.is_last_rank = rank == 0, rank == world_size - 1
        self.ranks = list(range(world_size))
        self.device_communicator = None
        self.device_group = SimpleNamespace(size=lambda: world_size, rank=lambda: rank)
        self.cpu_group = self.device_group


def configured(case: dict[str, Any]) -> VllmConfig:
    """The configuration that vLLM makes of a checkpoint's config.json."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        return EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=256,
            tensor_parallel_size=case["tp"],
            pipeline_parallel_size=case["pp"],
            distributed_executor_backend="mp",
            enforce_eager=True,
        ).create_engine_config()


def stage_bytes(config: VllmConfig, case: dict[str, Any], stage: int) -> int:
    """Bytes of all parameters and buffers of the first rank of a stage."""
    parallel_state._TP = Group(0, case["tp"])
    parallel_state._PP = Group(stage, case["pp"])
    for name in ("_WORLD", "_DP", "_PCP", "_DCP", "_EPLB"):
        setattr(parallel_state, name, Group(0, 1))
    parallel_state._EP = Group(0, case["tp"])
    rotary_embedding._ROPE_DICT.clear()
    with set_current_vllm_config(config), torch.device("meta"):
        torch.set_default_dtype(torch.bfloat16)
        model = initialize_model(config)
    held = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return sum(t.numel() * t.element_size() for t in held.values())


def main() -> None:
    """Answer."""
    told = []
    for case in json.load(sys.stdin):
        config = configured(case)
        told.append([stage_bytes(config, case, stage) for stage in range(case["pp"])])
    print(json.dumps(told))


if __name__ == "__main__":
    main()
