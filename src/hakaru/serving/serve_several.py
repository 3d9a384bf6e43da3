"""Serve several models behind one address: the verb behind `hakaru serve A B`."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Unpack

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Interrupted, Misuse
from hakaru.hardware.machine import Machine
from hakaru.language import listed, say
from hakaru.memory.context import Context
from hakaru.models.sources.find import Reference
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.front import Front
from hakaru.serving.log_file import LogFile
from hakaru.serving.making_room import Plan, as_if_gone, planned
from hakaru.serving.on_demand import OnDemand
from hakaru.serving.origins import origin_of
from hakaru.serving.resident import Resident
from hakaru.serving.serve import ToServe, to_serve
from hakaru.serving.serve_at import Pages, Serving, in_thread, listening
from hakaru.serving.several_gateway import make_gateway_of_several
from hakaru.session import Session, nobody_listens


class Several(Struct, frozen=True, kw_only=True):
    """Models that are served together, for a page that tells of them."""

    models: OnDemand
    session: Session
    entrance: Entrance
    memory: str | int | None  # the limit of all together
    make: Callable[[Path, Session, int], Resident]  # one more, at this place in their order

    async def adopt(self, path: Path) -> str:
        """Serve one more model, which the first request that names it loads. Returns its name.
        Raises what `serve_several` raises.
        """
        return await self.models.adopt(partial(self._one_more, path))

    def _one_more(self, path: Path, session: Session) -> tuple[Resident, int]:
        others = self.models.residents
        more = self.make(path, session, len(others))
        _check_names([*(other.what for other in others), more.what])
        emptied = as_if_gone(session, [other for other in others if other.engine])
        plan = planned(more.what, [], emptied, memory=self.memory, n_gpu_layers=None)
        return more, _n_gpu_layers(plan)

    def without_them(self) -> Machine:
        """The machine as it would be if none of them were loaded."""
        loaded = [resident for resident in self.models.residents if resident.engine]
        return as_if_gone(self.session, loaded).machine_now()


@contextmanager
def serve_several(
    models: Sequence[Reference],
    *,
    port: int | None = None,
    memory: str | int | None = None,
    private: bool | None = None,
    idle_s: float | None = None,
    allow_origin: Sequence[str] = (),
    queue: int | None = None,
    pages: Pages | None = None,
    entrance: Entrance = ON_THIS_MACHINE,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Iterator[Serving]:
    """Serve `models` at one address while the block lasts: the first is loaded at once, each other
    one by the first request that names it.

    Example: `with serve_several(["chat.gguf", "embed.gguf"]) as serving: print(serving.url)`.

    `memory` is the limit of all together. `queue` requests may wait for their turn at each. A model
    that nobody asks for `idle_s` seconds is unloaded. The settings hold for models that write; one
    that gives vectors has its own context. `pages` makes what a browser sees
    beside the API. Raises what `serve` raises, for a model that does not
    fit even alone, too.
    """
    origins = [origin_of(name) for name in allow_origin]
    session = session or Session.here(keeps=False)
    what = [_to_serve(model, session, context, private=private) for model in models]
    _check_names(what)
    alone = [
        planned(each, [], session, memory=memory, n_gpu_layers=None) for each in what
    ]  # the rest need not be asked for if one does not fit at all
    with listening(port, entrance) as (listener, log):
        address = entrance.address_of(listener.getsockname()[1])
        residents = [Resident(each, i, address, queue) for i, each in enumerate(what)]
        layers = {r.name: _n_gpu_layers(p) for r, p in zip(residents, alone, strict=True)}
        on_demand = OnDemand(residents, session, log, alone=layers, memory=memory, idle_s=idle_s)
        try:
            _load_first(residents[0], alone[0], session, log, memory)
            several = Several(
                models=on_demand, session=session, entrance=entrance, memory=memory,
                make=lambda path, session, place: Resident(
                    _to_serve(path, session, context, private=private), place, address, queue
                ),
            )  # fmt: skip
            routes = pages(several) if pages else ()
            gateway = make_gateway_of_several(on_demand, routes, origins, entrance)
            front = Front(gateway, on_demand, entrance.certificate)
            serving = _serving(residents, front)
            with in_thread(front, listener, serving.ended, on_demand):
                for resident in residents[1:]:
                    resident.announce()
                log.gateway(f"{', '.join(serving.names)} answer at {serving.url}")
                yield serving
        finally:
            on_demand.stop()


def _n_gpu_layers(plan: Plan) -> int:
    """How many layers accelerators hold."""
    return plan.fit.placement.layout.n_gpu_layers


def _serving(residents: Sequence[Resident], front: Front) -> Serving:
    first, names = residents[0], tuple(resident.name for resident in residents)
    return Serving(
        deployment=first.deployment, gives=first.what.mode.gives, front=front, names=names
    )


def _to_serve(
    model: Reference, session: Session, context: Context, *, private: bool | None
) -> ToServe:
    """The model with the settings for what it gives."""
    what = to_serve(model, None, session, private=private)
    if what.mode.gives != "text" or not context:
        return what
    silent = replace(session, warn=nobody_listens, note=nobody_listens)  # it was said before
    return to_serve(what.model, None, silent, private=private, **context)


def _check_names(what: Sequence[ToServe]) -> None:
    """Raises Misuse where clients could not tell two models apart."""
    names = Counter(each.mode.name_of(each.model.path) for each in what)
    if twice := [name for name, n in names.items() if n > 1]:
        raise Misuse(
            "two models are called {name}, and clients choose by the name; give one of the files "
            "another name, by a link for example.",
            name=listed(twice),
        )


def _load_first(
    first: Resident, plan: Plan, session: Session, log: LogFile, memory: str | int | None
) -> None:
    """Load the model that answers at once: whether the engine works is known before the server
    says that it does.
    """
    try:
        first.start((plan.fit, plan.mode), session, log, memory=memory)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say("{model} was still being loaded: nothing was served.", model=first.name)
        ) from stop
