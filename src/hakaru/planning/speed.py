"""How fast a model will be on a machine that has not run it: tokens per second, with an interval.

A token's time on a device is the sum of the terms of `speed_terms`, each times a coefficient that
was fitted to published speeds (`speed.json`, written by benchmarks/speed_prediction.py). The times
of the devices among which the layers are split add up, since a token passes them one after the
other. Nine of ten measured speeds lie in the interval, as tried on devices that the coefficients
had not seen; docs/speed.md has the figures. No interval reaches above what the memory can deliver.

A step for several users reads the weights once for all of them. The prompts of a mixture whose
experts lie in RAM wait for the copies of these. Neither is calibrated (`speed_assumed`). Left out:
several tokens in flight on several devices, and prompts where whole layers lie in RAM.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.hardware.machine import Device, Hardware
from hakaru.language import say
from hakaru.memory.flash_attention import Backend
from hakaru.planning.shares import Layout
from hakaru.planning.speed_assumed import copy_s, for_several, ram_s, with_range
from hakaru.planning.speed_figures import Basis, PredictedSpeed, Sample, SpeedPrediction
from hakaru.planning.speed_interval import Ends, RouteInterval
from hakaru.planning.speed_terms import Chip, decode_terms, prefill_terms
from hakaru.planning.token_work import ItemWork, TokenWork, total

USUAL: Final = Sample()
MOST_VECTORS: Final = 8
"""Up to so many tokens at a time a weight is multiplied with vectors, above with a matrix."""
WIDEST: Final = 10.0
"""An interval whose ends differ by more than this factor is not told."""
ROUTES: Final[Mapping[tuple[str, str], str]] = {
    ("nvidia", "vulkan"): "vulkan_nvidia",
    ("amd", "vulkan"): "vulkan_amd",
}
USUAL_ROUTES: Final = {"nvidia": "cuda", "amd": "rocm", "apple": "metal", "intel": "intel"}
ROUTE_NAMES: Final = {
    "cuda": "CUDA", "cuda_old": "CUDA without matrix units", "rocm": "ROCm", "metal": "Metal",
    "metal_matrix": "Metal with matrix units",
    "intel": "SYCL or Vulkan", "vulkan_amd": "Vulkan", "vulkan_nvidia": "Vulkan",
    "amdvlk": "Vulkan (AMDVLK)",
}  # fmt: skip


class Part(Struct, frozen=True, kw_only=True):
    """The work of one device."""

    work: TokenWork
    chip: Chip
    route: str


def predict_speed(
    items: Sequence[ItemWork],
    hardware: Hardware,
    layout: Layout,
    *,
    depth: int = 0,
    n_ubatch: int = 512,
    users: int = 1,
    sample: Sample = USUAL,
    backend: Backend | None = None,
) -> SpeedPrediction:
    """How fast a model decodes for each of `users` who ask at the same time, and reads a prompt,
    behind `depth` tokens.

    `items` is what `token_work.item_works` gives; `layout` says which of them lie where. `backend`
    is that of the accelerators; None: the usual one of each maker.
    """
    works, in_ram = split_work(items, layout)
    parts = []
    for device, work in zip(hardware.accelerators, works, strict=True):
        if not work.stored:
            continue
        if reason := _why_not(device):
            return SpeedPrediction(
                depth=depth, users=users, why_no_decode=reason, why_no_prefill=reason
            )
        parts.append(Part(work=work, chip=chip_of(device), route=route_of(device, backend)))
    if not parts:
        reason = say(
            "the speed of the processor and its RAM is not published; measure it: {command}",
            command="hakaru bench --calibrate",
        )
        return SpeedPrediction(
            depth=depth, users=users, why_no_decode=reason, why_no_prefill=reason
        )
    if in_ram.stored and hardware.is_unified:
        parts.append(Part(work=in_ram, chip=parts[0].chip, route=parts[0].route))
        in_ram = TokenWork()
    why_no_decode = _too_uncertain(_decode_interval(parts, depth + sample.n_decoded / 2))
    why_no_prefill = _why_no_prefill(parts, in_ram) or _too_uncertain(
        _prefill_interval(_with_experts(parts, in_ram), sample.n_prompt, depth, n_ubatch)
    )
    return SpeedPrediction(
        depth=depth,
        users=users,
        decode=None
        if why_no_decode
        else predict_decode(
            parts, depth=depth, in_ram=in_ram, n_tokens=sample.n_decoded, users=users
        ),
        prefill=None
        if why_no_prefill
        else predict_prefill(
            parts, depth=depth, n_ubatch=n_ubatch, n_prompt=sample.n_prompt, in_ram=in_ram
        ),
        why_no_decode=why_no_decode,
        why_no_prefill=why_no_prefill,
    )


def predict_decode(
    parts: Sequence[Part],
    *,
    depth: float,
    in_ram: TokenWork | None = None,
    n_tokens: int = USUAL.n_decoded,
    users: int = 1,
) -> PredictedSpeed:
    """How fast devices that hold a model's parts decode `n_tokens` behind `depth` for each of
    `users` at the same time.
    """
    mean_depth = depth + n_tokens / 2
    alone = sum(_step_s(part, mean_depth, 1) for part in parts)
    seconds = sum(_step_s(part, mean_depth, users) for part in parts)
    floor = sum(
        decode_terms(part.work.batch(users), part.chip, mean_depth)["bytes"] for part in parts
    )
    interval = for_several(_decode_interval(parts, mean_depth), alone, seconds, users)
    basis = Basis(users=users)
    if in_ram is not None and in_ram.stored:
        added = ram_s(in_ram.batch(users), mean_depth)
        interval = with_range(seconds, interval, added)
        seconds, floor = seconds + added[1], floor + added[2]
        basis = replace(basis, ram_is_assumed=True)
    figure = _figure("decode", parts, seconds, interval, floor)
    return replace(figure, basis=figure.basis + basis)


def predict_prefill(
    parts: Sequence[Part],
    *,
    depth: float,
    n_ubatch: int,
    n_prompt: int = USUAL.n_prompt,
    in_ram: TokenWork | None = None,
) -> PredictedSpeed:
    """How fast devices that hold a model's parts read a prompt of `n_prompt` behind `depth`.
    `in_ram`: experts, with which the first device computes once they were copied.
    """
    parts = _with_experts(parts, in_ram)
    seconds, floor = 0.0, 0.0
    for part in parts:
        terms = prefill_terms(
            part.work, part.chip, n_prompt=n_prompt, depth=depth, n_ubatch=n_ubatch
        )
        seconds += _dot(fitted()["prefill"][part.route]["coefficients"], terms)
        floor += terms["products"] + terms["expert_products"]
    interval = _prefill_interval(parts, n_prompt, depth, n_ubatch)
    if in_ram is None or not in_ram.stored:
        return _figure("prefill", parts, seconds, interval, floor)
    added = copy_s(in_ram, min(n_prompt, n_ubatch))
    interval = with_range(seconds, interval, added)
    figure = _figure("prefill", parts, seconds + added[1], interval, floor + added[2])
    return replace(figure, basis=figure.basis + Basis(link_is_assumed=True))


def _with_experts(parts: Sequence[Part], in_ram: TokenWork | None) -> Sequence[Part]:
    """The parts, of which the first computes with the experts in RAM, too."""
    if in_ram is None or not in_ram.stored:
        return parts
    return [replace(parts[0], work=total((parts[0].work, in_ram))), *parts[1:]]


def _step_s(part: Part, depth: float, users: int) -> float:
    """Seconds of a step in which each of `users` decodes one token. Many tokens at a time are
    computed as a short prompt is, where that is faster.
    """
    decode, prefill = (fitted()[what][part.route]["coefficients"] for what in ("decode", "prefill"))
    seconds = _dot(decode, decode_terms(part.work.batch(users), part.chip, depth))
    if users <= MOST_VECTORS or part.chip.matrix_per_s is None:
        return seconds
    terms = prefill_terms(part.work, part.chip, n_prompt=users, depth=depth, n_ubatch=users)
    return min(seconds, max(_step_s(part, depth, MOST_VECTORS), users * _dot(prefill, terms)))


def _dot(coefficients: Mapping[str, float], terms: Mapping[str, float]) -> float:
    return sum(coefficients[name] * term for name, term in terms.items())


def split_work(
    items: Sequence[ItemWork], layout: Layout
) -> tuple[tuple[TokenWork, ...], TokenWork]:
    """The work of each accelerator, then of the RAM, under a layout."""
    first = len(items) - layout.n_gpu_layers
    in_ram = [part for item in items[:first] for part in (item.rest, item.experts)]
    works = []
    for count in layout.counts:
        mine = range(first, first + count)
        in_ram += [items[i].experts for i in mine if i < layout.n_cpu_moe]
        here = [items[i].rest for i in mine]
        works.append(total(here + [items[i].experts for i in mine if i >= layout.n_cpu_moe]))
        first += count
    return tuple(works), total(in_ram)


def chip_of(device: Device) -> Chip:
    """What of an accelerator decides its speed. Its bandwidth must be known."""
    assert device.bandwidth_gb_s is not None
    return Chip(bandwidth_gb_s=device.bandwidth_gb_s, rates=device.rates, is_unified=device.unified)


def route_of(device: Device, backend: Backend | None = None) -> str:
    """The route by which llama.cpp runs a device."""
    if route := ROUTES.get((device.vendor, backend or "")):
        return route
    if device.vendor == "nvidia" and not chip_of(device).has_matrix_units:
        return "cuda_old"
    if device.vendor == "apple" and chip_of(device).has_matrix_units:
        return "metal_matrix"
    return USUAL_ROUTES[device.vendor]


@cache
def fitted() -> dict[str, dict[str, Any]]:
    """Coefficients, intervals and counts: by kind of speed, then by route."""
    text = resources.files("hakaru.planning").joinpath("speed.json").read_text(encoding="utf-8")
    data: dict[str, dict[str, Any]] = json.loads(text)
    return data


def _why_not(device: Device) -> str:
    """Why the speed of a device cannot be told; empty if it can."""
    if device.bandwidth_gb_s is None or device.vendor not in USUAL_ROUTES:
        return say("the memory bandwidth of {name} is not known", name=device.name)
    return ""


def _why_no_prefill(parts: Sequence[Part], in_ram: TokenWork) -> str:
    if in_ram.n_layer or (in_ram.stored and not in_ram.n_expert_layer):
        return say("whole layers lie in RAM, and how fast the processor attends is not published")
    if any(part.chip.matrix_per_s is None for part in parts):
        return say("the rate at which the device computes is not published")
    return ""


def _too_uncertain(interval: Ends) -> str:
    """Why an interval would say nothing; empty where it says something."""
    low, high = interval
    if high - low <= math.log(WIDEST):
        return ""
    return say("speeds that were measured on such devices leave more than a factor of ten open")


def _decode_interval(parts: Sequence[Part], mean_depth: float) -> Ends:
    terms = [decode_terms(part.work, part.chip, mean_depth) for part in parts]
    return _widest("decode", parts, terms)


def _prefill_interval(parts: Sequence[Part], n_prompt: int, depth: float, n_ubatch: int) -> Ends:
    terms = [
        prefill_terms(part.work, part.chip, n_prompt=n_prompt, depth=depth, n_ubatch=n_ubatch)
        for part in parts
    ]
    return _widest("prefill", parts, terms)


def _widest(what: str, parts: Sequence[Part], terms: Sequence[Mapping[str, float]]) -> Ends:
    """The widest interval of the routes, each for the terms of its own parts."""
    ends = []
    for route in sorted({part.route for part in parts}):
        mine = [one for part, one in zip(parts, terms, strict=True) if part.route == route]
        summed = {name: sum(one[name] for one in mine) for name in mine[0]}
        ends.append(RouteInterval.of(fitted()[what][route]).interval(summed))
    return min(low for low, _ in ends), max(high for _, high in ends)


def _figure(
    what: str,
    parts: Sequence[Part],
    seconds: float,
    interval: tuple[float, float],
    floor: float = 0.0,
) -> PredictedSpeed:
    """The speed for `seconds` per token, with an interval of logs; `floor` is the least time."""
    routes = sorted({part.route for part in parts})
    basis = Basis()
    for route in routes:
        counts = fitted()[what][route]
        basis = basis + Basis(
            n_speeds=counts["n_speeds"], n_devices=counts["n_devices"], routes=(ROUTE_NAMES[route],)
        )
    low, high = (math.exp(log) / seconds for log in interval)
    ceiling = 1 / floor if floor else math.inf
    return PredictedSpeed(
        value=min(1 / seconds, ceiling), low=min(low, ceiling), high=min(high, ceiling), basis=basis
    )
