"""Which replicas a model gets, why, and how they are started."""

import json
import time
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.errors import Misuse
from hakaru.vllm.launch import launches
from hakaru.vllm.parallel import Parallel
from hakaru.vllm.proposal import n_devices
from hakaru.vllm.vllm_fit import VllmFit, fit_vllm


def nodes_of(folder: Path, *machines: str, network: str = "") -> Path:
    """A file of nodes `n0`, `n1`, … that are such machines."""
    path = folder / "nodes.toml"
    path.write_text(
        "".join(
            f'[[node]]\nname = "n{i}"\naddress = "10.0.{i // 250}.{i % 250}"\n'
            f'hardware = "{machine}"\n'
            for i, machine in enumerate(machines)
        )
        + (f"[network]\n{network}\n" if network else ""),
        encoding="utf-8",
    )
    return path


def shapes(fit: VllmFit) -> list[tuple[int, int, int]]:
    """Replicas, tensor parallel and pipeline parallel."""
    return [
        (placed.n_replicas, placed.option.replica.parallel.tp, placed.option.replica.parallel.pp)
        for placed in fit.proposal.placed
    ]


def test_a_model_that_a_card_holds_is_not_divided() -> None:
    """Ten users of Qwen3 8B go onto two cards as two replicas, and one onto one."""
    two = fit_vllm("qwen3-8b", hardware="2x RTX 4090", n_ctx=8192, users=10)
    assert (two.proposal.topology, shapes(two)) == ("replicas", [(2, 1, 1)])
    assert "do not divide it" in two.reason
    one = fit_vllm("qwen3-8b", hardware="2x RTX 4090", n_ctx=8192, users=3)
    assert (one.proposal.topology, shapes(one)) == ("single", [(1, 1, 1)])


def test_it_is_divided_where_replicas_hold_too_few() -> None:
    """Divided, its weights lie there once, so twice as many users go in; and the reason says what a
    smaller type would do.
    """
    fit = fit_vllm("qwen3-8b", hardware="2x RTX 4090", n_ctx=8192, users=20)
    assert (fit.proposal.topology, shapes(fit)) == ("tensor_parallel", [(1, 2, 1)])
    assert fit.reason.startswith("Undivided replicas hold 10 users")
    assert [(s.type, s.topology) for s in fit.smaller] == [("fp8", "replicas"), ("awq", "replicas")]


def test_what_does_not_fit_holds_users_as_a_smaller_type() -> None:
    """Also where that one must be divided, too."""
    fit = fit_vllm("llama-3.3-70b-instruct", hardware="4x RTX 4090", n_ctx=8192, users=20)
    assert not fit.proposal.fits
    assert [(s.type, s.topology) for s in fit.smaller] == [
        ("fp8", "tensor_parallel"),
        ("awq", "tensor_parallel"),
    ]
    assert 0 < fit.smaller[0].users < fit.smaller[1].users


def test_it_is_divided_where_that_saves_many_devices(tmp_path: Path) -> None:
    """The weights of Qwen3 14B fill more than half of a card of 48 GB. What saves less than a
    quarter of the devices is not divided.
    """
    nodes = nodes_of(tmp_path, *["8x L40S"] * 8)
    fit = fit_vllm("qwen3-14b", cluster=nodes, n_ctx=8192, users=100)
    assert fit.proposal.topology == "tensor_parallel"
    whole, divided = n_devices(fit.proposal.whole), n_devices(fit.proposal.placed)
    assert divided < 0.75 * whole
    assert f"needs {whole} devices for these users, and divided {divided}" in fit.reason
    nodes = nodes_of(tmp_path, *["8x H100"] * 8)
    fit = fit_vllm("qwen3-8b", cluster=nodes, n_ctx=8192, users=1000)
    assert fit.proposal.topology == "replicas"


def test_layers_are_divided_over_a_slow_network(tmp_path: Path) -> None:
    """Where no machine holds it: over 1 Gbit/s as stages, over a fast one as parts of matrices."""
    model = "qwen2.5-32b-instruct"
    slow = nodes_of(tmp_path, *["RTX 3090"] * 4, network="gbit_per_s = 1\nping_ms = 0.3")
    fit = fit_vllm(model, cluster=slow, n_ctx=8192)
    assert (fit.proposal.topology, shapes(fit)) == ("layer_split", [(1, 1, 4)])
    assert "The network takes" in fit.reason
    fast = nodes_of(tmp_path, *["RTX 3090"] * 4, network="gbit_per_s = 200\nping_ms = 0.005")
    fit = fit_vllm(model, cluster=fast, n_ctx=8192)
    assert (fit.proposal.topology, shapes(fit)) == ("tensor_parallel", [(1, 4, 1)])


def test_an_unknown_network_is_said(tmp_path: Path) -> None:
    """Then nothing but stages is weighed over it."""
    nodes = nodes_of(tmp_path, *["RTX 3090"] * 4)
    fit = fit_vllm("qwen2.5-32b-instruct", cluster=nodes, n_ctx=8192)
    assert fit.proposal.topology == "layer_split"
    assert "is not known" in fit.reason


