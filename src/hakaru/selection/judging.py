"""A model on a machine: the row that it gets, or why it gets none. Pure.

A model is tried from the best to the least: all layers on the accelerators before a part of them in
RAM, a cache of 16 bits before one of 8, and a larger type before a smaller one. Fewer than four
bits come last of all. The first that meets every condition and every wish is the row; else, of
those that meet every condition, the first that misses the fewest wishes.

What cannot fit by its weights and its cache alone is not placed: both are never more than what a
placement counts.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware
from hakaru.memory.compute import is_known
from hakaru.memory.footprint import kv_cache_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel
from hakaru.models.shape import Shape
from hakaru.planning.load import Load
from hakaru.planning.placement import Task
from hakaru.planning.search import place, place_whole
from hakaru.planning.shares import MARGIN, Placement
from hakaru.planning.speed import chip_of
from hakaru.planning.speed_figures import RAM_GB_S
from hakaru.selection.boards import Lead
from hakaru.selection.catalogue_sizes import BELOW_FOUR_BITS, Sized, sized, types_of
from hakaru.selection.conditions import Conditions, Reason
from hakaru.selection.contender import Contender, Speeds
from hakaru.selection.drafts_here import DraftHere
from hakaru.selection.remembered import Recall, Remembered, nothing
from hakaru.selection.row_cost import PowerHere
from hakaru.selection.row_speeds import Predict
from hakaru.selection.seeing import seeing
from hakaru.selection.solved import AskSolved, nothing_solved
from hakaru.selection.to_have import Paces

CACHES: Final = ("f16", "q8_0")


class Where(Struct, frozen=True, kw_only=True):
    """The machine, and what is known of it."""

    hardware: Hardware
    predict: Predict
    margin: Callable[[str], float] = lambda architecture: MARGIN  # by the model's architecture
    driver_bytes: Mapping[str, int] = field(default_factory=dict)  # measured, by device name
    recall: Recall = nothing  # what was measured of a type before
    is_timed: bool = False  # whether `predict` knows files that were timed on it
    power: PowerHere | None = None  # what it draws, as measured; None: it is only named
    paces: Paces | None = None  # how fast models get onto this machine; None: it is only named
    solved: AskSolved = nothing_solved  # what races found
    drafts: tuple[DraftHere, ...] = ()  # on its disk; empty: it is only named

    @property
    def is_split(self) -> bool:
        """Whether a part of a model may stay in RAM."""
        hardware = self.hardware
        return bool(hardware.accelerators and hardware.ram) and not hardware.is_unified


class Variant(Struct, frozen=True, kw_only=True):
    """One way to run a model."""

    type: str
    cache: str
    whole: bool  # all layers on the accelerators


def variants(model: KnownModel, where: Where) -> Iterator[Variant]:
    """The ways to run a model, the best first."""
    types = types_of(model)
    large = [type_ for type_ in types if type_ not in BELOW_FOUR_BITS]
    small = [type_ for type_ in types if type_ in BELOW_FOUR_BITS]
    for group in (large, small):
        for whole in (True, False) if where.is_split else (True,):
            for cache in CACHES:
                yield from (Variant(type=t, cache=cache, whole=whole) for t in group)


def best_contender(
    model: KnownModel, conditions: Conditions, where: Where, lead: Lead | None
) -> Contender | Reason:
    """The row of `model`, or why it has none."""
    if closed := conditions.why_not(model):
        return closed
    shape = model.shape
    if not is_known(shape):
        return "not_modelled"
    soonest = soonest_s(model, shape, conditions, where)
    if soonest > (conditions.first_token_s or math.inf):
        return "first_token"
    reason: Reason = "memory"
    least: Contender | None = None  # the best of those that miss the fewest wishes
    fitting = set[str]()  # types
    for variant in variants(model, where):
        if least and variant.type in BELOW_FOUR_BITS:
            break
        if variant.type in fitting:
            continue  # a smaller cache, and RAM, are for what else does not fit
        most = most_speed(model, shape, variant, where)
        if most < (conditions.min_speed or 0.0):
            reason = "speed"
            continue
        if least and len(least.misses) <= _sure_misses(
            model, shape, variant, conditions, where, most=most, soonest=soonest
        ):
            continue
        contender = contender_of(model, shape, variant, conditions, where, lead)
        if contender is None:
            continue
        if why := broken(contender, conditions):
            reason = why
            if is_unknowable(model, conditions, where):
                break
            continue
        if not contender.misses:
            return contender
        fitting.add(variant.type)
        if least is None or len(contender.misses) < len(least.misses):
            least = contender
    return reason if least is None else least


def _sure_misses(
    model: KnownModel,
    shape: Shape,
    variant: Variant,
    conditions: Conditions,
    where: Where,
    *,
    most: float,
    soonest: float,
) -> int:
    """How many wishes a variant misses wherever it is placed."""
    wished = conditions.traffic
    late = soonest > wished.first_token_s
    slow = most < wished.decode_tokens_per_s or _is_surely_slow(
        model, shape, variant, conditions, where
    )
    return late + slow


def _is_surely_slow(
    model: KnownModel, shape: Shape, variant: Variant, conditions: Conditions, where: Where
) -> bool:
    """Whether no RAM of a PC is fast enough for what cannot lie on accelerators."""
    hardware = where.hardware
    if hardware.is_unified or (variant.whole and hardware.accelerators):
        return False
    on_cards = sum(device.usable_bytes for device in hardware.accelerators)
    read_bytes = _least_read_bytes(model, shape, variant, on_cards)
    return read_bytes * conditions.traffic.decode_tokens_per_s > 1e9 * RAM_GB_S[-1]


def most_speed(model: KnownModel, shape: Shape, variant: Variant, where: Where) -> float:
    """What no prediction of a variant exceeds, placed as well as it may be: every layer is read
    from the fastest memory. Without an end where a memory's bandwidth is not known, or the variant
    was timed. Units: decoded tokens per second.
    """
    hardware = where.hardware
    rates = [device.bandwidth_gb_s for device in hardware.accelerators]
    if not rates or None in rates or where.recall(model, variant.type, variant.cache):
        return math.inf
    fastest = max(*filter(None, rates), RAM_GB_S[-1])
    return 1e9 * fastest / max(1.0, _least_read_bytes(model, shape, variant))


def soonest_s(model: KnownModel, shape: Shape, conditions: Conditions, where: Where) -> float:
    """The least time to the first word that is ever predicted: all products at the rate of the
    fastest accelerator. 0 where a rate is not known, or the model was timed. Units: seconds.
    """
    devices = where.hardware.accelerators
    if not devices or any(device.bandwidth_gb_s is None for device in devices):
        return 0.0
    rates, types = [chip_of(device).matrix_per_s for device in devices], types_of(model)
    if None in rates or _was_timed(model, where):
        return 0.0
    used, items = shape.part_of_experts, sized(model, types[0]).items[:-1]
    products = sum(item.rest.n_elements + used * item.experts.n_elements for item in items)
    return conditions.traffic.n_prompt * 2 * products / max(filter(None, rates))


def _least_read_bytes(
    model: KnownModel, shape: Shape, variant: Variant, without_bytes: int = 0
) -> float:
    """The least that a token reads of all but `without_bytes` of the weights: of a mixture the part
    that a token uses.
    """
    load = sized(model, variant.type).load
    return shape.part_of_experts * max(0, load.total_bytes - load.input_bytes - without_bytes)


def open_ways(model: KnownModel, conditions: Conditions, where: Where) -> Iterator[Variant]:
    """The ways to run `model` that may meet the conditions, by what needs no placement; the best
    first.
    """
    shape = model.shape
    if conditions.why_not(model) or not is_known(shape) or is_unknowable(model, conditions, where):
        return
    if soonest_s(model, shape, conditions, where) > (conditions.first_token_s or math.inf):
        return
    least = conditions.min_speed or 0.0
    yield from (v for v in variants(model, where) if most_speed(model, shape, v, where) >= least)


def is_unknowable(model: KnownModel, conditions: Conditions, where: Where) -> bool:
    """Whether a speed is asked for that nothing tells: nobody knows how fast the memories of this
    machine are, and neither this model nor another was timed on it.
    """
    devices = where.hardware.accelerators
    return (
        (conditions.min_speed is not None or conditions.first_token_s is not None)
        and not where.is_timed
        and all(device.bandwidth_gb_s is None for device in devices)
        and not _was_timed(model, where)
    )


def _was_timed(model: KnownModel, where: Where) -> bool:
    """Whether any type of the model was."""
    return any(where.recall(model, type_, cache) for type_ in types_of(model) for cache in CACHES)


def contenders_of(
    model: KnownModel, conditions: Conditions, where: Where, lead: Lead | None
) -> Iterator[Contender]:
    """The rows of all ways to run `model` that fit and may meet the conditions, the best first. A
    way is left out where the same type and cache lies on the accelerators as a whole.
    """
    seen = set[tuple[str, str]]()
    for way in open_ways(model, conditions, where):
        if (way.type, way.cache) in seen:
            continue
        if contender := contender_of(model, model.shape, way, conditions, where, lead):
            seen.add((way.type, way.cache))
            yield contender


def contender_of(
    model: KnownModel,
    shape: Shape,
    variant: Variant,
    conditions: Conditions,
    where: Where,
    lead: Lead | None,
) -> Contender | None:
    """The row of a variant; None where it does not fit."""
    settings, pieces = conditions.settings(variant.cache), sized(model, variant.type)
    try:
        if _is_hopeless(pieces.load, shape, settings, where, whole=variant.whole):
            return None
        task = _task(model, shape, pieces, settings, conditions, where)
        placed = _placed(task, where, whole=variant.whole)
    except Misuse:  # a cache type whose blocks do not divide the heads
        return None
    if placed is None:
        return None
    speeds = where.predict(task, pieces, placed, where.hardware, conditions.traffic.depth)
    known = where.recall(model, variant.type, variant.cache)
    if known and known.decode and settings.n_parallel == 1:
        speeds = replace(speeds, decode=known.decode)
    first, soonest = _first_token_s(speeds, conditions)
    return Contender(
        model=model, type=variant.type, sized=pieces, task=task, hardware=where.hardware,
        placed=placed, speeds=speeds, first_token_s=first,
        writes=conditions.traffic.n_answer > 0,
        score=lead.score_of(model, conditions.task) if lead else None,
        measured=known,
        misses=(
            *_misses(speeds, soonest, known, conditions),
            *(("answers",) if lead and lead.answered(model, conditions.task) else ()),
        ),
    )  # fmt: skip


def _is_hopeless(
    load: Load, shape: Shape, settings: ContextSettings, where: Where, *, whole: bool
) -> bool:
    """Whether weights and cache alone are more than there is. The input of a model lies in RAM,
    which nobody may have named.
    """
    hardware, n_bytes = where.hardware, load.total_bytes + kv_cache_bytes(shape, settings)
    if not whole or not hardware.accelerators or hardware.is_unified:
        return n_bytes > hardware.usable_bytes
    on_cards = sum(device.usable_bytes for device in hardware.accelerators)
    return n_bytes - load.input_bytes + load.tied_bytes > on_cards


def _task(
    model: KnownModel,
    shape: Shape,
    pieces: Sized,
    settings: ContextSettings,
    conditions: Conditions,
    where: Where,
) -> Task:
    eyes = seeing(model) if conditions.task == "vision" else None
    return Task(
        load=pieces.load,
        shape=shape,
        settings=settings,
        margin=where.margin(model.architecture),
        extras_bytes=eyes.device_bytes if eyes else 0,
        extras_host_bytes=eyes.host_bytes if eyes else 0,
        driver_bytes=where.driver_bytes,
    )


def _placed(task: Task, where: Where, *, whole: bool) -> Placement | None:
    if whole:
        return place_whole(task, where.hardware)
    placed = place(task, where.hardware)
    return placed if placed.verdict == "fits" else None


def _first_token_s(speeds: Speeds, conditions: Conditions) -> tuple[float | None, float | None]:
    """Seconds in which the prompt is read by the predicted speed, and the least that it takes."""
    n_prompt = conditions.traffic.n_prompt
    if speeds.prefill:
        first = n_prompt / speeds.prefill.value
        return first, first
    return None, n_prompt / speeds.most_prefill if speeds.most_prefill else None


def _misses(
    speeds: Speeds, soonest: float | None, known: Remembered | None, conditions: Conditions
) -> tuple[str, ...]:
    """The wishes that are not met; a speed that nobody knows misses nothing that it may reach. A
    type that was measured and broke its tier misses `tier`.
    """
    traffic = conditions.traffic
    reached = speeds.decode.value if speeds.decode else speeds.most
    slow = reached is not None and reached < traffic.decode_tokens_per_s
    late = soonest is not None and soonest > traffic.first_token_s
    broke = known is not None and known.verdict == "fail"
    return ("decode_tokens_per_s",) * slow + ("first_token_s",) * late + ("tier",) * broke


def broken(contender: Contender, conditions: Conditions) -> Reason | None:
    """The condition that the row breaks; None where it meets all."""
    if conditions.min_speed is not None:
        if contender.speeds.decode is None:
            return "speed_unknown"
        if "decode_tokens_per_s" in contender.misses:
            return "speed"
    if conditions.first_token_s is not None:
        if contender.first_token_s is None:
            return "speed_unknown"
        if "first_token_s" in contender.misses:
            return "first_token"
    return None
