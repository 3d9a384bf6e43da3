"""What every pod of ours has on Kubernetes: limits, devices, weights and a network. Pure.

A pod runs as nobody's root, on a read-only file system, without capabilities and without the
account's token; the weights are read-only; nothing leaves the pods of the model but to each other
and to the cluster's name server. Keys stand in Secrets that the person makes, never in a file.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.deploying.manifest import Table, literal_words

MODELS: Final = "/models"
USER: Final = 10001
SHARED_MEMORY: Final = "8Gi"
"""For what the ranks of a pod hand to each other in /dev/shm; taken only as it is used. Assumed."""
SPARE: Final = 1.2
"""Of a claim, beside the weights: assumed."""
RESOURCES: Final = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "gpu.intel.com/xe"}
"""What the device plugin of each maker calls a card."""
_WRITABLE: Final = {"HOME": "/scratch", "USER": "hakaru", "TMPDIR": "/scratch"}


class PodSite(Struct, frozen=True, kw_only=True):
    """What all objects of a model share on Kubernetes."""

    name: str  # of Kubernetes
    image: str
    vendor: str  # of the devices
    weights_bytes: int

    @property
    def labels(self) -> dict[str, str]:
        """Of all its objects."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "hakaru"}

    @property
    def pod_labels(self) -> dict[str, str]:
        """By which the policy of the network finds its pods."""
        return {**self.labels, "app.kubernetes.io/component": "engine"}

    @property
    def claim(self) -> str:
        """The claim of the volume with the weights."""
        return f"{self.name}-weights"


def pod(
    site: PodSite, container: Table, *, n_devices: int, hosts: tuple[str, ...], writes: bool = False
) -> Table:
    """The template of a pod with one container, which gets the devices, limits and volumes here.
    `hosts` are the nodes that may take it; `writes`: the weights are not read-only.
    """
    cards = {RESOURCES.get(site.vendor, RESOURCES["nvidia"]): n_devices} if n_devices else {}
    environment = [{"name": name, "value": value} for name, value in _WRITABLE.items()]
    whole = container | {
        "env": [*container.get("env", []), *environment],
        "resources": {"limits": cards, "requests": cards} if cards else {},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "weights", "mountPath": MODELS, "readOnly": not writes},
            {"name": "scratch", "mountPath": "/scratch"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    return {
        "metadata": {"labels": site.pod_labels if not writes else site.labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **_on(hosts),
            "containers": [whole],
            "volumes": [
                {"name": "weights", "persistentVolumeClaim": {"claimName": site.claim}},
                {"name": "scratch", "emptyDir": {}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
            ],
        },
    }


def _on(hosts: tuple[str, ...]) -> Table:
    """Only on the nodes of the plan: it holds for their hardware."""
    if not hosts:
        return {}
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(hosts)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [term]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}


def weights_objects(site: PodSite, model: str) -> tuple[Table, ...]:
    """The claim of the volume with the weights, and the Job that brings a repository of Hugging
    Face into it; for a path there is nothing to bring.
    """
    claim = _volume_claim(site)
    return (claim,) if model.startswith("/") else (claim, _fetching_job(site, model))


def _volume_claim(site: PodSite) -> Table:
    """Of a volume that all pods read."""
    gibibytes = -(-int(site.weights_bytes * SPARE) // 2**30)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": site.claim, "labels": site.labels},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": f"{gibibytes}Gi"}},
        },
    }


def path_of(model: str) -> str:
    """Where the weights lie in a pod, of a repository of Hugging Face or at a path."""
    return model if model.startswith("/") else f"{MODELS}/{model}"


def _fetching_job(site: PodSite, repo: str) -> Table:
    """It alone has the internet, and a token if one is needed."""
    token = {"secretKeyRef": {"name": f"{site.name}-hub", "key": "token", "optional": True}}
    container = {
        "name": "fetch",
        "image": site.image,
        "command": literal_words(["hf", "download", repo, "--local-dir", path_of(repo)]),
        "env": [
            {"name": "HF_TOKEN", "valueFrom": token},
            {"name": "HF_HUB_DISABLE_TELEMETRY", "value": "1"},
        ],
    }
    template = pod(site, container, n_devices=0, hosts=(), writes=True)
    template["spec"]["restartPolicy"] = "OnFailure"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{site.name}-fetch", "labels": site.labels},
        "spec": {"backoffLimit": 5, "template": template},
    }


def network_policy(site: PodSite, ports: Sequence[int], operator: str | None = None) -> Table:
    """Pods of the same namespace reach the server's port, the first of `ports`, and those of the
    `operator`, wherever they are, all of them. The model's pods reach each other and the cluster's
    name server, and nothing else.
    """
    own = {"podSelector": {"matchLabels": site.pod_labels}}
    allowed = [{"protocol": "TCP", "port": port} for port in ports]
    by_operator = {
        "from": [
            {
                "namespaceSelector": {},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": operator}},
            }
        ],
        "ports": allowed,
    }
    names = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": site.name, "labels": site.labels},
        "spec": {
            **own,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [own]},
                {"from": [{"podSelector": {}}], "ports": allowed[:1]},
                *([by_operator] if operator else []),
            ],
            "egress": [{"to": [own]}, {"to": [{"namespaceSelector": {}}], "ports": names}],
        },
    }