def test_unequal_cards_work_together_only_where_they_must(tmp_path: Path) -> None:
    """The poorer decides how many blocks both have."""
    nodes = nodes_of(tmp_path, "RTX 4090", "L4", network="gbit_per_s = 1\nping_ms = 0.3")
    assert shapes(fit_vllm("qwen3-8b", cluster=nodes, n_ctx=8192)) == [(1, 1, 1), (1, 1, 1)]
    assert shapes(fit_vllm("qwen3-14b", cluster=nodes, n_ctx=8192)) == [(1, 1, 2)]


def test_too_many_users_are_told_how_much_is_missing(tmp_path: Path) -> None:
    """With the number of nodes that would hold them."""
    nodes = nodes_of(tmp_path, "RTX 4090", "RTX 4090")
    fit = fit_vllm("qwen3-8b", cluster=nodes, n_ctx=8192, users=100, parallel=Parallel())
    each = fit.proposal.placed[0].option.replica.users
    assert fit.verdict == "does_not_fit"
    assert fit.proposal.users == 2 * each
    assert f"{-(-(100 - 2 * each) // each)} more such nodes" in fit.reason


def test_a_shape_that_does_not_divide_is_refused() -> None:
    """With those that do."""
    with pytest.raises(Misuse, match="Legal are `tensor_parallel` 1, 3, and `pipeline_parallel`"):
        fit_vllm("smollm2-135m-instruct", hardware="2x L4", parallel=Parallel(tp=2))


def test_a_context_beyond_training_is_refused() -> None:
    """As vLLM refuses it."""
    with pytest.raises(Misuse, match="more than the 8192 tokens"):
        fit_vllm("smollm2-135m-instruct", hardware="L4", n_ctx=9000)


@pytest.mark.parametrize("n_nodes", [1, 10, 100, 1000])
def test_a_cluster_of_any_size_answers_at_once(tmp_path: Path, n_nodes: int) -> None:
    """10,000 users on up to a thousand machines, in less than two seconds of a processor."""
    nodes = nodes_of(tmp_path, *["8x H100"] * n_nodes, network="gbit_per_s = 400\nping_ms = 0.005")
    begun = time.process_time()
    fit = fit_vllm("llama-3.3-70b-instruct", cluster=nodes, n_ctx=8192, users=10_000)
    assert time.process_time() - begun < 2
    assert fit.proposal.fits == (n_nodes >= 100)


def test_replicas_of_one_machine_have_their_own_cards_and_ports() -> None:
    """In the order of the cards."""
    starts = list(
        launches(fit_vllm("qwen3-8b", hardware="2x RTX 4090", n_ctx=8192, users=10).proposal)
    )
    assert [dict(start.environment)["CUDA_VISIBLE_DEVICES"] for start in starts] == ["0", "1"]
    assert [start.port for start in starts] == [8000, 8001]
    words = starts[0].arguments
    assert words[words.index("--max-num-seqs") + 1] == "5"


def test_a_replica_over_nodes_starts_once_on_each(tmp_path: Path) -> None:
    """The first has the HTTP server, the others join it."""
    nodes = nodes_of(tmp_path, "RTX 3090", "RTX 3090", network="gbit_per_s = 1\nping_ms = 0.3")
    fit = fit_vllm("qwen3-14b", cluster=nodes, n_ctx=8192)
    head, other = launches(fit.proposal)
    assert "--headless" in other.arguments
    assert (head.port, other.port) == (8000, None)
    for rank, start in enumerate((head, other)):
        text = " ".join(start.arguments)
        assert f"--nnodes 2 --node-rank {rank} --master-addr 10.0.0.0" in text
        assert "--pipeline-parallel-size 2" in text
        assert dict(start.environment)["VLLM_HOST_IP"] == start.node.address


def test_the_command_tells_every_term(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, each with its source."""
    command = ["fit", "qwen3-8b", "--engine", "vllm", "--hardware", "2x RTX 4090", "--json"]
    assert run([*command, "-c", "8k", "--users", "20"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["verdict"], told["users"]) == ("hakaru.fit_vllm/1", "fits", 20)
    (stage,) = told["replicas"][0]["stages"]
    sources = {name: part["source"] for name, part in stage["parts"].items()}
    assert sources == {
        "weights": "computed",
        "activations": "assumed",
        "cuda_graphs": "assumed",
        "kv_pool": "computed",
        "outside": "assumed",
    }
    inside = sum(part["bytes"] for name, part in stage["parts"].items() if name != "outside")
    assert inside == stage["budget_bytes"]
    assert len(told["launches"]) == 1


def test_what_only_some_models_need_stands_in_the_command() -> None:
    """Gemma 3 leaves its tower for pictures out. gpt-oss is planned as it is published."""
    fit = fit_vllm("gemma-3-27b-it", hardware="2x L40S", n_ctx=8192)
    assert "--language-model-only" in next(launches(fit.proposal)).arguments
    fit = fit_vllm("gpt-oss-20b", hardware="RTX 4090", n_ctx=8192)
    assert (fit.served.name, fit.verdict) == ("mxfp4", "fits")
    (start,) = launches(fit.proposal)
    assert "--language-model-only" not in start.arguments


def test_options_of_the_other_engine_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """By their names."""
    assert run(["fit", "qwen3-8b", "--engine", "vllm", "--hardware", "L4", "--mtp"]) == 2
    assert "--mtp is of llama.cpp" in capsys.readouterr().err
    assert run(["fit", "qwen3-8b", "--hardware", "L4", "--users", "3"]) == 2
    assert "--users is of vllm" in capsys.readouterr().err
