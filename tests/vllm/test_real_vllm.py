"""The plan, held against vLLM itself: its classes rank by rank, and servers on this processor."""

import json
import os
import re
import subprocess
import urllib.error
from pathlib import Path

import psutil
import pytest

from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.find import find_model
from hakaru.serving.serve_backends import serve_backends
from hakaru.vllm.launch import launches
from hakaru.vllm.parallel import Parallel, why_not
from hakaru.vllm.rank_weights import MODELLED, weights_by_stage
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
QUANTIZED = {
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
}
"""As published checkpoints state it."""
SHAPES = (Parallel(), Parallel(tp=2), Parallel(tp=4, pp=3), Parallel(tp=8))
NODES = """
[[node]]
name = "one"
address = "127.0.0.1"
hardware = "3GiB RAM"

[[node]]
name = "two"
address = "127.0.0.2"
hardware = "3GiB RAM"
"""
PROMPT = "The capital of France is"


def models() -> list[Model]:
    return [read_language_model(find_model(name).path) for name in MODELS]


def test_every_modelled_architecture_is_among_the_models() -> None:
    """So none is said to be modelled that was not held against vLLM."""
    assert {model.shape.architecture for model in models()} == MODELLED


@pytest.mark.engine
def test_every_rank_is_as_large_as_the_classes_of_vllm(vllm_python: str) -> None:
    """To the byte, for every architecture that is modelled, undivided and divided; and a dense one
    in every type.
    """
    cases = [
        (model, BF16, parallel)
        for model in models()
        for parallel in SHAPES
        if why_not(model.shape, BF16, parallel) is None
    ]
    assert len(cases) > 30
    dense = read_language_model(find_model("llama-3.2-1b-instruct").path)
    cases += [(dense, SERVED_TYPES[name], Parallel(tp=2, pp=2)) for name in QUANTIZED]
    asked = [
        {"config": hf_config(m) | quantized(served), "tp": p.tp, "pp": p.pp}
        for m, served, p in cases
    ]
    told = subprocess.run(
        [vllm_python, str(Path(__file__).parent.parent / "vllm_classes.py")],
        input=json.dumps(asked),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    theirs = json.loads(told.stdout.splitlines()[-1])
    for (model, served, parallel), stages in zip(cases, theirs, strict=True):
        ours = list(weights_by_stage(model, served, parallel))
        assert ours == stages, (model.name, served.name, parallel)


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
    nodes.write_text(NODES, encoding="utf-8")
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
