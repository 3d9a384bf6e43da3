"""A model served over the machines of a cluster, which llama.cpp joins by its RPC, for as long as a
block lasts.

The server, its supervisor and its gateway are those of one machine, and run on the head. Around
them stand the workers: they are started first, and ended last.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Unpack

from msgspec import Struct
from msgspec.structs import replace

from hakaru.clusters.cluster import Cluster
from hakaru.clusters.cluster_file import read_cluster
from hakaru.clusters.links import check_head
from hakaru.engine.server import server_command
from hakaru.errors import EngineDied
from hakaru.evaluation.served import check_laid_out, laid_out
from hakaru.language import listed, say
from hakaru.memory.context import Context
from hakaru.models.sources.find import Reference
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.planning.shares import MOST_IN_A_SPLIT
from hakaru.planning.to_load import NothingLoaded
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.origins import origin_of
from hakaru.serving.serve import ToServe, to_serve
from hakaru.serving.serve_at import (
    Address,
    Pages,
    Serving,
    Started,
    answering,
    listening,
    started,
    supervised,
)
from hakaru.serving.supervisor import Supervisor
from hakaru.serving.trusted_files import check_trusted, files_loaded
from hakaru.serving.workers import Workers, workers_of
from hakaru.session import Session
from hakaru.units import format_bytes


class OverCluster(NamedTuple):
    """What is to be served over a cluster, and how."""

    nodes: Cluster  # those that llama.cpp divides it among
    what: ToServe
    plan: Fit


def over_cluster(
    model: Reference,
    cluster: Path,
    session: Session,
    *,
    chat_template: str | None = None,
    alias: str | None = None,
    **context: Unpack[Context],
) -> OverCluster:
    """What `serve_cluster` serves; nothing is started. Raises what `fit` raises, Misuse where the
    head is another machine, and NothingLoaded.
    """
    nodes = read_cluster(cluster).first(MOST_IN_A_SPLIT)
    check_head(nodes, cluster)
    what = to_serve(model, chat_template, session, alias=alias, private=False, **context)
    plan = fit(what.model, cluster=cluster, session=session, **context)
    if plan.verdict == "does_not_fit":
        raise NothingLoaded(plan)
    return OverCluster(nodes, what, plan)


class Start(Struct, frozen=True, kw_only=True):
    """A program that the head starts."""

    node: str  # on which it runs
    command: list[str]  # as the head types it
    endpoint: str | None = None  # at which the head reaches a worker; None: it is the server
    weights_bytes: int = 0  # that travel to a worker


def starts_over(over: OverCluster, *, trust_network: bool) -> list[Start]:
    """What `serve_cluster` would start, the server last. Raises EngineMissing where the build that
    serves cannot use workers.
    """
    nodes, what, plan = over
    with workers_of(nodes, trust_network=trust_network) as workers:
        mode = laid_out(plan, replace(what.mode, rpc=workers.endpoints, speculation=None))
    sent = _sent(nodes, plan)
    path, settings = what.model.path, plan.settings
    command = server_command(path, settings, socket=Path("FOLDER/SOCKET"), mode=mode)
    return [
        *(
            Start(
                node=worker.node.name,
                endpoint=worker.endpoint,
                weights_bytes=sent.get(worker.node.name, 0),
                command=worker.command,
            )
            for worker in workers.all
        ),
        Start(node=nodes.head.name, command=command),
    ]


@contextmanager
def serve_cluster(
    model: Reference,
    cluster: Path,
    *,
    trust_network: bool = False,
    restart: bool = False,
    port: int | None = None,
    chat_template: str | None = None,
    alias: str | None = None,
    pages: Pages | None = None,
    allow_origin: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
    queue: int | None = None,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Iterator[Serving]:
    """Serve `model` over the machines in the file `cluster`, of which this one is the head, while
    the block lasts.

    Workers are joined by ssh tunnels; with `trust_network` they listen at their addresses in the
    file, unencrypted and for whoever reaches them. A worker that is lost ends all, or with
    `restart` it is started again, and the engine with it. `hakaru.serving.serve` has the rest.
    Raises what `fit` raises, NothingLoaded, NodeError for a worker that does not come up or stays
    behind, EngineRefused where the model lies otherwise than planned, and WorkerLost.
    """
    session = session or Session.here(keeps=False)
    nodes, what, plan = over_cluster(
        model, cluster, session, chat_template=chat_template, alias=alias, **context
    )
    if plan.joined and plan.joined.alone:
        session.warn(plan.joined.reason)
    files = files_loaded(what.model, what.mode)
    remember_new = check_trusted(files, session.ledger)
    with (
        workers_of(nodes, trust_network=trust_network) as workers,
        listening(port, entrance) as (listener, log),
        ExitStack() as engine,
    ):
        supervisor = supervised(
            what.model,
            plan,
            replace(what.mode, rpc=workers.endpoints, speculation=None),
            files,
            on_event=log.gateway_and(session.warn),
            on_line=log.engine,
            before_restart=lambda: _mend(workers, supervisor, restart=restart),
        )
        engine.callback(supervisor.stop)
        session.note(_travelling(nodes, plan))
        at = Address(listener, log, entrance, pages, list(map(origin_of, allow_origin)), queue)
        loaded = _loaded(workers, supervisor, plan, session, at)
        with answering(loaded, at) as serving:
            check_laid_out(supervisor.server, plan)
            remember_new()
            yield serving


def _travelling(nodes: Cluster, plan: Fit) -> str:
    """What is sent before the first answer, and to whom."""
    sent = _sent(nodes, plan).items()
    return say(
        "Weights travel to the workers first: {parts}.",
        parts=listed(f"{name} {format_bytes(size)}" for name, size in sent),
    )


def _sent(nodes: Cluster, plan: Fit) -> dict[str, int]:
    """Bytes of weights that travel to each worker."""
    sent = dict[str, int]()
    for node, share in zip(nodes.rpc_devices(), plan.placement.shares, strict=False):
        sent[node.name] = sent.get(node.name, 0) + share.weights_bytes
    return sent


def _loaded(
    workers: Workers, supervisor: Supervisor, plan: Fit, session: Session, at: Address
) -> Started:
    """The workers started, and then the engine. Raises WorkerLost where one of them ends
    meanwhile.
    """
    workers.start(partial(_end_engine, supervisor))
    try:
        return started(supervisor, plan, session.machine, at)
    except EngineDied as death:
        for worker in workers.lost():
            raise worker.loss() from death
        raise


def _mend(workers: Workers, supervisor: Supervisor, *, restart: bool) -> None:
    """Before the engine is started again: start the workers that were lost. Raises WorkerLost where
    nobody asked for that.
    """
    for worker in workers.lost():
        if not restart:
            raise worker.loss()
    workers.start(partial(_end_engine, supervisor))


def _end_engine(supervisor: Supervisor) -> None:
    """End an engine that waits for a worker that is no more: it notices only at the next token."""
    with suppress(EngineDied):
        supervisor.server.kill()
