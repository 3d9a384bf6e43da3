"""Run by vLLM's own Python, not by ours: the bytes that vLLM's own classes take on one rank of each
stage, without memory, and the blocks of KV cache that its own functions make of the room beside
them.

The classes are made on PyTorch's device `meta`, where a tensor has a shape and no storage. Groups
of ranks are stood in for: a class asks them only how many ranks there are, and which one it is on.
A card is stood in for by what differs from a processor there: the tokens of a block, a step that is
scheduled while another one runs, and states of recurrent layers in 16 bits.

Reads from standard input a list of `{"config", "tp", "pp", "on_cards", "n_ctx", "n_batched",
"block_tokens", "pools"}`, the last of which has bytes of each stage. Prints a list of `{"weights",
"n_blocks", "kv_tokens", "block_tokens"}`.
"""

# ruff: noqa: E402 (what is stood in for must be so before vLLM is imported)
# mypy: ignore-errors
# The libraries are in vLLM's environment, and not in ours.

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
import transformers  # noqa: F401 (looks for torchvision, which must not be stood in for yet)

for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.v2"):
    sys.modules[name] = MagicMock()  # is for pictures, and not in the environment

from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers import rotary_embedding
from vllm.model_executor.layers.attention.mla_attention import MLAAttention
from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase
from vllm.model_executor.layers.fused_moe import unquantized_fused_moe_method as unquantized
from vllm.model_executor.layers.fused_moe.config import FusedMoEConfig
from vllm.model_executor.layers.fused_moe.oracle.mxfp4 import Mxfp4MoeBackend
from vllm.model_executor.layers.quantization import fp8, mxfp4
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import registry
from vllm.platforms import current_platform
from vllm.v1.attention.backend import MultipleOf
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.core.kv_cache_utils import get_kv_cache_capacity, get_kv_cache_configs

# Kernels that run on cards only; sizes need none. Experts in MXFP4 are padded as Marlin's are.
fp8.init_fp8_linear_kernel = MagicMock()
fp8.select_fp8_moe_backend = lambda **_: (MagicMock(), MagicMock())
unquantized.select_unquantized_moe_backend = lambda **_: (MagicMock(), MagicMock())
mxfp4.select_mxfp4_moe_backend = lambda _: (Mxfp4MoeBackend.MARLIN, MagicMock())


def without_gate(self: FusedMoEConfig, made: Callable[[FusedMoEConfig], None]) -> None:
    """Experts without a gate, which vLLM refuses on processors only."""
    with suppress(NotImplementedError):
        made(self)


registry._run_in_subprocess = lambda asked: asked()  # what is stood in for is so here only
FusedMoEConfig.__post_init__ = partialmethod(without_gate, FusedMoEConfig.__post_init__)


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
    on_cards = case["on_cards"]
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # the other one asks for Triton
    torch.cpu._is_avx512_bf16_supported = lambda: not on_cards
    CPUAttentionBackend.get_supported_kernel_block_sizes = staticmethod(
        lambda kv_cache_spec=None: [MultipleOf(16 if on_cards else 32)]
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        config = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            dtype="bfloat16",
            max_model_len=case["n_ctx"],
            max_num_batched_tokens=case["n_batched"],
            block_size=case["block_tokens"],
            tensor_parallel_size=case["tp"],
            pipeline_parallel_size=case["pp"],
            distributed_executor_backend="mp",
            enforce_eager=True,
            language_model_only=True,
        ).create_engine_config()
    config.cache_config.block_size = case["block_tokens"]
    config.cache_config.kv_cache_layout = "LBHNC"
    config.scheduler_config.async_scheduling = on_cards
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = str(int(on_cards))
    config.scheduler_config.max_num_batched_tokens = case["n_batched"]
    return config


def stage_of(config: VllmConfig, case: dict[str, Any], stage: int) -> tuple[int, dict]:
    """Bytes of all weights of the first rank of a stage, and what its layers keep of tokens."""
    parallel_state._TP = Group(0, case["tp"])
    parallel_state._PP = Group(stage, case["pp"])
    for name in ("_WORLD", "_DP", "_PCP", "_DCP", "_EPLB"):
        setattr(parallel_state, name, Group(0, 1))
    parallel_state._EP = Group(0, case["tp"])
    rotary_embedding._ROPE_DICT.clear()
    layers = config.compilation_config.static_forward_context
    layers.clear()
    with set_current_vllm_config(config), torch.device("meta"):
        torch.set_default_dtype(torch.bfloat16)
        model = initialize_model(config)
    current_platform.update_block_size_for_backend(config)
    held = [*model.parameters(), *model.buffers(), *made_later(model)]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in held}
    specs = {
        name: layer.get_kv_cache_spec(config)
        for name, layer in layers.items()
        if isinstance(layer, AttentionLayerBase)
    }
    return sum(storages.values()), specs


def made_later(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """What latent attention makes of its weights once they are loaded, in 16 bits."""
    for layer in model.modules():
        if isinstance(layer, MLAAttention):
            weight = layer.kv_b_proj.weight
            if weight.dtype != torch.bfloat16:
                yield torch.empty(weight.shape, dtype=torch.bfloat16, device="meta")


def main() -> None:
    """Answer."""
    told = []
    for case in json.load(sys.stdin):
        config = configured(case)
        stages = [stage_of(config, case, stage) for stage in range(case["pp"])]
        kv = get_kv_cache_configs(config, [specs for _, specs in stages], case["pools"])
        told.append(
            {
                "weights": [weights for weights, _ in stages],
                "n_blocks": kv[0].num_blocks,
                "kv_tokens": get_kv_cache_capacity(config, kv[0])[0],
                "block_tokens": config.cache_config.block_size,
            }
        )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
