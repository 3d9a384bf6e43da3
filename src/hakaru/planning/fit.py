"""Does it fit, and where: the verb behind `hakaru fit`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Unpack

from msgspec.structs import replace

from hakaru.clusters.cluster import Cluster
from hakaru.clusters.cluster_file import read_cluster
from hakaru.engine.unused import idle_gpu
from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware, Machine
from hakaru.memory.context import Context, any_settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset, read_language_model, read_model
from hakaru.models.presets import preset_asked, which_preset
from hakaru.models.sources.eyes import projector_of
from hakaru.models.sources.find import Reference, find_model
from hakaru.models.sources.found import Found
from hakaru.planning.answer import Fit
from hakaru.planning.backends import backend_of
from hakaru.planning.extras import Beside, Extra, draft_extra, mtp_extra, projector_extra
from hakaru.planning.fit_at import FigureSource, fit_at
from hakaru.planning.here import leaves_gpu_idle, limited, named_place
from hakaru.planning.joined import joined
from hakaru.planning.network_time import network_time, over_network
from hakaru.planning.shares import MOST_IN_A_SPLIT
from hakaru.planning.speed import USUAL
from hakaru.planning.speed_of import speed_of
from hakaru.planning.timed_here import timed_files
from hakaru.servers import beside_servers
from hakaru.session import Session
from hakaru.units import size_in_bytes


def fit(
    model: Reference,
    *,
    hardware: str | None = None,
    cluster: Path | None = None,
    memory: str | int | None = None,
    preset: str | None = None,
    bits: str | int | None = None,
    mmproj: Path | None = None,
    vision: bool = False,
    draft: Reference | None = None,
    mtp: bool = False,
    kv_unified: bool = False,
    source: FigureSource = "both",
    find_max: bool = False,
    depth: int = 0,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Fit:
    """Whether `model` fits, what it takes of each device, and what would change the answer.

    Example: `fit("qwen3-8b", hardware="L4", n_ctx=8192).verdict` is `"fits"`.

    `hardware` names a machine, such as "2x L4" or "RTX 4090 + 64GiB RAM"; without it, it is this
    machine with the memory that is free now. `memory` is the most that may be used of it, such as
    "16GiB": of all GPUs together, and of the RAM. `cluster` is a file that describes several
    machines (`clusters.cluster_file`), of which llama.cpp joins the first ones by its RPC; a speed
    is predicted where the links are known, and that of each device. `preset`, or the `bits` of the
    usual one, judges the model as it would be at such a preset, which need not exist. A projector
    (`mmproj`, or with `vision` the one that lies beside the model), a `draft` model or the model's
    own layers for multi-token prediction (`mtp`) are loaded beside it. `find_max` also looks for
    the longest context that fits. The speed is predicted behind `depth` tokens of context. Nothing
    but headers is fetched. Raises Misuse, ModelError, Offline and EngineError.
    """
    preset = preset_asked(preset, bits)
    limit = None if memory is None else size_in_bytes(memory)
    nodes = _nodes(cluster, hardware, limit) if cluster else None
    place = _seen(nodes) if nodes else named_place(hardware, limit)
    found = find_model(model)
    mmproj = _projector(found, mmproj) if vision else mmproj
    whole = model if isinstance(model, Model) else read_language_model(found.path)
    settings = any_settings_for(whole, kv_unified=kv_unified, **context)
    session = session or Session.here(keeps=False)
    machine = _machine(session, whole, limit, is_asked=place is None)
    variant = as_preset(whole, preset) if preset else whole
    where = place or Hardware(accelerators=machine.devices)
    beside = _beside(variant, where, mmproj, draft, mtp=mtp, ask_engine=source != "computed")
    ask = partial(
        fit_at, whole, settings, machine=machine, ledger=session.ledger, engine=session.lab,
        preset=preset, beside=beside,
    )  # fmt: skip
    answer = ask(hardware=place, source=source, find_max=find_max)
    if place is None and answer.dry_run and leaves_gpu_idle(machine, answer.dry_run):
        session.warn(idle_gpu(machine))
    _note(session, found, bits, answer)
    answer = replace(answer, found=found)
    if nodes:
        return _over(nodes, answer, ask, depth)
    files = timed_files(session.ledger, machine) if place is None else ()
    return replace(answer, speed=speed_of(answer, depth, files, users=settings.n_parallel))


def _machine(session: Session, model: Model, limit: int | None, *, is_asked: bool) -> Machine:
    """This machine, less what servers of other models hold; `is_asked` if the question is whether
    the model fits here, in at most `limit` bytes.
    """
    machine = beside_servers(session.machine_now(), model.parts)
    if is_asked:
        session.warn_of_silence(machine)
        machine = limited(machine, limit, session.warn)
    return machine


def _note(session: Session, found: Found, bits: str | int | None, answer: Fit) -> None:
    """How the words of the question were understood."""
    of_bits = which_preset(bits) if bits is not None else ""
    for note in filter(None, (found.note, of_bits, *answer.hardware.notes)):
        session.note(note)


def _projector(found: Found, named: Path | None) -> Path | None:
    """The projector that lies beside the model. Raises Misuse where one was named, too."""
    if named:
        raise Misuse("`mmproj` and `vision` both say which projector; give one of them.")
    return projector_of(found)


def _nodes(path: Path, hardware: str | None, limit: int | None) -> Cluster:
    """The cluster in the file at `path`. Raises Misuse."""
    if hardware is not None or limit is not None:
        raise Misuse("`cluster` says what there is; leave `hardware` and `memory` out.")
    return read_cluster(path)


def _seen(nodes: Cluster) -> Hardware:
    """The devices among which llama.cpp divides a model."""
    return nodes.first(MOST_IN_A_SPLIT).seen_by_llama_cpp()


def _over(nodes: Cluster, answer: Fit, ask: Callable[..., Fit], depth: int) -> Fit:
    """The answer over `nodes`, each of which is asked alone, too. The split is said: llama.cpp's
    own would take all RAM of a worker for free.
    """
    shape, settings, split = answer.model.shape, answer.settings, nodes.first(MOST_IN_A_SPLIT)
    source = "computed" if answer.is_modelled else "dry-run"
    layout = replace(answer.placement.layout, default_split=False)
    network = network_time(split, shape, settings, layout, depth=depth, sample=USUAL)
    alone = joined(nodes, split, lambda node: ask(hardware=node, source=source))
    speed = speed_of(answer, depth, users=settings.n_parallel) if network else None
    return replace(
        answer,
        placement=replace(answer.placement, layout=layout),
        joined=replace(alone, network=network),
        speed=over_network(speed, network) if speed and network and speed.decode else None,
    )


def _beside(
    model: Model,
    place: Hardware,
    mmproj: Path | None,
    draft: Reference | None,
    *,
    mtp: bool,
    ask_engine: bool,
) -> Beside:
    """What was named to be loaded beside the model, at any settings."""
    if draft is not None and mtp:
        raise Misuse("`draft` and `mtp` both say what drafts; give one of them.")
    backend = backend_of(place.accelerators[0]) if place.accelerators else "cpu"
    projector = (projector_extra(mmproj, ask_engine=ask_engine),) if mmproj else ()
    drafts = read_model(find_model(draft).path) if draft is not None else None

    def beside(settings: ContextSettings) -> tuple[Extra, ...]:
        if drafts:
            return (*projector, draft_extra(model, drafts, settings, backend=backend))
        return (*projector, mtp_extra(model, settings, backend=backend)) if mtp else projector

    return beside
