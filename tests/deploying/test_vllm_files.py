"""What `hakaru deploy` writes for vLLM: scripts, containers, Kubernetes' objects, Ray's.

Each is read back by who will read it, where that program is here: Compose's own reader, the schemas
of Kubernetes (`pip install kubernetes-validate`), Ray's own classes (in the environment of vLLM,
scripts/vllm_environment.py). No package has the schemas of LeaderWorkerSet and RayService: their
own fields are held against those of their Go types (`kubernetes_rules`), and the pods inside them
against Kubernetes' schema.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.deploying.bundle import Bundle
from hakaru.deploying.deploy import deploy
from hakaru.deploying.manifest import as_yaml, kubernetes_name
from hakaru.deploying.ray_serve import engine_kwargs
from hakaru.errors import DoesNotFit, Misuse
from hakaru.vllm.parallel import Parallel
from kubernetes_rules import faults

yaml: Any = import_module("yaml")
TWO = """
[[node]]
name = "a"
address = "10.0.0.1"
hardware = "2x L4"

[[node]]
name = "b"
address = "10.0.0.2"
hardware = "2x L4"

[network]
gbit_per_s = 10
ping_ms = 0.2
"""
HARD = 'it\'s 100% $HOME $(id) "so": {x}\n- y'
"""As hard as the name of a folder can be."""


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(TWO)
    return path


def over_two(cluster: Path, target: str, *, weights: str | None = None) -> Bundle:
    """Qwen3 32B, which takes the four cards of both nodes."""
    return deploy(
        "qwen3-32b",
        cluster=cluster,
        target=target,  # type: ignore[arg-type]
        n_ctx=8192,
        weights=weights,
        trust_network=True,
    )


def in_replicas(cluster: Path, target: str, *, users: int = 20) -> Bundle:
    """Qwen3 8B, which each card holds, undivided."""
    return deploy(
        "qwen3-8b",
        cluster=cluster,
        target=target,  # type: ignore[arg-type]
        n_ctx=8192,
        users=users,
        parallel=Parallel(),
    )


def documents(bundle: Bundle, name: str) -> dict[str, Any]:
    """The objects of a file by their kind."""
    text = next(file.text for file in bundle.files if file.name == name)
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def test_ranks_meet_at_the_first_and_only_it_serves(cluster: Path) -> None:
    """On loopback, and nobody is told of it."""
    head, other = over_two(cluster, "vllm").processes
    assert (head.role, other.role) == ("server", "worker")
    for rank, process in enumerate((head, other)):
        words = process.command
        assert words[:2] == ("vllm", "serve")
        assert words[words.index("--nnodes") + 1] == "2"
        assert words[words.index("--node-rank") + 1] == str(rank)
        assert words[words.index("--master-addr") + 1] == "10.0.0.1"
        assert words[words.index("--distributed-executor-backend") + 1] == "mp"
        assert process.environment["VLLM_HOST_IP"] == process.node.address
        assert process.environment["VLLM_NO_USAGE_STATS"] == "1"
        assert process.environment["DO_NOT_TRACK"] == "1"
    assert head.command[head.command.index("--host") + 1] == "127.0.0.1"
    assert "--headless" in other.command and "--host" not in other.command


def test_ranks_cross_no_network_that_nobody_trusts(cluster: Path) -> None:
    """vLLM's ranks have no keys. Replicas need none: a tunnel reaches each server."""
    with pytest.raises(Misuse, match="say `trust_network` if nobody else is on their network"):
        deploy("qwen3-32b", cluster=cluster, target="vllm", n_ctx=8192)
    bundle = in_replicas(cluster, "vllm")
    tunnels = [p.command for p in bundle.processes if p.role == "tunnel"]
    assert [way[way.index("-L") + 1] for way in tunnels] == [
        "127.0.0.1:8102:127.0.0.1:8000",
        "127.0.0.1:8103:127.0.0.1:8001",
    ]
    assert bundle.steps[-1].endswith(
        "hakaru serve --backend http://127.0.0.1:8000 --backend http://127.0.0.1:8001 "
        "--backend http://127.0.0.1:8102 --backend http://127.0.0.1:8103"
    )


