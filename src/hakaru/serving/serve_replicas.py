"""vLLM's replicas on a cluster, served behind one gateway for as long as a block lasts.

The plan and the processes are those that `deploy` writes files of, and the gateway is that of
`serve_backends`. Around it stand the ranks: they are started first, and ended last.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hakaru.clusters.links import check_head
from hakaru.clusters.ssh import is_here
from hakaru.deploying.bundle import Bundle
from hakaru.deploying.deploy import deploy
from hakaru.deploying.vllm_processes import backends
from hakaru.errors import HakaruError, Interrupted, NodeError
from hakaru.language import listed, say
from hakaru.models.sources.find import Reference
from hakaru.pool import impatient_pool
from hakaru.serving.backend_address import backend_addresses
from hakaru.serving.entrance import ON_THIS_MACHINE
from hakaru.serving.port import bound_socket
from hakaru.serving.ranks import Rank, RankGroup
from hakaru.serving.serve_at import Pages, Serving, listening
from hakaru.serving.serve_backends import backends_at
from hakaru.session import Session
from hakaru.vllm.parallel import Parallel
from hakaru.vllm.vllm_fit import VllmFit

LOOK_S: Final = 0.5


@contextmanager
def serve_replicas(
    model: Reference,
    cluster: Path,
    *,
    type_name: str | None = None,
    users: int | None = None,
    n_ctx: int | None = None,
    weights: str | None = None,
    parallel: Parallel | None = None,
    trust_network: bool = False,
    restart: bool = False,
    port: int | None = None,
    pages: Pages | None = None,
    session: Session | None = None,
) -> Iterator[Serving]:
    """Serve `model` with vLLM on the machines in the file `cluster`, of which this one is the head,
    while the block lasts.

    `deploy` has the arguments; `port` and `pages` are the gateway's. A rank that is lost ends all,
    or with `restart` all ranks of its replica begin again. Raises what `deploy` raises, NodeError
    for a node that cannot be used or a rank that stays behind, EngineRefused where the KV cache
    is smaller than planned or no token comes, WorkerLost, and Interrupted for Ctrl-C before all
    answer.
    """
    session = session or Session.here(keeps=False)
    bundle = deploy(
        model, cluster=cluster, target="vllm", type_name=type_name, users=users, n_ctx=n_ctx,
        weights=weights, parallel=parallel, trust_network=trust_network, session=session,
    )  # fmt: skip
    assert isinstance(bundle.fit, VllmFit)
    nodes = bundle.fit.cluster
    check_head(nodes, cluster)
    with listening(port, ON_THIS_MACHINE) as (listener, log):
        groups = _groups(bundle, bundle.fit, log.engine, session)
        for group in groups:
            bound_socket(int(group.url.rpartition(":")[2])).close()  # nobody else answers there
        replicas = Replicas(bundle.model, groups, session, restarts=restart)
        try:
            replicas.start()
            addresses = backend_addresses([group.url for group in groups])
            elsewhere = [node.name for node in nodes.nodes if not is_here(node.address)]
            with backends_at(
                addresses, listener, log, pages=pages, leave=elsewhere, session=session
            ) as serving:
                assert serving.front
                replicas.watch(serving.front.leave)
                yield serving
        finally:
            replicas.stop()
    if replicas.failure:
        raise replicas.failure


def _groups(
    bundle: Bundle, plan: VllmFit, on_line: Callable[[str], None], session: Session
) -> list[RankGroup]:
    """The processes of each replica."""
    planned = [
        placed.option.replica.kv_tokens
        for placed in plan.proposal.placed
        for _ in range(placed.n_replicas)
    ]
    urls = backends(plan.proposal, plan.cluster.head)
    return [
        RankGroup(
            [Rank(one, on_line) for one in bundle.processes if one.replica == place],
            url=url,
            model=bundle.model,
            planned=planned[place],
            place=place,
            note=session.warn,
        )
        for place, url in enumerate(urls)
    ]


class Replicas:
    """All replicas, watched for ranks that are lost."""

    def __init__(
        self, model: str, groups: list[RankGroup], session: Session, *, restarts: bool
    ) -> None:
        self._model, self._groups, self._session = model, groups, session
        self._restarts = restarts
        self._stops = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: HakaruError | None = None

    def start(self) -> None:
        """Start them, and return when each gave a token. Raises what `gives_token` raises."""
        try:
            for group in self._groups:
                group.start()
            self._wait(self._groups)
        except KeyboardInterrupt as stop:
            raise Interrupted(
                say("{model} was still being loaded: nothing was served.", model=self._model)
            ) from stop

    def _wait(self, groups: list[RankGroup]) -> None:
        waiting = groups
        self._session.note(_what_is_waited_for(waiting))
        step, n_all = say("Replicas that gave a token"), len(groups)
        while waiting and not self._stops.is_set():
            left = [group for group in waiting if not group.gives_token()]
            self._session.watch(step, n_all - len(left), n_all)
            if 0 < len(left) < len(waiting):
                self._session.note(_what_is_waited_for(left))
            waiting = left
            self._stops.wait(LOOK_S if left else 0)

    def watch(self, on_failed: Callable[[], None]) -> None:
        """Look after them in a thread; `on_failed` is called when they are not served any more."""
        self._thread = threading.Thread(target=self._look, args=(on_failed,), daemon=True)
        self._thread.start()

    def _look(self, on_failed: Callable[[], None]) -> None:
        while not self._stops.wait(LOOK_S):
            for group in self._groups:
                if not (lost := group.lost()):
                    continue
                try:
                    self._mend(group, lost)
                except HakaruError as error:
                    if not self._stops.is_set():
                        self.failure = error
                        on_failed()
                    return

    def _mend(self, group: RankGroup, lost: Rank) -> None:
        """Start the replica again. Raises the loss where nobody asked for that."""
        loss = lost.loss()
        if not self._restarts:
            raise loss
        self._session.warn(say("{reason}; its replica begins again.", reason=loss))
        group.stop()
        group.start()
        self._wait([group])

    def stop(self) -> None:
        """End all of them. Raises NodeError for those that may still run."""
        self._stops.set()
        if self._thread:
            self._thread.join()
        left = list[NodeError]()

        def end(group: RankGroup) -> None:
            try:
                group.stop()
            except NodeError as error:
                left.append(error)

        with impatient_pool(len(self._groups)) as pool:
            list(pool.map(end, self._groups))
        if left:
            raise left[0]


def _what_is_waited_for(groups: list[RankGroup]) -> str:
    return say(
        "vLLM loads on {nodes}; its first token is waited for.",
        nodes=listed(f"{group.place + 1}: {group.nodes}" for group in groups),
    )
