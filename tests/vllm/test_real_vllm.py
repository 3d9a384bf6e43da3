"""The plan, held against vLLM itself: its classes rank by rank, and servers on this processor."""

import json
import os
import re
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import psutil
import pytest

from clusters_made import PAIR
from hakaru.hardware.machine import Device
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.find import find_model
from hakaru.serving.serve_backends import serve_backends
from hakaru.vllm.kv_groups import asked_block_tokens
from hakaru.vllm.launch import launches
from hakaru.vllm.parallel import Parallel, why_not
from hakaru.vllm.rank_weights import MODELLED, weights_by_stage
from hakaru.vllm.replica import Load, Replica, replica_of
from hakaru.vllm.served_type import SERVED_TYPES, ServedType
from hakaru.vllm.vllm_fit import VllmFit, fit_vllm
from hf_configs import hf_config
from vllm_servers import Started, ask, started

BF16 = SERVED_TYPES["bf16"]
MODELS = (
    "smollm2-135m-instruct",
    "llama-3.2-1b-instruct",
    "mistral-7b-instruct-v0.3",
    "mixtral-8x7b-instruct-v0.1",
    "qwen2.5-0.5b-instruct",
    "qwen3-0.6b",
    "qwen3-30b-a3b",
    "granite-4.1-3b",
    "olmo-2-1124-7b-instruct",
    "seed-oss-36b-instruct",
    "smollm3-3b",
    "glm-4.5-air",
)
SHAPES = (Parallel(), Parallel(tp=2), Parallel(tp=4, pp=3), Parallel(tp=8))
OF_THEIR_OWN_KIND = (
    ("c4ai-command-r7b-12-2024", "bf16", Parallel(tp=2, pp=3)),
    ("deepseek-v2-lite", "bf16", Parallel(tp=2)),
    ("deepseek-v3-0324", "fp8", Parallel(tp=8, pp=2)),
    ("exaone-4.0-1.2b", "bf16", Parallel(tp=8)),
    ("falcon-h1-0.5b-instruct", "bf16", Parallel(tp=2)),
    ("gemma-2-2b-it", "bf16", Parallel(tp=2, pp=3)),
    ("gemma-3-1b-it", "bf16", Parallel(pp=3)),
    ("gpt-oss-20b", "mxfp4", Parallel(tp=4, pp=2)),
    ("gpt-oss-20b", "bf16", Parallel()),
    ("granite-4.0-h-tiny", "bf16", Parallel(tp=4, pp=3)),
    ("lfm2-1.2b", "bf16", Parallel(tp=2, pp=3)),
    ("lfm2-8b-a1b", "bf16", Parallel(tp=4)),
    ("nemotron-nano-9b-v2", "bf16", Parallel(tp=8, pp=2)),
    ("nemotron-3-nano-30b-a3b", "bf16", Parallel(tp=2)),
    ("olmo-3-7b-instruct", "bf16", Parallel(tp=2, pp=2)),
    ("qwen3-next-80b-a3b-instruct", "bf16", Parallel(tp=2, pp=2)),
    ("qwen3.5-0.8b", "bf16", Parallel(pp=2)),
    ("qwen3.5-35b-a3b", "bf16", Parallel(tp=2)),
)
"""Latent attention, windows and recurrent layers, each with the type of its checkpoint."""
QUANTIZED = {
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "mxfp4": {"quant_method": "mxfp4"},
}
"""As published checkpoints state it."""
CARD = Device(vendor="other", name="a large card", total_bytes=2**41, free_bytes=None)
RAM = Device(vendor="other", name="RAM", total_bytes=2**41, free_bytes=None)
PROMPT = "The capital of France is"


def known(name: str) -> Model:
    """A model of the catalogue."""
    return read_language_model(find_model(name).path)


class Case(NamedTuple):
    """A model in ranks, as it is planned."""

    model: Model
    replica: Replica

    @classmethod
    def of(cls, model: Model, type_name: str, parallel: Parallel, device: Device) -> Self:
        """Four users of 4,096 tokens."""
        served, load = SERVED_TYPES[type_name], Load(n_ctx=4096, n_seqs=4)
        weights = weights_by_stage(model, served, parallel)
        devices = (device,) * parallel.pp
        return cls(model, replica_of(model, served, parallel, weights, devices, load))

    def asked(self) -> dict[str, object]:
        """What `vllm_classes.py` is told."""
        replica = self.replica
        return {
            "config": hf_config(self.model) | quantized(replica.served),
            "tp": replica.parallel.tp, "pp": replica.parallel.pp, "on_cards": replica.on_cards,
            "n_ctx": replica.load.n_ctx, "n_batched": replica.n_batched,
            "block_tokens": asked_block_tokens(self.model.shape, on_cards=replica.on_cards),
            "pools": [rank.pool_bytes for rank in replica.ranks],
        }  # fmt: skip

    def planned(self) -> dict[str, object]:
        """What it should answer."""
        replica = self.replica
        return {
            "weights": [rank.weights_bytes for rank in replica.ranks],
            "n_blocks": replica.n_blocks, "kv_tokens": replica.kv_tokens,
            "block_tokens": replica.block_tokens,
        }  # fmt: skip


