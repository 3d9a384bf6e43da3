"""What a person would have to write to run a model on a cluster: the verb behind `hakaru deploy`.

The plan is that of `fit` over the cluster. From it come the processes that each node runs, and from
the processes the files of the target that was asked for.
"""

import shlex
from pathlib import Path
from typing import Final

from hakaru.clusters.cluster_file import read_cluster
from hakaru.deploying.bundle import Bundle, File, Target
from hakaru.deploying.node_process import Process
from hakaru.deploying.rpc_processes import rpc_processes
from hakaru.deploying.shell_scripts import shell_scripts
from hakaru.deploying.systemd_units import systemd_units
from hakaru.errors import DoesNotFit, Misuse, ModelNotFound
from hakaru.language import say, without_controls
from hakaru.memory.context import DEFAULT_CONTEXT
from hakaru.models.sources.find import Reference
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.session import Session

PORT: Final = 8601
"""At which llama-server listens on the head's loopback, beside the gateway's 8600."""


def deploy(
    model: Reference,
    *,
    cluster: Path,
    target: Target,
    preset: str | None = None,
    users: int = 1,
    n_ctx: int = DEFAULT_CONTEXT,
    model_path: str | None = None,
    programs: str = "",
    port: int = PORT,
    trust_network: bool = False,
    session: Session | None = None,
) -> Bundle:
    """The files that run `model` on the nodes of the file `cluster`, for the `target`.

    `users` ask at the same time, each with `n_ctx` tokens of context. `preset` judges the model as
    it would be at that preset. `model_path` is where the model's file lies on the head; without it,
    it lies there where it lies here. `programs` is the folder of the engine's programs on every
    node; empty: they are found by PATH. `port` is the server's, on the head's loopback.
    `trust_network` lets workers listen at the addresses in the file, without tunnels: who reaches
    them is trusted. Nothing is written or started. Raises DoesNotFit, Misuse, ModelError, Offline
    and EngineError.
    """
    _check_path("`model_path`", model_path or "/")
    _check_path("`programs`", programs or "/")
    plan = _plan(model, cluster, preset, n_ctx=n_ctx, users=users, session=session)
    processes = rpc_processes(
        read_cluster(cluster),
        plan.placement.layout.server_flags(plan.settings),
        model=model_path or _path_here(plan),
        alias=plan.model.path.stem,
        port=port,
        trusts_network=trust_network,
        programs=programs,
    )
    assert plan.joined is not None  # a cluster was given
    return Bundle(
        target=target,
        fit=plan,
        topology=plan.joined.topology,
        reason=plan.joined.reason,
        files=_files(target, processes, _about(plan)),
        processes=processes,
        steps=_steps(target),
    )


def _plan(
    model: Reference,
    cluster: Path,
    preset: str | None,
    *,
    n_ctx: int,
    users: int,
    session: Session | None,
) -> Fit:
    """Where everything goes. Raises DoesNotFit."""
    plan = fit(
        model,
        cluster=cluster,
        preset=preset,
        source="computed",
        n_ctx=n_ctx * users,
        n_parallel=users,
        session=session,
    )
    if plan.verdict == "does_not_fit":
        raise DoesNotFit(
            "{model} does not fit {cluster}; what would help: {command}",
            model=plan.model.name,
            cluster=cluster,
            command=shlex.join(["hakaru", "fit", str(model), "--cluster", str(cluster)]),
        )
    return plan


def _check_path(field: str, path: str) -> None:
    """Raises Misuse for a path that begins in no known folder: it is read on another machine."""
    if not path.startswith("/"):
        raise Misuse(
            "{field} {path}: expected a whole path, from the root of the node's files.",
            field=field,
            path=path,
        )


def _path_here(plan: Fit) -> str:
    """Where the model lies. Raises ModelNotFound where only its header is here."""
    if not plan.model.complete:
        raise ModelNotFound(
            "{model}: its weights are not on this machine; say with `model_path` where they lie "
            "on the head.",
            model=plan.model.name,
        )
    return str(plan.model.path.absolute())


def _about(plan: Fit) -> str:
    """The line on top of every file."""
    return without_controls(
        f"{plan.model.name}: {plan.settings.n_ctx} tokens of context, "
        f"{plan.settings.n_parallel} at the same time. Written by hakaru deploy."
    )


def _files(target: Target, processes: tuple[Process, ...], about: str) -> tuple[File, ...]:
    match target:
        case "rpc":
            return shell_scripts(processes, about)
        case "systemd":
            return systemd_units(processes, about)


def _steps(target: Target) -> tuple[str, ...]:
    match target:
        case "rpc":
            return (
                say("Run each script on its node, that of the head last."),
                say("The head reaches its workers by ssh, without a question: it needs a key."),
            )
        case "systemd":
            return (
                say(
                    "Put the units of each node into its ~/.config/systemd/user, then there: "
                    "systemctl --user enable --now hakaru-….service"
                ),
                say("The head reaches its workers by ssh, without a question: it needs a key."),
            )
