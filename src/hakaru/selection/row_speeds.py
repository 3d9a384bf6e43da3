"""The speeds of a row: `planning/speed` over the table of sizes. Pure.

Where a model lies in RAM alone no speed is predicted before files were timed on the machine: nobody
publishes how fast a PC's processor and RAM are. Two things can still be told: an order of the rows,
by the bytes that a token reads (`Speeds.relative`), and what the fastest PC could deliver at most
(`Speeds.most`, `most_prefill`).
"""

from collections.abc import Callable, Sequence
from typing import Final

from hakaru.hardware.machine import Hardware
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape
from hakaru.planning.machine_speed import MachineSpeed, machine_speed, narrowed
from hakaru.planning.placement import Task
from hakaru.planning.shares import Placement
from hakaru.planning.speed import USUAL, predict_speed, split_work
from hakaru.planning.speed_figures import LINK_GB_S, RAM_GB_S, PredictedSpeed
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import ItemWork, TokenWork, layer_work, whole_work
from hakaru.selection.catalogue_sizes import Matrices, Sized
from hakaru.selection.contender import Speeds
from hakaru.selection.remembered import RowSpeed

Predict = Callable[[Task, Sized, Placement, Hardware, int], Speeds]
"""The speeds of a placed model behind a depth."""
MOST_TFLOPS: Final = 4.0
"""What no processor of a PC exceeds while it reads a prompt, in 10^12 operations per second:
assumed. A Ryzen 7950X reads with about 2.
"""
OF_TOKENS: Final = 1e12
"""`Speeds.relative` is so many bytes divided by those of a token."""


def predicted_with(files: Sequence[TimedFile]) -> Predict:
    """What predicts the speeds of rows on this machine, on which `files` were timed."""
    machine = machine_speed(files)

    def predict(
        task: Task, sized: Sized, placement: Placement, hardware: Hardware, depth: int
    ) -> Speeds:
        return _speeds(task, sized, placement, hardware, depth, machine)

    return predict


def speeds(
    task: Task, sized: Sized, placement: Placement, hardware: Hardware, depth: int
) -> Speeds:
    """The speeds of a placed model behind `depth` tokens, on a machine that is only named."""
    return _speeds(task, sized, placement, hardware, depth, None)


def _speeds(
    task: Task,
    sized: Sized,
    placement: Placement,
    hardware: Hardware,
    depth: int,
    machine: MachineSpeed | None,
) -> Speeds:
    items = works(sized, task.shape, *task.settings.cache)
    prediction = predict_speed(
        items,
        hardware,
        placement.layout,
        depth=depth,
        n_ubatch=task.settings.n_ubatch,
        users=task.settings.n_parallel,
        backend=task.backend,
    )
    if machine:
        prediction = narrowed(prediction, machine, whole_work(items), sample=USUAL)
    why_no_prefill = prediction.why_no_prefill
    if prediction.decode:
        return Speeds(
            decode=_told(prediction.decode),
            prefill=_told(prediction.prefill),
            why_no_prefill=why_no_prefill,
            most_prefill=None
            if prediction.prefill or hardware.is_unified
            else _most_copied(items, placement, task.settings.n_ubatch),
        )
    n_bytes = sum(
        part.read_bytes + part.cache_bytes(depth) + 2 * part.state_bytes
        for item in items
        for part in (item.rest, item.experts)
    )
    relative, prefill = OF_TOKENS / n_bytes, _told(prediction.prefill)
    if hardware.accelerators:
        return Speeds(relative=relative, prefill=prefill, why_no_prefill=why_no_prefill)
    n_products = whole_work(items).products
    return Speeds(
        relative=relative,
        prefill=prefill,
        most=1e9 * RAM_GB_S[-1] / n_bytes,
        most_prefill=1e12 * MOST_TFLOPS / (2 * max(1.0, n_products)),
        why_no_prefill=why_no_prefill,
    )


def _most_copied(items: Sequence[ItemWork], placement: Placement, n_ubatch: int) -> float | None:
    """Tokens of a prompt per second for which the fastest bus could copy what lies in RAM, once for
    each micro-batch; None where nothing lies there.
    """
    _, in_ram = split_work(items, placement.layout)
    return 1e9 * LINK_GB_S[-1] * n_ubatch / in_ram.stored_bytes if in_ram.stored else None


def _told(speed: PredictedSpeed | None) -> RowSpeed | None:
    if speed is None:
        return None
    return RowSpeed(value=speed.value, low=speed.low, high=speed.high, source=speed.basis.source)


def works(sized: Sized, shape: Shape, type_k: str, type_v: str) -> tuple[ItemWork, ...]:
    """The work of each layer, then of the output, as `token_work.item_works` counts it."""
    made: dict[tuple[int, LayerCache | None], ItemWork] = {}
    items = []
    for i, item in enumerate(sized.items[:-1]):
        cache = shape.caches[i] if shape.caches else None
        kind = id(item), cache
        if kind not in made:
            made[kind] = layer_work(
                i,
                _work(item.rest, 1.0),
                _work(item.experts, shape.part_of_experts),
                shape,
                type_k=type_k,
                type_v=type_v,
            )
        items.append(made[kind])
    output = TokenWork(read=_bytes(sized.items[-1].rest), stored=_bytes(sized.items[-1].rest))
    return (*items, ItemWork(rest=output))


def _work(matrices: Matrices, part: float) -> TokenWork:
    """The work of weights of which a token uses `part`."""
    return TokenWork(
        read=_bytes(matrices, part), stored=_bytes(matrices), products=matrices.n_elements * part
    )


def _bytes(matrices: Matrices, part: float = 1.0) -> dict[str, float]:
    return {name: n * part for name, n in matrices.bytes_by_type}
