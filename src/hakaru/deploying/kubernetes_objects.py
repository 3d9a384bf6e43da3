"""vLLM on Kubernetes: a Deployment where a replica fits into one node, a LeaderWorkerSet where it
takes several. Pure.

In a LeaderWorkerSet each replica is a group of pods: the first has the HTTP server, the others join
it, and when one of them ends all are made anew. Startup, readiness and liveness ask for one token.
A group whose worker is lost hangs while its /health stays 200; the token does not come, so the
leader is restarted, and with it the group.
Sources: leaderworkerset.x-k8s.io/v1 (api/leaderworkerset/v1), Kubernetes' API of apps/v1 and v1.
"""

from collections.abc import Iterator
from typing import Final

from hakaru.deploying.kubernetes_pods import PodSite, network_policy, path_of, pod
from hakaru.deploying.manifest import Table, as_yaml, literal_words
from hakaru.deploying.replica_groups import Group
from hakaru.deploying.token_probe import KEY, token_probe
from hakaru.deploying.vllm_processes import SILENT

PORT: Final = 8000
VLLM_IMAGE: Final = "docker.io/vllm/vllm-openai:v0.32.0"
"""Of the version whose memory is planned (docs/clusters.md)."""
MASTER_PORT: Final = "29500"
ENDS_WITHIN_S: Final = 60
PROBES: Final = {
    "startupProbe": {"periodSeconds": 10, "timeoutSeconds": 30, "failureThreshold": 180},
    "readinessProbe": {"periodSeconds": 15, "timeoutSeconds": 20, "failureThreshold": 2},
    "livenessProbe": {"periodSeconds": 30, "timeoutSeconds": 60, "failureThreshold": 3},
}
"""Loading may take half an hour. A full server lets a probe wait in its queue, so only three
minutes without a token make it start again.
"""


def kubernetes_objects(
    groups: tuple[Group, ...], site: PodSite, *, model: str, name: str, about: str
) -> str:
    """All objects but those of the weights, in one file. `model` is a path in the volume, or a
    repository of Hugging Face; `name` is what clients call the model.
    """
    path = path_of(model)
    sets = (
        _workload(group, site, f"{site.name}-{i}", path, name) for i, group in enumerate(groups)
    )
    policy = network_policy(site, [PORT])
    return as_yaml(*sets, _service(site), policy, about=about)


def _workload(group: Group, site: PodSite, name: str, path: str, served_name: str) -> Table:
    server = _container(group, site, path, served_name)
    metadata = {"name": name, "labels": site.labels}
    leader = pod(site, server, n_devices=group.n_devices, hosts=group.hosts)
    leader["metadata"]["labels"] |= {"hakaru/serves": site.name}
    leader["spec"]["terminationGracePeriodSeconds"] = ENDS_WITHIN_S
    if group.n_nodes == 1:
        leader["metadata"]["labels"] |= {"hakaru/group": name}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": group.n_replicas,
                "selector": {"matchLabels": {"hakaru/group": name}},
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
                "template": leader,
            },
        }
    follower = _container(group, site, path, served_name, is_leader=False)
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": metadata,
        "spec": {
            "replicas": group.n_replicas,
            "leaderWorkerTemplate": {
                "size": group.n_nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": leader,
                "workerTemplate": pod(site, follower, n_devices=group.n_devices, hosts=group.hosts),
            },
        },
    }


def _container(
    group: Group, site: PodSite, path: str, served_name: str, *, is_leader: bool = True
) -> Table:
    """The pod's engine; that of a leader has the server, and its probes."""
    words = ["vllm", "serve", path, "--served-model-name", served_name, *group.arguments]
    command = literal_words(words) + list(_of_rank(group, is_leader=is_leader))
    container: Table = {
        "name": "vllm",
        "image": site.image,
        "command": command,
        "env": [
            {
                "name": KEY,
                "valueFrom": {"secretKeyRef": {"name": f"{site.name}-key", "key": "key"}},
            },
            {"name": "VLLM_HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": name, "value": value} for name, value in SILENT.items()),
        ],
    }
    if is_leader:
        container["ports"] = [{"name": "http", "containerPort": PORT}]
        container |= {name: _probe(served_name, limits) for name, limits in PROBES.items()}
    return container


def _of_rank(group: Group, *, is_leader: bool) -> Iterator[str]:
    """What differs by pod; the controller says its place in the group by variables."""
    if group.n_nodes > 1:
        yield from ("--nnodes", "$(LWS_GROUP_SIZE)", "--node-rank", "$(LWS_WORKER_INDEX)")
        yield from ("--master-addr", "$(LWS_LEADER_ADDRESS)", "--master-port", MASTER_PORT)
    if is_leader:
        yield from ("--host", "0.0.0.0", "--port", str(PORT))
    else:
        yield "--headless"


def _probe(model: str, limits: dict[str, int]) -> Table:
    within_s = limits["timeoutSeconds"] - 2
    command = token_probe(f"http://127.0.0.1:{PORT}", model, within_s=within_s)
    return {"exec": {"command": list(command)}} | limits


def _service(site: PodSite) -> Table:
    """Inside the cluster only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": {
            "type": "ClusterIP",
            "selector": {"hakaru/serves": site.name},
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    }