def cases() -> Iterator[Case]:
    """Every architecture that is modelled, undivided and divided."""
    for name in MODELS:
        model = known(name)
        for parallel in SHAPES:
            if why_not(model.shape, BF16, parallel) is None:
                yield Case.of(model, "bf16", parallel, CARD)
    for type_name in ("fp8", "awq", "gptq"):
        yield Case.of(known("llama-3.2-1b-instruct"), type_name, Parallel(tp=2, pp=2), CARD)
    for name, type_name, parallel in OF_THEIR_OWN_KIND:
        yield Case.of(known(name), type_name, parallel, CARD)
    for name in ("deepseek-v2-lite", "gemma-3-1b-it", "qwen3.5-0.8b"):
        yield Case.of(known(name), "bf16", Parallel(), RAM)


def test_every_modelled_architecture_is_among_the_models() -> None:
    """So none is said to be modelled that was not held against vLLM."""
    assert {case.model.shape.architecture for case in cases()} == MODELLED


@pytest.mark.engine
def test_every_rank_is_as_large_as_the_classes_of_vllm(vllm_python: str) -> None:
    """To the byte, for every architecture that is modelled, undivided and divided; and a dense one
    in every type. What is left beside the weights has as many blocks and tokens as vLLM's own
    functions make of it.
    """
    planned = list(cases())
    assert len(planned) > 50
    told = subprocess.run(
        [vllm_python, str(Path(__file__).parent.parent / "vllm_classes.py")],
        input=json.dumps([case.asked() for case in planned]),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    for case, theirs in zip(planned, json.loads(told.stdout.splitlines()[-1]), strict=True):
        replica = case.replica
        assert case.planned() == theirs, (case.model.name, replica.served.name, replica.parallel)


def quantized(served: ServedType) -> dict[str, object]:
    """What config.json says of the type."""
    if served.name not in QUANTIZED:
        return {}
    return {"quantization_config": QUANTIZED[served.name]}


@pytest.mark.engine
def test_two_nodes_answer_as_one_and_hold_what_the_plan_says(
    vllm_python: str, checkpoint: Path, embedded: Path, tmp_path: Path
) -> None:
    """Two starts that join each other, each with half of the layers. The pool is that of the log
    within 3%, and so is that of one node. The gateway in front gives the same answers, and sees
    that a node is lost, which vLLM's own `/health` does not tell.
    """
    nodes = tmp_path / "cluster.toml"
    nodes.write_text(PAIR.format(address="127.0.0.2"), encoding="utf-8")
    answers = list[str]()
    for pp in (1, 2):
        plan = fit_vllm(embedded, cluster=nodes, n_ctx=1024, users=4, parallel=Parallel(pp=pp))
        starts = [start for start in launches(plan.proposal) if start.replica == 0]
        assert len(starts) == pp
        with (
            started(vllm_python, checkpoint, starts, tmp_path / f"pp{pp}") as server,
            serve_backends([server.url], silent_s=15) as gateway,
        ):
            answers += [server.ask(PROMPT, 16), ask(gateway.url, PROMPT, 16)]
            assert pool_in_log(server) == pytest.approx(planned(plan), rel=0.03)
            if pp == 2:
                check_lost(server, gateway.url)
    assert len(set(answers)) == 1
    assert "Paris" in answers[0]


def check_lost(server: Started, base_url: str) -> None:
    """The second node goes: the gateway says so, in an error of its own."""
    for process in psutil.Process(server.processes[1].pid).children(recursive=True):
        process.kill()
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(base_url, PROMPT, 16)
    error = json.load(refused.value)["error"]
    assert (refused.value.code, error["code"]) == (503, "backend_lost"), error


def planned(plan: VllmFit) -> int:
    """Tokens of KV cache."""
    return plan.proposal.placed[0].option.replica.kv_tokens


def pool_in_log(server: Started) -> int:
    """The same, as vLLM tells it."""
    log = server.log.read_text(errors="replace")
    (told,) = set(re.findall(r"KV cache size: ([\d,]+) tokens", log))
    return int(told.replace(",", ""))
