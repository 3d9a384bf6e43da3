"""A deployment of vLLM: scripts, containers, a Ray application or Kubernetes' objects."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from hakaru.deploying.bundle import Bundle, File
from hakaru.deploying.compose_files import compose_files
from hakaru.deploying.kubernetes_objects import VLLM_IMAGE, kubernetes_objects
from hakaru.deploying.kubernetes_pods import PodSite, path_of, weights_objects
from hakaru.deploying.manifest import as_yaml, kubernetes_name
from hakaru.deploying.node_process import Process
from hakaru.deploying.over_rpc import does_not_fit
from hakaru.deploying.ray_serve import RAY_IMAGE, application, ray_service, serve_config
from hakaru.deploying.replica_groups import replica_groups
from hakaru.deploying.shell_scripts import shell_scripts
from hakaru.deploying.vllm_processes import backends, vllm_processes
from hakaru.deploying.wishes import Wishes
from hakaru.errors import Misuse, ModelError
from hakaru.language import listed, say, without_controls
from hakaru.models.by_id import entry_called
from hakaru.models.sources.find import Reference
from hakaru.session import Session
from hakaru.vllm.vllm_fit import VllmFit, fit_vllm

_REPO = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_IN_16_BITS = {"bf16", "f16"}


def over_vllm(model: Reference, cluster: Path, wishes: Wishes, session: Session | None) -> Bundle:
    """What `deploy` gives for the targets `vllm`, `compose`, `ray` and `kubernetes`."""
    plan = fit_vllm(
        model,
        cluster=cluster,
        type_name=wishes.type_name,
        n_ctx=wishes.n_ctx,
        users=wishes.users,
        parallel=wishes.parallel,
        session=session,
    )
    if plan.verdict == "does_not_fit":
        raise does_not_fit(plan.model.name, cluster, str(model), "--engine", "vllm")
    weights = _weights(str(model), plan, wishes)
    name = plan.model.path.stem
    if wishes.target in {"vllm", "compose"}:
        processes = _processes(plan, wishes, weights, name)
        files = _of_processes(processes, plan, wishes, weights, name)
    else:
        processes, files = (), _of_platform(plan, wishes, weights, name)
    return Bundle(
        target=wishes.target,
        model=name,
        fit=plan,
        topology=plan.proposal.topology,
        reason=plan.reason,
        files=files,
        processes=processes,
        steps=tuple(_steps(plan, wishes, weights, name)),
    )


def _weights(model: str, plan: VllmFit, wishes: Wishes) -> str:
    """A path on every node, or a repository. Raises Misuse."""
    if wishes.weights is not None:
        if not (wishes.weights.startswith("/") or _REPO.fullmatch(wishes.weights)):
            raise Misuse(
                "`weights` {found}: expected a whole path, or a repository such as org/name.",
                found=wishes.weights,
            )
        return wishes.weights
    repo = _entry_repo(model)
    if repo is None or plan.served.name not in _IN_16_BITS:
        raise Misuse(
            "{model}: vLLM reads a checkpoint; say with `weights` which repository of Hugging Face "
            "has it in {type}, or where it lies on the nodes.",
            model=plan.model.name,
            type=plan.served.name,
        )
    return repo


def _entry_repo(model: str) -> str | None:
    """The repository of a model of the catalogue."""
    try:
        return entry_called(model).hf_repo
    except ModelError:
        return None


def _processes(plan: VllmFit, wishes: Wishes, weights: str, name: str) -> tuple[Process, ...]:
    """Raises Misuse where nodes would have to speak over a network that nobody trusts."""
    head = plan.cluster.head
    for placed in plan.proposal.placed:
        if placed.option.n_nodes > 1 and not wishes.trusts_network:
            group = placed.node_groups()[0]
            raise Misuse(
                "one model over {nodes}: vLLM's ranks speak to each other without encryption, and "
                "trust whoever reaches them; say `trust_network` if nobody else is on their "
                "network, or choose a smaller type.",
                nodes=listed(node.name for node in group),
            )
    return vllm_processes(plan.proposal, head, model=weights, name=name)


def _of_processes(
    processes: tuple[Process, ...], plan: VllmFit, wishes: Wishes, weights: str, name: str
) -> tuple[File, ...]:
    if wishes.target == "vllm":
        return shell_scripts(processes, _about(plan))
    tunnels = [process for process in processes if process.role == "tunnel"]
    ranks = [process for process in processes if process.role != "tunnel"]
    image = wishes.image or VLLM_IMAGE
    containers = compose_files(ranks, model=weights, name=name, image=image, about=_about(plan))
    return *containers, *shell_scripts(tunnels, _about(plan))


def _of_platform(plan: VllmFit, wishes: Wishes, weights: str, name: str) -> tuple[File, ...]:
    groups = replica_groups(plan.proposal)
    default = RAY_IMAGE if wishes.target == "ray" else VLLM_IMAGE
    site = PodSite(
        name=kubernetes_name(name),
        image=wishes.image or default,
        vendor=groups[0].vendor,
        weights_bytes=_weights_bytes(plan),
    )
    about = _about(plan)
    claim = File(name="weights.yaml", text=as_yaml(*weights_objects(site, weights), about=about))
    if wishes.target == "kubernetes":
        text = kubernetes_objects(groups, site, model=weights, name=name, about=about)
        return claim, File(name="kubernetes.yaml", text=text)
    if len(groups) > 1:
        raise Misuse(
            "{nodes} need replicas of {n} shapes, and one Ray application gives all its replicas "
            "one shape; leave nodes out, or choose another target.",
            nodes=listed(node.name for node in plan.cluster.nodes),
            n=len(groups),
        )
    cards = bool(groups[0].n_devices)
    here = application(groups[0], model=weights, name=name, has_cards=cards)
    there = application(groups[0], model=path_of(weights), name=name, has_cards=cards)
    service = ray_service(there, groups[0], site, about)
    return (
        File(name="serve.yaml", text=serve_config(here, about)),
        claim,
        File(name="rayservice.yaml", text=service),
    )


def _weights_bytes(plan: VllmFit) -> int:
    """Of the checkpoint: what the ranks of a replica hold together."""
    replica = plan.proposal.placed[0].option.replica
    return sum(rank.weights_bytes for rank in replica.ranks) * replica.parallel.tp


def _about(plan: VllmFit) -> str:
    """The line on top of every file."""
    return without_controls(
        f"{plan.model.name}: {plan.proposal.users} users, each with {plan.n_ctx} tokens of "
        "context. Written by hakaru deploy."
    )


def _steps(plan: VllmFit, wishes: Wishes, weights: str, name: str) -> Iterator[str]:
    """What to do with the files, in sentences."""
    if wishes.target in {"vllm", "compose"}:
        yield from _steps_of_processes(plan, wishes, weights)
        return
    site = kubernetes_name(name)
    if wishes.target == "ray":
        yield say("On a Ray cluster that runs: {command}", command="serve deploy serve.yaml")
    else:
        make = f"kubectl create secret generic {site}-key --from-file=key=/dev/stdin"
        key = f"tr -d '\\n' < FILE | {make}"  # a line's end would be part of the key
        yield say("Clients need a key, which stands in none of these files: {command}", command=key)
    brought = f" && kubectl wait --for=condition=complete --timeout=-1s job/{site}-fetch"
    fetch = "kubectl apply -f weights.yaml" + ("" if weights.startswith("/") else brought)
    yield say("The weights, on Kubernetes: {command}", command=fetch)
    file = "rayservice.yaml" if wishes.target == "ray" else "kubernetes.yaml"
    yield say("Then: {command}", command=f"kubectl apply -f {file}")


def _steps_of_processes(plan: VllmFit, wishes: Wishes, weights: str) -> Iterator[str]:
    if not weights.startswith("/"):
        fetch = shlex.join(["hf", "download", weights])
        yield say("Every node needs the weights: {command}", command=fetch)
    if wishes.target == "vllm":
        yield say("Run each script on its node, that of the head last.")
    else:
        yield say("On each node, in its folder: {command}", command="docker compose up --wait")
    urls = " ".join(f"--backend {url}" for url in backends(plan.proposal, plan.cluster.head))
    yield say("The gateway in front, on the head: {command}", command=f"hakaru serve {urls}")
