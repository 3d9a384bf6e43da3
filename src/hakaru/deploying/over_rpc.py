"""A deployment of llama.cpp: scripts or services for each node.

As the plan has it, a server runs on each node that holds the model alone, and only a model that no
node holds is divided among them by RPC; or as the person says.
"""

import shlex
from collections.abc import Iterator
from pathlib import Path

from hakaru.clusters.cluster import Cluster
from hakaru.clusters.cluster_file import read_cluster
from hakaru.deploying.bundle import Bundle
from hakaru.deploying.node_process import Process
from hakaru.deploying.rpc_processes import alone_processes, backends_of, rpc_processes
from hakaru.deploying.shell_scripts import shell_scripts
from hakaru.deploying.systemd_units import systemd_units
from hakaru.deploying.wishes import Wishes
from hakaru.errors import DoesNotFit, Misuse, ModelNotFound
from hakaru.language import listed, say, together, without_controls
from hakaru.memory.context import DEFAULT_CONTEXT
from hakaru.models.sources.find import Reference
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.planning.joined import Joined, Topology
from hakaru.planning.shares import MOST_IN_A_SPLIT
from hakaru.session import Session


def over_rpc(model: Reference, cluster: Path, wishes: Wishes, session: Session | None) -> Bundle:
    """What `deploy` gives for the targets `rpc` and `systemd`."""
    plan = _plan(model, cluster, wishes, session)
    assert plan.joined is not None  # a cluster was given
    topology = wishes.topology or plan.joined.topology
    _check(plan, plan.joined, topology, cluster, str(model))
    nodes = read_cluster(cluster)
    processes = _processes(plan, plan.joined, nodes, topology, wishes)
    write = shell_scripts if wishes.target == "rpc" else systemd_units
    return Bundle(
        target=wishes.target,
        model=plan.model.path.stem,
        fit=plan,
        topology=topology,
        reason=_reason(plan.joined, topology),
        files=write(processes, _about(plan)),
        processes=processes,
        steps=tuple(_steps(processes, nodes, wishes)),
    )


def _check(plan: Fit, joined: Joined, topology: Topology, cluster: Path, model: str) -> None:
    """Raises DoesNotFit where it cannot run so."""
    if topology == "layer_split":
        if plan.verdict == "does_not_fit":
            raise does_not_fit(plan.model.name, cluster, model)
    elif len(joined.alone) < {"single": 1, "replicas": 2}[topology]:
        raise DoesNotFit(
            "{model} cannot run as {topology} on {cluster}: {n} of its nodes hold it alone; leave "
            "`topology` out, or choose a smaller type.",
            model=plan.model.name,
            topology=topology,
            cluster=cluster,
            n=len(joined.alone),
        )


def _reason(joined: Joined, topology: Topology) -> str:
    """Why it runs so, in sentences."""
    if topology == joined.topology:
        return joined.reason
    asked = say("You asked for {topology}.", topology=topology)
    return together([joined.reason, asked])


def _processes(
    plan: Fit, joined: Joined, nodes: Cluster, topology: Topology, wishes: Wishes
) -> tuple[Process, ...]:
    model, alias = _weights(plan, wishes), plan.model.path.stem
    if topology == "layer_split":
        return rpc_processes(
            nodes.first(MOST_IN_A_SPLIT),
            plan.placement.layout.server_flags(plan.settings),
            model=model,
            alias=alias,
            port=wishes.port,
            trusts_network=wishes.trusts_network,
            programs=wishes.programs,
        )
    flags = dict(list(joined.alone.items())[: 1 if topology == "single" else None])
    return alone_processes(
        nodes, flags, model=model, alias=alias, port=wishes.port, programs=wishes.programs
    )


def _plan(model: Reference, cluster: Path, wishes: Wishes, session: Session | None) -> Fit:
    """Where everything goes."""
    users = wishes.users or 1
    return fit(
        model,
        cluster=cluster,
        preset=wishes.type_name,
        source="computed",
        n_ctx=(wishes.n_ctx or DEFAULT_CONTEXT) * users,
        n_parallel=users,
        session=session,
    )


def does_not_fit(name: str, cluster: Path, model: str, *more: str) -> DoesNotFit:
    """The error for a cluster that is too small, with the command that says what would help."""
    return DoesNotFit(
        "{model} does not fit {cluster}; what would help: {command}",
        model=name,
        cluster=cluster,
        command=shlex.join(["hakaru", "fit", model, "--cluster", str(cluster), *more]),
    )


def _weights(plan: Fit, wishes: Wishes) -> str:
    """The file on the head. Raises Misuse and ModelNotFound."""
    if wishes.weights is not None:
        if not wishes.weights.startswith("/"):
            raise Misuse(
                "{field} {path}: expected a whole path, from the root of the node's files.",
                field="`weights`",
                path=wishes.weights,
            )
        return wishes.weights
    if not plan.model.complete:
        raise ModelNotFound(
            "{model}: its weights are not on this machine; say with `weights` where they lie on "
            "the head.",
            model=plan.model.name,
        )
    return str(plan.model.path.absolute())


def _about(plan: Fit) -> str:
    """The line on top of every file."""
    return without_controls(
        f"{plan.model.name}: {plan.settings.n_ctx} tokens of context, "
        f"{plan.settings.n_parallel} at the same time. Written by hakaru deploy."
    )


def _steps(processes: tuple[Process, ...], nodes: Cluster, wishes: Wishes) -> Iterator[str]:
    if wishes.target == "rpc":
        yield say("Run each script on its node, that of the head last.")
    else:
        yield say(
            "Put the units of each node into its ~/.config/systemd/user, then there: "
            "systemctl --user enable --now hakaru-….service"
        )
    if any(process.role == "tunnel" for process in processes):
        yield say("The head reaches the other nodes by ssh, without a question: it needs a key.")
    servers = [process for process in processes if process.role == "server"]
    if elsewhere := [one.node.name for one in servers if one.node != nodes.head]:
        if wishes.weights is None:
            yield say("The weights must lie at the same place on {nodes}.", nodes=listed(elsewhere))
        urls = " ".join(f"--backend {u}" for u in backends_of(servers, wishes.port))
        yield say("The gateway in front, on the head: {command}", command=f"hakaru serve {urls}")
