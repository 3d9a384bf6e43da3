"""The search for a placement: the fastest that fits. Pure.

The order of preference is the order of speed: all layers on the accelerators, split as llama.cpp
splits them; the same with a split of our own that fits unequal devices; for a mixture of experts,
the experts of the first layers in RAM; then the first layers in RAM. RAM takes part only where it
is known.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.machine import Hardware
from hakaru.memory.compute import knows_partial_offload
from hakaru.planning.placement import Task, caches_bytes, item_bytes, placement, split_by
from hakaru.planning.shares import Layout, Placement


def place(task: Task, hardware: Hardware) -> Placement:
    """The fastest placement that fits; if none does, the one that comes nearest."""
    tight: Placement | None = None
    nearest: Placement | None = None
    for candidate in _candidates(task, hardware):
        if candidate.verdict == "fits":
            return candidate
        if candidate.verdict == "tight":
            tight = tight or candidate
        if nearest is None or _deficit(candidate) < _deficit(nearest):
            nearest = candidate
    chosen = tight or nearest
    assert chosen is not None  # there is always one candidate
    return chosen


def place_whole(task: Task, hardware: Hardware) -> Placement | None:
    """The placement with all layers on the accelerators, or in RAM where there is none, that fits;
    None if none does.
    """
    return next((one for one in _whole(task, hardware) if one.verdict == "fits"), None)


def max_context(task: Task, hardware: Hardware) -> int:
    """The largest context, a multiple of 256, at which the model fits; 0 if not even 256 tokens do.
    Units: tokens.
    """
    trained = (task.shape.n_ctx_train or 2**20) * task.settings.n_parallel

    def fits(steps: int) -> bool:
        return place(_at_context(task, 256 * steps), hardware).verdict == "fits"

    return 256 * largest(0, max(1, trained // 256), fits)


def largest(low: int, high: int, fits: Callable[[int], bool], *, guess: int | None = None) -> int:
    """The largest number from `low` to `high` that fits, where all smaller ones fit too; `low` if
    none does. A good `guess` saves most of the trials.
    """
    if guess is not None and low < guess <= high:
        low, high = _around(guess, low, high, fits)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _around(guess: int, low: int, high: int, fits: Callable[[int], bool]) -> tuple[int, int]:
    """Narrower bounds of the largest number that fits, with ever longer steps away from `guess`."""
    step = 1
    if fits(guess):
        while guess + step <= high and fits(guess + step):
            guess, step = guess + step, 2 * step
        return guess, min(high, guess + step - 1)
    while guess - step > low and not fits(guess - step):
        guess, step = guess - step, 2 * step
    return max(low, guess - step), guess - 1


def _candidates(task: Task, hardware: Hardware) -> Iterator[Placement]:
    """Placements from the fastest to the slowest; where a number of layers is named, that one."""
    if task.n_gpu_layers is not None:
        yield _as_named(task, hardware, task.n_gpu_layers)
        return
    yield from _whole(task, hardware)
    if not hardware.accelerators or hardware.ram is None or hardware.is_unified:
        return
    n_items = task.load.n_layer + 1
    if task.load.has_experts:
        n_cpu_moe = task.load.n_layer - largest(
            0, task.load.n_layer, lambda n: _fits(task, hardware, n_items, task.load.n_layer - n)
        )
        yield _balanced(task, hardware, n_items, n_cpu_moe)
    if not knows_partial_offload(task.shape):
        return
    on_gpu = largest(0, n_items, lambda n: _fits(task, hardware, n, 0))
    yield _balanced(task, hardware, on_gpu, 0)


def _as_named(task: Task, hardware: Hardware, n_gpu_layers: int) -> Placement:
    """The placement with so many items on the accelerators; more than there are means all. Raises
    Misuse where there is no accelerator for them, or the model cannot be cut.
    """
    n_items = task.load.n_layer + 1
    if not hardware.accelerators:
        if n_gpu_layers:
            raise Misuse(
                "`n_gpu_layers` is {found}, but the engine has no accelerator here: all layers lie "
                "in RAM; leave it out.",
                found=n_gpu_layers,
            )
        return next(_whole(task, hardware))
    n = min(n_gpu_layers, n_items)
    if 0 < n < n_items and not knows_partial_offload(task.shape):
        raise Misuse(
            "`n_gpu_layers` is {found}: this architecture is slow and takes gigabytes more with "
            "some layers in RAM; expected 0 or {all}.",
            found=n_gpu_layers,
            all=n_items,
        )
    return _balanced(task, hardware, n, 0)


def _whole(task: Task, hardware: Hardware) -> Iterator[Placement]:
    """Placements of all layers on the accelerators; without any, in RAM."""
    if not hardware.accelerators:
        yield placement(task, hardware, Layout(counts=()))
        return
    n_items = task.load.n_layer + 1
    free = [d.usable_bytes for d in hardware.accelerators]
    yield placement(task, hardware, Layout(counts=split_by(free, n_items)))
    if len(free) > 1:
        yield _balanced(task, hardware, n_items, 0)


def _fits(task: Task, hardware: Hardware, n_gpu_layers: int, n_cpu_moe: int) -> bool:
    """Whether every accelerator holds its share; RAM is not looked at."""
    candidate = _balanced(task, hardware, n_gpu_layers, n_cpu_moe)
    return all(share.verdict(task.margin) == "fits" for share in candidate.shares)


def _balanced(task: Task, hardware: Hardware, n_gpu_layers: int, n_cpu_moe: int) -> Placement:
    """The split over unequal accelerators that leaves the fullest of them as empty as possible."""
    free = [d.usable_bytes for d in hardware.accelerators]
    default = Layout(counts=split_by(free, n_gpu_layers), n_cpu_moe=n_cpu_moe)
    if len(free) == 1:
        return placement(task, hardware, default)
    best = placement(task, hardware, default)
    fixed = [s.compute_bytes + s.overhead_bytes + s.extras_bytes for s in best.shares]
    low, high = 0.0, 2.0
    for _ in range(12):  # to a thousandth of the memory
        level = (low + high) / 2
        counts = _filled(
            task, n_gpu_layers, n_cpu_moe, [f * level - x for f, x in zip(free, fixed, strict=True)]
        )
        if sum(counts) < n_gpu_layers:
            low = level
            continue
        high = level
        candidate = placement(
            task,
            hardware,
            Layout(counts=counts, n_cpu_moe=n_cpu_moe, default_split=counts == default.counts),
        )
        if _fullest(candidate) < _fullest(best):
            best = candidate
    return best


def _filled(
    task: Task, n_gpu_layers: int, n_cpu_moe: int, room: Sequence[float]
) -> tuple[int, ...]:
    """How many items each device takes if it takes as many as its room allows, in order."""
    item, n_items, counts = task.load.n_layer + 1 - n_gpu_layers, task.load.n_layer + 1, []
    for space in room:
        count, taken = 0, 0.0
        while item < n_items:
            taken += item_bytes(task.load, item, n_cpu_moe) + caches_bytes(
                task, range(item, item + 1)
            )
            if taken > space:
                break
            item, count = item + 1, count + 1
        counts.append(count)
    return tuple(counts)


def _deficit(candidate: Placement) -> int:
    """Bytes that do not go in, over all devices."""
    return sum(max(0, -share.headroom_bytes) for share in candidate.devices)


def _fullest(candidate: Placement) -> float:
    """The part taken of the fullest accelerator."""
    return max(share.part_taken for share in candidate.shares)


def _at_context(task: Task, n_ctx: int) -> Task:
    return replace(task, settings=task.settings.with_context(n_ctx))