def test_the_shape_of_a_replica_can_be_named(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `hakaru fit` takes it; over several nodes only where they are trusted."""
    words = ["deploy", "qwen3-8b", "--cluster", str(cluster), "--target", "vllm", "--dry-run"]
    assert run([*words, "--tensor-parallel", "2", "--users", "4"]) == 0
    text = capsys.readouterr().out
    assert "--tensor-parallel-size 2" in text and "--nnodes" not in text
    assert run([*words, "--tensor-parallel", "3"]) == 2


def test_scripts_of_replicas_are_read_by_a_shell(cluster: Path) -> None:
    """Two servers and two tunnels in one script."""
    for file in in_replicas(cluster, "vllm").files:
        subprocess.run(["sh", "-n"], input=file.text, text=True, check=True)


def test_a_script_ends_what_it_started(cluster: Path, tmp_path: Path) -> None:
    """When it is told to end, and not only by Ctrl-C: its servers are ended, too."""
    programs, log = tmp_path / "programs", tmp_path / "log"
    programs.mkdir()
    stand_ins = {
        "ssh": "exit 0",
        "vllm": 'trap "echo ended >> $LOG; exit" TERM; echo began >> $LOG; sleep 60 & wait',
    }
    for name, does in stand_ins.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    bundle = in_replicas(cluster, "vllm")
    bundle.write(tmp_path / "out")
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "LOG": str(log)}
    script = subprocess.Popen([tmp_path / "out" / "a.sh"], env=environment)
    for _ in range(200):
        if log.exists() and log.read_text().count("began") == 2:
            break
        try:
            script.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    script.terminate()
    assert script.wait(10) == 130
    assert log.read_text().count("ended") == 2


def test_a_repository_or_a_path_is_needed(cluster: Path) -> None:
    """vLLM reads checkpoints; the catalogue knows the one in BF16."""
    with pytest.raises(Misuse, match="say with `weights` which repository"):
        deploy("qwen3-8b", cluster=cluster, target="vllm", type_name="awq")
    with pytest.raises(Misuse, match="expected a whole path, or a repository such as org/name"):
        over_two(cluster, "vllm", weights="../x")


def test_what_does_not_fit_is_told(cluster: Path) -> None:
    """With the command that says more."""
    with pytest.raises(DoesNotFit, match=r"hakaru fit llama-3.1-70b-instruct .*--engine vllm"):
        deploy("llama-3.1-70b-instruct", cluster=cluster, target="kubernetes")


def test_compose_has_a_container_for_each_rank(cluster: Path) -> None:
    """Locked in, with the cards of the plan, healthy by a token."""
    bundle = in_replicas(cluster, "compose")
    a, _, tunnels = bundle.files
    assert (a.name, tunnels.name) == ("a/compose.yaml", "a.sh")
    services = yaml.safe_load(a.text)["services"]
    assert list(services) == ["vllm-0", "vllm-1"]
    for i, service in enumerate(services.values()):
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        (card,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert card["device_ids"] == [str(i)]
        assert service["healthcheck"]["test"][-3:] == [
            f"http://127.0.0.1:{8000 + i}",
            "qwen3-8b",
            "28",
        ]


def test_compose_s_own_reader_takes_it(cluster: Path, tmp_path: Path) -> None:
    """And reads the words of the plan, though the folder's name is full of signs."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("Compose is not here: apt-get install docker-compose")
    bundle = over_two(cluster, "compose", weights=f"/models/{HARD}")
    bundle.write(tmp_path / "out")
    for node, process in zip("ab", bundle.processes, strict=True):
        read = subprocess.run(
            [compose, "-f", tmp_path / "out" / node / "compose.yaml", "config"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert read.returncode == 0, read.stderr
        service = yaml.safe_load(read.stdout)["services"]["vllm-0"]
        assert [w.replace("$$", "$") for w in service["entrypoint"]] == list(process.command)


def pods(thing: Any) -> Iterator[dict[str, Any]]:
    """Every template of a pod in an object."""
    if isinstance(thing, dict):
        if "containers" in thing.get("spec", {}):
            yield thing
        for value in thing.values():
            yield from pods(value)
    elif isinstance(thing, list):
        for value in thing:
            yield from pods(value)


def test_a_replica_over_nodes_is_a_leader_worker_set(cluster: Path) -> None:
    """Of the shape that the API has; pods find each other by what the controller tells them."""
    objects = documents(over_two(cluster, "kubernetes"), "kubernetes.yaml")
    spec = objects["LeaderWorkerSet"]["spec"]
    template = spec["leaderWorkerTemplate"]
    assert objects["LeaderWorkerSet"]["apiVersion"] == "leaderworkerset.x-k8s.io/v1"
    assert (spec["replicas"], template["size"]) == (1, 2)
    assert template["restartPolicy"] == "RecreateGroupOnPodRestart"
    (leader,) = template["leaderTemplate"]["spec"]["containers"]
    (worker,) = template["workerTemplate"]["spec"]["containers"]
    for container in (leader, worker):
        words = container["command"]
        assert words[words.index("--node-rank") + 1] == "$(LWS_WORKER_INDEX)"
        assert words[words.index("--master-addr") + 1] == "$(LWS_LEADER_ADDRESS)"
        assert container["resources"]["requests"] == {"nvidia.com/gpu": 2}
    assert "--headless" in worker["command"] and "--headless" not in leader["command"]
    assert "livenessProbe" in leader and "livenessProbe" not in worker


def test_replicas_of_one_node_are_a_deployment(cluster: Path) -> None:
    """No operator is needed; the service finds all of them."""
    objects = documents(in_replicas(cluster, "kubernetes"), "kubernetes.yaml")
    deployment = objects["Deployment"]["spec"]
    assert deployment["replicas"] == 4
    labels = deployment["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"].items() <= labels.items()
    assert deployment["selector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize(
    ("target", "file"), [("kubernetes", "kubernetes.yaml"), ("ray", "rayservice.yaml")]
)
def test_pods_are_locked_in(cluster: Path, target: str, file: str) -> None:
    """No root, no writable system, no account, no way out, no key in the file, nothing published
    outside; only the Job that brings the weights may write them.
    """
    bundle = over_two(cluster, target)
    objects = documents(bundle, file)
    found = list(pods(list(objects.values())))
    assert len(found) == 2
    for template in found:
        spec = template["spec"]
        (container,) = spec["containers"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert mounts["weights"]["readOnly"] is True
        policy = objects["NetworkPolicy"]["spec"]
        assert (
            policy["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        )
        assert policy["policyTypes"] == ["Ingress", "Egress"]
    text = "".join(one.text for one in bundle.files)
    assert "LoadBalancer" not in text and "NodePort" not in text and "kind: Secret" not in text
    claim, job = documents(bundle, "weights.yaml").values()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (fetching,) = pods(job)
    labels = fetching["metadata"]["labels"]
    assert not policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert claim["spec"]["resources"]["requests"]["storage"] == "74Gi"  # 61 GiB and a fifth more


def test_kubernetes_puts_no_variables_into_words(cluster: Path) -> None:
    """`$(NAME)` in a model's path would be one, as `$$(NAME)` it is none."""
    bundle = over_two(cluster, "kubernetes", weights=f"/models/{HARD}")
    template = documents(bundle, "kubernetes.yaml")["LeaderWorkerSet"]["spec"]
    for pod in pods(template):
        word = pod["spec"]["containers"][0]["command"][2]
        assert re.sub(r"\$\$", "$", word) == f"/models/{HARD}"
        assert "$(id)" not in word.replace("$$", "")


@pytest.mark.parametrize("target", ["kubernetes", "ray"])
def test_kubernetes_schemas_take_the_objects(cluster: Path, target: str) -> None:
    """Every core object strictly, and every pod inside one of an operator's."""
    if find_spec("kubernetes_validate") is None:
        pytest.skip("the schemas are not here: pip install kubernetes-validate")
    schemas: Any = import_module("kubernetes_validate")
    version = schemas.latest_version()
    for bundle in (over_two(cluster, target), in_replicas(cluster, target)):
        for file in bundle.files:
            for thing in yaml.safe_load_all(file.text) if file.name != "serve.yaml" else ():
                assert faults(thing) == []
                if thing["kind"] not in {"LeaderWorkerSet", "RayService"}:
                    schemas.validate(thing, version, strict=True)
                for template in pods(thing):
                    pod = template | {"apiVersion": "v1", "kind": "Pod"}
                    schemas.validate(pod, version, strict=True)


def test_ray_service_has_the_fields_of_its_api(cluster: Path) -> None:
    """And a worker for each node of each replica."""
    spec = documents(over_two(cluster, "ray"), "rayservice.yaml")["RayService"]["spec"]
    rays = spec["rayClusterConfig"]
    (workers,) = rays["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 2
    assert isinstance(spec["serveConfigV2"], str)


RAY_READS = """
import json, sys, yaml
from ray.serve.schema import ServeDeploySchema
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
for text in json.load(sys.stdin):
    file = ServeDeploySchema.model_validate(yaml.safe_load(text))
    (config,) = file.applications[0].args["llm_configs"]
    read = LLMConfig.model_validate(config)
    print(json.dumps([read.model_id, read.engine_kwargs, read.placement_group_config]))
"""


def test_a_flag_without_a_value_is_true_for_ray() -> None:
    """Gemma 3 starts without its tower for pictures, and the flag is not the last one."""
    given = engine_kwargs(("--block-size", "16", "--language-model-only", "--dtype", "bfloat16"))
    assert given == {"block_size": 16, "language_model_only": True, "dtype": "bfloat16"}


@pytest.mark.engine
def test_ray_s_own_classes_take_the_application(cluster: Path, vllm_python: str) -> None:
    """Both files: `serve deploy`'s, and what KubeRay hands to it."""
    bundle = over_two(cluster, "ray")
    service = documents(bundle, "rayservice.yaml")["RayService"]
    texts = [bundle.files[0].text, service["spec"]["serveConfigV2"]]
    done = subprocess.run(
        [vllm_python, "-c", RAY_READS],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    for name, kwargs, group in map(json.loads, lines[-2:]):
        assert name == "qwen3-32b"
        assert (kwargs["tensor_parallel_size"], kwargs["max_model_len"]) == (2, 8192)
        assert (len(group["bundles"]), group["strategy"]) == (4, "PACK")


def test_one_ray_application_has_replicas_of_one_shape(tmp_path: Path) -> None:
    """Unequal nodes need several, which is said."""
    path = tmp_path / "cluster.toml"
    path.write_text(TWO.replace("2x L4", "L40S", 1))
    with pytest.raises(Misuse, match="a, b need replicas of 2 shapes"):
        in_replicas(path, "ray", users=30)
    text = next(f.text for f in in_replicas(path, "kubernetes", users=30).files[1:])
    kinds = [one["kind"] for one in yaml.safe_load_all(text)]
    assert kinds == ["Deployment", "Deployment", "Service", "NetworkPolicy"]


@pytest.mark.parametrize("text", ["1e3", "y", "on", "null", "0o17", "~", "", "a: b", "- x", HARD])
def test_a_text_stays_a_text(text: str) -> None:
    """To readers of YAML 1.1, and by its quotes to those of 1.2."""
    written = as_yaml({"key": text})
    assert yaml.safe_load(written) == {"key": text}
    assert re.match(r"key: ['\"|]", written)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Qwen3-32B", "qwen3-32b"), ("7B_x", "m-7b-x"), ("日本語", "m"), ("a" * 50 + "-", "a" * 40)],
)
def test_names_are_those_that_kubernetes_takes(text: str, name: str) -> None:
    """They begin with a letter and end with a letter or a digit."""
    assert kubernetes_name(text) == name


def test_one_verb_writes_all_of_it(
    cluster: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed, with the steps that follow."""
    out = tmp_path / "out"
    words = ["deploy", "qwen3-32b", "--cluster", str(cluster), "-o", str(out), "--context", "8k"]
    assert run([*words, "--target", "kubernetes"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["kubernetes.yaml", "weights.yaml"]
    said = capsys.readouterr().out
    assert (
        "tr -d '\\n' < FILE | kubectl create secret generic qwen3-32b-key "
        "--from-file=key=/dev/stdin" in said
    )
    assert said.splitlines()[-1].endswith("kubectl apply -f kubernetes.yaml")
