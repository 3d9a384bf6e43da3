"""How many bytes a file may have so that its model fits a machine. Pure."""

from dataclasses import replace
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.hardware.machine import Hardware
from hakaru.memory.compute import is_known
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import largest, place

STEP: Final = 2**20


def bytes_for_weights(model: Model, hardware: Hardware, settings: ContextSettings) -> int:
    """The largest file, to a MiB, with which `model` fits `hardware`: its weights shrunk alike, its cache and buffers as they
    are. Raises DoesNotFit where even a weightless model would not fit, or nothing is known of its memory.
    """
    if not is_known(model.shape):
        raise DoesNotFit("{path}: hakaru has no arithmetic for the architecture '{found}'; name --size instead of --fit.",
                         path=model.path, found=model.shape.architecture)  # fmt: skip
    load = load_of(model.loaded, model.shape.n_layer)

    def fits(mebibytes: int) -> bool:
        part = mebibytes * STEP / load.total_bytes
        shrunk = replace(
            load,
            input_bytes=int(load.input_bytes * part), layers=tuple(int(n * part) for n in load.layers),
            experts=tuple(int(n * part) for n in load.experts), output_bytes=int(load.output_bytes * part),
            tied_bytes=int(load.tied_bytes * part), largest_bytes=int(load.largest_bytes * part),
        )  # fmt: skip
        found = place(Task(load=shrunk, shape=model.shape, settings=settings), hardware)
        return found.verdict == "fits" and found.layout.n_gpu_layers in {0, found.n_items} and not found.layout.n_cpu_moe

    most = largest(0, -(-load.total_bytes // STEP), fits)
    if most == 0:
        raise DoesNotFit("{path}: no file of this model fits there with {n_ctx} tokens of context; shorten it.",
                         path=model.path, n_ctx=settings.n_ctx)  # fmt: skip
    return most * STEP
