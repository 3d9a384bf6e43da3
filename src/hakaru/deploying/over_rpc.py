"""A deployment over llama.cpp's RPC: scripts or services for each node."""

import shlex
from pathlib import Path

from hakaru.clusters.cluster_file import read_cluster
from hakaru.deploying.bundle import Bundle
from hakaru.deploying.rpc_processes import rpc_processes
from hakaru.deploying.shell_scripts import shell_scripts
from hakaru.deploying.systemd_units import systemd_units
from hakaru.deploying.wishes import Wishes
from hakaru.errors import DoesNotFit, Misuse, ModelNotFound
from hakaru.language import say, without_controls
from hakaru.memory.context import DEFAULT_CONTEXT
from hakaru.models.sources.find import Reference
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.session import Session


def over_rpc(model: Reference, cluster: Path, wishes: Wishes, session: Session | None) -> Bundle:
    """What `deploy` gives for the targets `rpc` and `systemd`."""
    plan = _plan(model, cluster, wishes, session)
    processes = rpc_processes(
        read_cluster(cluster),
        plan.placement.layout.server_flags(plan.settings),
        model=_weights(plan, wishes),
        alias=plan.model.path.stem,
        port=wishes.port,
        trusts_network=wishes.trusts_network,
        programs=wishes.programs,
    )
    assert plan.joined is not None  # a cluster was given
    write = shell_scripts if wishes.target == "rpc" else systemd_units
    return Bundle(
        target=wishes.target,
        model=plan.model.path.stem,
        fit=plan,
        topology=plan.joined.topology,
        reason=plan.joined.reason,
        files=write(processes, _about(plan)),
        processes=processes,
        steps=tuple(_steps(wishes)),
    )


def _plan(model: Reference, cluster: Path, wishes: Wishes, session: Session | None) -> Fit:
    """Where everything goes. Raises DoesNotFit."""
    users = wishes.users or 1
    plan = fit(
        model,
        cluster=cluster,
        preset=wishes.type_name,
        source="computed",
        n_ctx=(wishes.n_ctx or DEFAULT_CONTEXT) * users,
        n_parallel=users,
        session=session,
    )
    if plan.verdict == "does_not_fit":
        raise does_not_fit(plan.model.name, cluster, str(model))
    return plan


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


def _steps(wishes: Wishes) -> list[str]:
    first = (
        say("Run each script on its node, that of the head last.")
        if wishes.target == "rpc"
        else say(
            "Put the units of each node into its ~/.config/systemd/user, then there: "
            "systemctl --user enable --now hakaru-….service"
        )
    )
    if wishes.trusts_network:
        return [first]
    by_ssh = say("The head reaches its workers by ssh, without a question: it needs a key.")
    return [first, by_ssh]
