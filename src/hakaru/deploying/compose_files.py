"""vLLM's processes as containers: a compose file for each node. Pure.

A container is on its node's own network, so that ranks meet at their addresses and the server
listens on loopback. It has no capability, a read-only file system, and the weights read-only.
Source: the Compose Specification.
"""

from collections.abc import Sequence
from typing import Any, Final

from hakaru.deploying.bundle import File
from hakaru.deploying.manifest import Table, as_yaml
from hakaru.deploying.node_process import Process
from hakaru.deploying.token_probe import token_probe

HUB_CACHE: Final = "~/.cache/huggingface"
SHARED_MEMORY: Final = "8gb"
"""As on Kubernetes (`kubernetes_pods`)."""
ENDS_WITHIN: Final = "60s"
CARDS: Final = "CUDA_VISIBLE_DEVICES"


def compose_files(
    processes: Sequence[Process], *, model: str, name: str, image: str, about: str
) -> tuple[File, ...]:
    """`NODE/compose.yaml` for each node."""
    nodes = dict.fromkeys(process.node.name for process in processes)
    return tuple(
        File(
            name=f"{node}/compose.yaml",
            text=as_yaml(
                {
                    "services": {
                        process.name: escaped(_service(process, model, name, image))
                        for process in processes
                        if process.node.name == node
                    }
                },
                about=about,
            ),
        )
        for node in nodes
    )


def _service(process: Process, model: str, name: str, image: str) -> Table:
    environment = {"HOME": "/tmp", "USER": "hakaru", "HF_HOME": "/hub"} | dict(process.environment)
    cards = environment.pop(CARDS, "")
    is_path = model.startswith("/")
    service: Table = {
        "image": image,
        "entrypoint": list(process.command),
        "environment": environment,
        "network_mode": "host",
        "user": "10001:10001",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp:mode=1777,exec"],
        "shm_size": SHARED_MEMORY,
        "volumes": [
            {
                "type": "bind",
                "source": model if is_path else HUB_CACHE,
                "target": model if is_path else "/hub",
                "read_only": True,
            }
        ],
        "restart": "unless-stopped",
        "stop_grace_period": ENDS_WITHIN,
    }
    if process.node.hardware.accelerators:
        which = {"device_ids": cards.split(",")} if cards else {"count": "all"}
        card = {"driver": "nvidia", **which, "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [card]}}}
    if process.role == "server":
        service["healthcheck"] = _healthcheck(process, name)
    return service


def _healthcheck(process: Process, name: str) -> Table:
    port = process.command[process.command.index("--port") + 1]
    probe = token_probe(f"http://127.0.0.1:{port}", name, within_s=28)
    return {
        "test": ["CMD", *probe],
        "interval": "30s",
        "timeout": "30s",
        "retries": 3,
        "start_period": "30m",
    }


def escaped(value: Any) -> Any:
    """`value` with every `$` twice: compose puts variables in their place otherwise."""
    if isinstance(value, dict):
        return {key: escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [escaped(one) for one in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
