"""A Ray Serve LLM application: the file that `serve deploy` takes, and the same for KubeRay.

Ray places the ranks by placement groups, one bundle for each device. A replica of one node is kept
on one (STRICT_PACK). Ray's own probes stay as KubeRay sets them: the head must be ready before the
application is there, so a probe that waits for a token would wait for ever. What asks for a token
is the gateway in front.
Sources: Ray 2.60, ray/serve/schema.py and llm/_internal/serve/core/configs/llm_config.py; KubeRay,
ray-operator/apis/ray/v1. Pure.
"""

import json
from typing import Any, Final

from hakaru.clusters.cluster import LOOPBACK
from hakaru.deploying.kubernetes_pods import PodSite, network_policy, pod
from hakaru.deploying.manifest import Table, as_yaml
from hakaru.deploying.replica_groups import Group
from hakaru.deploying.vllm_processes import SILENT

PORT: Final = 8000
RAY_VERSION: Final = "2.50.1"
RAY_IMAGE: Final = f"docker.io/rayproject/ray-llm:{RAY_VERSION}-py311-cu124"
"""As KubeRay's own sample names it: ray-operator/config/samples/ray-service.llm-serve.yaml."""
QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Ray tells its makers about every cluster otherwise."""
OPERATOR_PORTS: Final = (PORT, 8265)
"""Where KubeRay's operator asks for the health of the proxies, and hands in the application."""
PORTS: Final = {"serve": PORT, "gcs": 6379, "dashboard": 8265, "client": 10001}


def engine_kwargs(arguments: tuple[str, ...]) -> Table:
    """vLLM's flags as the arguments of its engine: `--max-model-len 8192` is `max_model_len=8192`,
    and one without a value, such as `--language-model-only`, is true. Which executor starts the
    ranks is Ray's own business.
    """
    named: Table = {}
    for flag, word in zip(arguments, (*arguments[1:], "--"), strict=True):
        if flag.startswith("--"):
            name = flag.removeprefix("--").replace("-", "_")
            named[name] = True if word.startswith("--") else _value(word)
    named.pop("distributed_executor_backend", None)
    return named


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def application(group: Group, *, model: str, name: str, has_cards: bool) -> Table:
    """The application, with one deployment of so many replicas."""
    bundle = {"GPU": 1} if has_cards else {"CPU": 1}
    n_bundles = group.n_nodes * max(1, group.n_devices)
    config = {
        "model_loading_config": {"model_id": name, "model_source": model},
        "engine_kwargs": engine_kwargs(group.arguments),
        "placement_group_config": {
            "bundles": [bundle] * n_bundles,
            "strategy": "STRICT_PACK" if group.n_nodes == 1 else "PACK",
        },
        "deployment_config": {"num_replicas": group.n_replicas},
        "runtime_env": {"env_vars": dict(SILENT)},
        "log_engine_metrics": False,
    }
    return {
        "name": "llm",
        "import_path": "ray.serve.llm:build_openai_app",
        "route_prefix": "/",
        "args": {"llm_configs": [config]},
    }


def serve_config(app: Table, about: str) -> str:
    """The file for `serve deploy` on a Ray cluster; it answers on the head's loopback."""
    options = {"host": LOOPBACK, "port": PORT}
    file = {"proxy_location": "HeadOnly", "http_options": options, "applications": [app]}
    return as_yaml(file, about=about)


def ray_service(app: Table, group: Group, site: PodSite, about: str) -> str:
    """The application on KubeRay, and the policy of its network."""
    n_workers = group.n_replicas * group.n_nodes
    spec = {
        "serveConfigV2": as_yaml({"applications": [app]}),
        "rayClusterConfig": {
            "rayVersion": RAY_VERSION,
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0", "num-gpus": "0", "dashboard-host": "0.0.0.0"},
                "template": _template(site, 0, ()),
            },
            "workerGroupSpecs": [
                {
                    "groupName": "ranks",
                    "replicas": n_workers,
                    "minReplicas": n_workers,
                    "maxReplicas": n_workers,
                    "rayStartParams": {},
                    "template": _template(site, group.n_devices, group.hosts),
                }
            ],
        },
    }
    service = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": spec,
    }
    return as_yaml(
        service, network_policy(site, OPERATOR_PORTS, operator="kuberay-operator"), about=about
    )


def _template(site: PodSite, n_devices: int, hosts: tuple[str, ...]) -> Table:
    """Of the head where there are no `hosts`, else of a worker."""
    ports = [] if hosts else [{"name": n, "containerPort": port} for n, port in PORTS.items()]
    container = {
        "name": "ray",
        "image": site.image,
        "ports": ports,
        "env": [{"name": name, "value": value} for name, value in (SILENT | QUIET).items()],
    }
    return pod(site, container, n_devices=n_devices, hosts=hosts)
